"""Measures cards that are moved at once: how long, and whether all viewers end with one order.

    python3 run.py bench cards                              500 moves, 100 viewers
    python3 run.py bench cards --moves 50 --viewers 10      shortly

A fresh server, one card for each mover, all in one column. Every mover has a WebSocket of its own,
and all of them send one `move_card` at the same moment, to a place picked at random. Viewers hear
every event and keep a board by it. Then all of it once more with ten cards that everybody wants:
ten moves are kept, and all others are told that they came too late.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from pathlib import Path
from typing import Any

import httpx2
from websockets.asyncio.client import ClientConnection, connect

from house import House, house
from peer import Peer, peer

CONTESTED = 10
PATIENCE = 60.0
AT_ONCE = 50
"""Handshakes under way at a time."""

Json = dict[str, Any]


class Viewer:
    """A board as one client sees it."""

    def __init__(self, socket: ClientConnection) -> None:
        self.heard = 0
        self.cards: dict[str, Json] = {}
        self._socket = socket
        self._news = asyncio.Event()

    async def listen(self) -> None:
        """Apply what comes, until cancelled."""
        while True:
            frame = json.loads(await self._socket.recv(decode=False))
            data = frame["data"]
            if frame["type"] == "snapshot":
                assert not data["truncated"]
                self.cards = {card["id"]: card for card in data["cards"]}
            elif frame["type"].startswith("card_"):
                self.heard += 1
                self.cards[data["id"]] = data
                self._news.set()

    async def has_heard(self, events: int) -> None:
        """Wait until there were so many events since the start."""
        while self.heard < events:
            self._news.clear()
            await self._news.wait()

    def order(self) -> list[str]:
        cards = sorted(self.cards.values(), key=lambda card: str(card["position"]))
        return [card["id"] for card in cards]


class Crowd:
    """Everybody who looks and moves, in one process."""

    def __init__(self) -> None:
        self._viewers: list[Viewer] = []
        self._movers: list[ClientConnection] = []

    async def gather(self, url: str, movers: int, viewers: int) -> float:
        """Connect all; the seconds it took."""
        began = time.monotonic()
        turn = asyncio.Semaphore(AT_ONCE)

        async def dial(address: str) -> ClientConnection:
            async with turn:
                socket = await connect(address, compression=None, max_size=None, proxy=None)
                for _ in range(2):  # `connected` and the snapshot
                    frame = await socket.recv(decode=False)
                if address == url:
                    viewer = Viewer(socket)
                    viewer.cards = {c["id"]: c for c in json.loads(frame)["data"]["cards"]}
                    self._viewers.append(viewer)
                return socket

        await asyncio.gather(*(dial(url) for _ in range(viewers)))
        # Movers hear replies alone: of what happens, that is what viewers are for.
        lean = f"{url}&types=nothing"
        self._movers = list(await asyncio.gather(*(dial(lean) for _ in range(movers))))
        return time.monotonic() - began

    async def move(self, orders: list[Json]) -> Json:
        """Send one order by each mover at once; every viewer is to hear of all that were moves."""
        heard = self._viewers[0].heard
        listening = [asyncio.create_task(viewer.listen()) for viewer in self._viewers]
        began = time.monotonic()

        async def say(socket: ClientConnection, order: Json) -> tuple[str, float]:
            await socket.send(json.dumps({"type": "action", "id": 1, "data": order}))
            reply = json.loads(await socket.recv(decode=False))
            latency = time.monotonic() - began
            if reply["type"] != "result":
                return str(reply["data"]["code"]), latency
            # Where chance put a card behind the one it was behind, there is nothing to announce.
            return "moved" if reply["data"]["version"] > order["version"] else "stays", latency

        said = await asyncio.gather(*map(say, self._movers, orders))
        answered = time.monotonic() - began
        answers = [answer for answer, _ in said]
        events = heard + answers.count("moved")
        async with asyncio.timeout(PATIENCE):
            for viewer in self._viewers:
                await viewer.has_heard(events)
        took = time.monotonic() - began
        for task in listening:
            task.cancel()
        await asyncio.wait(listening)
        return {
            "answers": answers,
            "latencies": sorted(latency for _, latency in said),
            "answered": answered,
            "heard": took,
        }

    async def orders(self) -> list[list[str]]:
        """What every viewer sees."""
        return [viewer.order() for viewer in self._viewers]


def _create(server: House, count: int) -> None:
    headers = {"Authorization": f"Bearer {server.token}"}
    with httpx2.Client(base_url=f"http://127.0.0.1:{server.port}", headers=headers) as api:
        for number in range(count):
            body = {"title": f"card {number}", "description": "x" * 200}
            api.post("/api/v1/cards", json=body).raise_for_status()


def _round(name: str, server: House, crowd: Peer, orders: list[Json], kept: int) -> bool:
    before = server.cpu()
    result = crowd.ask("move", orders=orders)
    spent = server.cpu() - before
    answers = result["answers"]
    latencies = result["latencies"]
    seen = crowd.ask("orders")
    order = list(_stored(server))
    equal = all(one == order for one in seen)
    equal = equal and answers.count("moved") + answers.count("stays") == kept
    equal = equal and answers.count("conflict") == len(answers) - kept
    figures = (
        name,
        f"{len(answers)} / {kept}",
        f"{result['answered']:.2f}",
        f"{result['heard']:.2f}",
        f"{latencies[len(latencies) // 2] * 1000:.0f}",
        f"{latencies[-1] * 1000:.0f}",
        f"{spent / len(answers) * 1e6:,.0f}",
        "yes" if equal else "**NO**",
    )
    print("| " + " | ".join(figures) + " |", flush=True)
    return equal


def _stored(server: House) -> dict[str, int]:
    """Versions by id, in the order of the column."""
    rows = server.rows("SELECT card_id, version FROM cards ORDER BY position")
    return {id: version for id, version in rows}


def _random_moves(ids: list[str], chance: random.Random) -> list[Json]:
    """Every card once, behind any other or to the top."""
    orders = []
    for id in ids:
        after = chance.choice([None, *(other for other in ids if other != id)])
        orders.append(_move(id, 1, after))
    return orders


def _contested_moves(versions: dict[str, int], movers: int) -> list[Json]:
    """Everybody wants one of the first few at the top; at the top already is nobody."""
    wanted = list(versions)[1 : CONTESTED + 1]
    picked = [wanted[number % len(wanted)] for number in range(movers)]
    return [_move(id, versions[id], None) for id in picked]


def _move(id: str, version: int, after: str | None) -> Json:
    body = {"name": "move_card", "card_id": id, "version": version, "column_id": "backlog"}
    return {**body, "after_id": after}


def main() -> None:
    """Run it, print markdown; exit with 1 where two differ."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("--moves", type=int, default=500)
    parser.add_argument("--viewers", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where the temporary database goes")
    given = parser.parse_args()
    with house(given.folder) as server, peer(Crowd) as crowd:
        _create(server, given.moves)
        url = f"ws://127.0.0.1:{server.port}/ws/cards?token={server.token}"
        took = crowd.ask("gather", url=url, movers=given.moves, viewers=given.viewers)
        print(
            f"{given.moves} cards in one column, {given.viewers} viewers, {given.moves} movers, "
            f"all connected and told the board in {took:.1f} s\n"
        )
        print(
            "| moves | sent / kept | answered s | heard by all s | p50 ms | max ms "
            "| server CPU µs/move | one order |"
        )
        print("|---" * 8 + "|")
        orders = _random_moves(list(_stored(server)), random.Random(given.seed))
        fine = _round("each its own card", server, crowd, orders, given.moves)
        orders = _contested_moves(_stored(server), given.moves)
        fine &= _round("ten cards for all", server, crowd, orders, CONTESTED)
    raise SystemExit(0 if fine else 1)


if __name__ == "__main__":
    main()
