"""Measures the log of an execution: how fast one runner writes it, what that costs, who sees it.

    python3 run.py bench executions                         1,000,000 lines, about a minute
    python3 run.py bench executions --lines 100000

A fresh server and one runner that posts batches over one HTTP connection, as fast as they are
answered: first with nobody there, then with one live viewer. Then somebody comes late: the
snapshot by WebSocket, and the whole log by HTTP pages. Runner and viewer are processes of their
own; each line is counted by its `seq`, so that one missing or doubled ends it with status 1.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from floor import send_floor
from house import MIB, House, house
from peer import Peer, peer

API = "/api/v1/executions"
PAGE = 5000
QUIET = 30.0
"""Seconds without a frame after which a viewer gives up."""

Json = dict[str, Any]
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class Api:
    """HTTP over one connection."""

    def __init__(self, port: int, token: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def ask(self, method: str, path: str, body: bytes | None = None) -> Json:
        self._connection.request(method, f"{API}{path}", body, self._headers)
        with self._connection.getresponse() as response:
            text = response.read()
        if response.status >= 300:
            raise ConnectionError(f"{response.status}: {text[:300]!r}")
        answer: Json = _decode(text)
        return answer

    def begin(self) -> str:
        id: str = self.ask("POST", "", b'{"name":"bench"}')["execution_id"]
        return id


class Runner:
    """Writes lines of `width` characters."""

    async def write(
        self, port: int, token: str, id: str, first: int, last: int, batch: int, width: int
    ) -> Json:
        """Lines `first` to `last`, one batch after the other."""
        api = Api(port, token)
        waited = 0.0
        for start in range(first, last + 1, batch):
            body = _batch(start, min(start + batch, last + 1), width)
            began = time.perf_counter()
            answer = api.ask("POST", f"/{id}/log", body)
            waited += time.perf_counter() - began
            assert answer["last_seq"] == min(start + batch - 1, last)
        return {"seconds": waited}


def _batch(start: int, stop: int, width: int) -> bytes:
    at = "2026-11-20T12:00:00.123Z"
    lines = [
        {"seq": seq, "stream": "stdout", "text": f"line {seq} ".ljust(width, "."), "at": at}
        for seq in range(start, stop)
    ]
    return _encode({"lines": lines})


class Viewer:
    """Keeps count of a log by the rules of docs/executions.md."""

    def __init__(self) -> None:
        self.last = 0
        self.cut = 0
        self.fetched = 0
        self._since = ""

    async def watch(self, port: int, token: str, id: str, last: int) -> Json:
        """Until line `last` was seen, coming back whenever we are cut."""
        url = f"ws://127.0.0.1:{port}/ws/execution/{id}?token={token}"
        api = Api(port, token)
        while self.last < last:
            try:
                async with connect(
                    f"{url}{self._since}", compression=None, proxy=None, max_size=4 * MIB
                ) as socket:
                    await self._listen(socket, api, id, last)
            except ConnectionClosed:
                self.cut += 1
        return {"lines": self.last, "cut": self.cut, "fetched": self.fetched}

    async def _listen(self, socket: Any, api: Api, id: str, last: int) -> None:
        epoch = ""
        while self.last < last:
            async with asyncio.timeout(QUIET):
                frame = _decode(await socket.recv(decode=False))
            data = frame["data"]
            if frame["type"] == "connected":
                epoch = data["epoch"]
            elif frame["type"] == "snapshot":
                self._fetch(api, id, data["first_seq"] - 1)
                self._take(data["lines"])
            elif frame["type"] == "log":
                self._take(data["lines"])
                self._since = f"&since={epoch}:{frame['offset']}"

    def _fetch(self, api: Api, id: str, last: int) -> None:
        while self.last < last:
            page = api.ask("GET", f"/{id}/log?after={self.last}&limit={PAGE}")
            before = self.last
            self._take(page["lines"])
            self.fetched += self.last - before

    def _take(self, lines: list[Json]) -> None:
        for line in lines:
            seq = line["seq"]
            if seq == self.last + 1:
                self.last = seq
            elif seq > self.last:
                raise AssertionError(f"{seq} follows {self.last}")

    async def catch_up(self, port: int, token: str, id: str, last: int) -> Json:
        """As somebody who comes late and wants all of it: the snapshot, and what is above."""
        api = Api(port, token)
        began = time.perf_counter()
        url = f"ws://127.0.0.1:{port}/ws/execution/{id}?token={token}"
        async with connect(url, compression=None, proxy=None, max_size=4 * MIB) as socket:
            await socket.recv()
            snapshot = _decode(await socket.recv(decode=False))["data"]
        shown = time.perf_counter() - began
        self._fetch(api, id, snapshot["first_seq"] - 1)
        self._take(snapshot["lines"])
        assert self.last == last
        return {"shown": shown, "seconds": time.perf_counter() - began}


@contextmanager
def _weighed(server: House) -> Iterator[list[int]]:
    """The resident bytes of the server, ten times a second."""
    weights = [server.memory()]
    over = threading.Event()

    def weigh() -> None:
        while not over.wait(0.1):
            weights.append(server.memory())

    thread = threading.Thread(target=weigh)
    thread.start()
    try:
        yield weights
    finally:
        over.set()
        thread.join()
        weights.append(server.memory())


def _write(server: House, given: argparse.Namespace, *, watched: bool) -> tuple[str, bool]:
    """One execution, written whole; its id, and whether its viewer saw all."""
    id = Api(server.port, server.token).begin()
    where: Json = {"port": server.port, "token": server.token, "id": id}
    work: Json = {"batch": given.batch, "width": given.width}
    warm = given.lines // 10
    with peer(Runner) as runner, peer(Viewer) as viewer:
        if watched:
            viewer.tell("watch", **where, last=given.lines)
        first = runner.ask("write", **where, **work, first=1, last=warm)
        before = server.cpu()
        with _weighed(server) as weights:
            rest = runner.ask("write", **where, **work, first=warm + 1, last=given.lines)
        spent = server.cpu() - before
        seen: Json = _answer(viewer) if watched else {}
    seconds = first["seconds"] + rest["seconds"]
    print(
        f"| {'one live viewer' if watched else 'nobody there'} "
        f"| {given.lines / seconds:,.0f} | {spent / (given.lines - warm) * 1e6:.2f} "
        f"| {weights[0] / MIB:.0f} | {max(weights) / MIB:.0f} | {weights[-1] / MIB:.0f} "
        f"| {seen.get('lines', '-')} | {seen.get('cut', '-')} | {seen.get('fetched', '-')} |",
        flush=True,
    )
    return id, not watched or seen["lines"] == given.lines


def _answer(viewer: Peer) -> Json:
    answer: Json = viewer.answer()
    return answer


def main() -> None:
    """Run it, print markdown; exit with 1 where a line was missing or doubled."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--batch", type=int, default=1000)
    parser.add_argument("--width", type=int, default=80, help="characters of a line")
    parser.add_argument("--folder", type=Path, help="where the temporary database goes")
    given = parser.parse_args()
    print(
        f"{given.lines:,} lines of {given.width} characters in batches of {given.batch:,}; "
        f"a raw send() costs {send_floor():.1f} µs\n"
    )
    with house(given.folder) as server:
        print(
            "| viewers | lines/s | server CPU µs/line | RSS MiB after a tenth | most | at the end "
            "| seen live | cut | fetched |"
        )
        print("|---" * 9 + "|")
        _write(server, given, watched=False)
        id, fine = _write(server, given, watched=True)
        with peer(Viewer) as late:
            where = {"port": server.port, "token": server.token, "id": id}
            before = server.cpu()
            came = late.ask("catch_up", **where, last=given.lines)
            spent = server.cpu() - before
        print(
            f"\nA late viewer is shown the last lines after {came['shown'] * 1000:.0f} ms and has "
            f"all of them after {came['seconds']:.1f} s: "
            f"{given.lines / came['seconds']:,.0f} lines/s, server CPU "
            f"{spent / given.lines * 1e6:.2f} µs/line; RSS {server.memory() / MIB:.0f} MiB."
        )
    raise SystemExit(0 if fine else 1)


if __name__ == "__main__":
    main()
