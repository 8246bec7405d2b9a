"""What is measured: a server that is started, how subscribers come to it and how it is told.

The floor and Cardume are here; the others are in `contest/peers.py`.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import psutil

from contest.crowd import Address
from contest.process import cpu_of, memory_of
from contest.publishers import Http, Publisher
from house import house

KEY = "bench"
DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Stage:
    """A server that is up."""

    process: psutil.Process
    address: Address
    publisher: Callable[[], Publisher]
    batch: Callable[[], Callable[[list[bytes]], None]] | None = None
    """Publishes several in one request, where the server has that."""

    def cpu(self) -> float:
        return cpu_of(self.process)

    def memory(self) -> int:
        return memory_of(self.process)


Start = Callable[[int], AbstractContextManager[Stage]]
"""Brings it up for so many subscribers."""


@dataclass(frozen=True, slots=True)
class Target:
    name: str
    start: Start
    missing: Callable[[], str] = str
    """Why it cannot be measured here; empty: it can."""
    version: Callable[[], str] = str


def floor(program: Path) -> Target:
    """One `send()` per subscriber and publication, in C."""

    @contextmanager
    def start(_audience: int) -> Iterator[Stage]:
        with subprocess.Popen([program], stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                port = int(process.stdout.readline())
                publisher = lambda: Http(port, "/")  # noqa: E731
                yield Stage(psutil.Process(process.pid), Address(port, ("/",)), publisher)
            finally:
                process.kill()

    return Target("floor", start)


def cardume(dialect: str = "plain", *, fresh: bool = False) -> Target:
    """`cardume serve` as shipped: tokens, history, positions, metrics, all apps, a database.

    Everybody has a token of their own, whose claim lets them onto the channel, and knows the
    place where the channel is; who comes `fresh` does not, and is given the snapshot.
    Publications come by `POST /api/publish`.
    """

    @contextmanager
    def start(audience: int) -> Iterator[Stage]:
        with house(CARDUME_API_KEY=KEY) as server:
            aquarium = server.register(1)[0].aquarium_id
            tokens = [
                server.signer.mint(f"user{number}", ttl=DAY, aquariums=[aquarium])
                for number in range(audience)
            ]
            channel = _Channel(server.port, aquarium)
            place = channel.place()
            address = _ADDRESSES[dialect](channel, tokens, None if fresh else place)
            yield Stage(psutil.Process(server.pid), address, channel.publisher, channel.batch)

    name = "Cardume" if dialect == "plain" else f"Cardume, {dialect}"
    if fresh:
        name += ", with the snapshot"
    return Target(name, start, version=lambda: f"cardume {version('cardume')}")


class _Channel:
    """One aquarium's channel, as the server API knows it."""

    def __init__(self, port: int, aquarium: int) -> None:
        self.port = port
        self.aquarium = aquarium
        self._head = b'{"channel":"aquarium:%d","type":"reading","data":' % aquarium
        self._key = (f"X-API-Key: {KEY}",)

    def publisher(self) -> Http:
        body = lambda data: self._head + data + b"}"  # noqa: E731
        return Http(self.port, "/api/publish", self._key, body)

    def batch(self) -> Callable[[list[bytes]], None]:
        post = Http(self.port, "/api/batch", self._key).post

        def say(all_data: list[bytes]) -> None:
            said = b",".join(b'{"publish":%s%s}}' % (self._head, data) for data in all_data)
            post(b'{"commands":[' + said + b"]}")

        return say

    def place(self) -> tuple[str, int]:
        """Epoch and offset of a first publication."""
        with closing(Http(self.port, "/api/publish", self._key)) as http:
            result = json.loads(http.post(self._head + b"{}}"))["result"]
        return result["epoch"], result["offset"]


Place = tuple[str, int] | None


def _plain(channel: _Channel, tokens: list[str], place: Place) -> Address:
    since = f"&since={place[0]}:{place[1]}" if place else ""
    start = f"/ws/aquarium/{channel.aquarium}?token="
    paths = tuple(start + token + since for token in tokens)
    return Address(channel.port, paths, greeting='"connected"')


def _centrifuge(channel: _Channel, tokens: list[str], place: Place) -> Address:
    """One token for all: it is said in a message, and `crowd` says the same for everybody."""
    subscribe: dict[str, object] = {"channel": f"aquarium:{channel.aquarium}"}
    if place:
        subscribe |= {"recover": True, "epoch": place[0], "offset": place[1]}
    commands = {"id": 1, "connect": {"token": tokens[0]}}, {"id": 2, "subscribe": subscribe}
    said = "\n".join(map(json.dumps, commands))
    return Address(
        channel.port,
        ("/connection/websocket",),
        messages=(said,),
        greeting='"subscribe"',
        ping=("{}", "{}"),
    )


_ADDRESSES = {"plain": _plain, "centrifuge": _centrifuge}
