"""Subscribers that check what they are told: `plain` and `centrifuge`, many in one process.

A guest comes with a token and a place, and is content once it was told `recovered: true` and has
exactly the publications that it missed, in order. From then on it counts what comes live.
"""

from __future__ import annotations

import asyncio
import socket
import time
from array import array
from functools import partial
from typing import Any, Literal, cast

import msgspec

from browsers import Browser, Browsers

Kind = Literal["plain", "centrifuge"]
KINDS: tuple[Kind, ...] = ("plain", "centrifuge")

PATIENCE = 60.0
"""Seconds until a guest that was not told everything is a fault."""

_decode = msgspec.json.decode
_PONG = b"\x81\x82\0\0\0\0{}"


class Visit(msgspec.Struct):
    """Where guests go, and what they shall be told there."""

    kind: Kind
    port: int
    aquarium: int
    epoch: str
    offset: int
    missed: int
    at_once: int = 256
    """Handshakes under way at a time."""
    window: int = 0
    """Bytes that a guest's kernel may take ahead of it; 0: what it likes."""


class Guest(Browser):
    """One WebSocket on one aquarium's channel."""

    def __init__(self, visit: Visit, token: str, crew: Guests) -> None:
        super().__init__(_path(visit, token), cast("Browsers", crew))
        self._guests = crew
        self._visit = visit
        self._first = _hello(visit, token) if visit.kind == "centrifuge" else b""
        self.next = visit.offset + 1
        self._greeting = True
        self.faults = 0
        self.frozen = False

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._first and self._open and self._transport is not None:
            self._transport.write(self._first)
            self._first = b""

    def freeze(self) -> None:
        """Read no more."""
        assert self._transport is not None
        self.frozen = True
        self._transport.pause_reading()

    def cut(self) -> None:
        """As a cable that is pulled: no close frame."""
        assert self._transport is not None
        self._transport.abort()

    def _frame(self, first: int, data: bytes, start: int, end: int, now: int) -> None:
        if first & 15 != 1:
            super()._frame(first, data, start, end, now)
            return
        for line in data[start:end].split(b"\n"):
            if line == b"{}":
                assert self._transport is not None
                self._transport.write(_PONG)
                continue
            for publication in _publications(self, _decode(line)):
                self._follow(publication, now)
        told = not self._greeting and self.next > self._visit.offset + self._visit.missed
        if told and not self.greeted.done():
            self.greeted.set_result(None)

    def welcome(self, recovered: bool) -> None:
        """It was told whether it has all from its place on."""
        self._greeting = False
        self.faults += not recovered

    def _follow(self, publication: tuple[int, dict[str, Any]], now: int) -> None:
        offset, data = publication
        self.faults += self._greeting or offset != self.next or data["number"] != offset
        self.next = offset + 1
        if offset > self._visit.offset + self._visit.missed:
            self._guests.note(now - data["sent"])


def _publications(guest: Guest, said: dict[str, Any]) -> list[tuple[int, dict[str, Any]]]:
    """The publications in one message of either dialect."""
    if "push" in said:
        pub = said["push"]["pub"]
        return [(pub["offset"], pub["data"]["data"])]
    if "subscribe" in said:
        guest.welcome(said["subscribe"].get("recovered", False))
        missed = said["subscribe"].get("publications", ())
        return [(pub["offset"], pub["data"]["data"]) for pub in missed]
    if said.get("type") == "connected":
        guest.welcome(said["data"]["recovered"])
    elif said.get("type") == "reading":
        return [(said["offset"], said["data"])]
    elif "connect" not in said:
        guest.faults += 1
    return []


def _path(visit: Visit, token: str) -> str:
    if visit.kind == "centrifuge":
        return "/connection/websocket"
    return f"/ws/aquarium/{visit.aquarium}?token={token}&since={visit.epoch}:{visit.offset}"


def _hello(visit: Visit, token: str) -> bytes:
    """`connect` and `subscribe` in one frame, as SDKs send them when they come back."""
    place = {"recover": True, "epoch": visit.epoch, "offset": visit.offset}
    commands = (
        {"id": 1, "connect": {"token": token}},
        {"id": 2, "subscribe": {"channel": f"aquarium:{visit.aquarium}", **place}},
    )
    said = b"\n".join(map(msgspec.json.encode, commands))
    return bytes((0x81, 0xFE)) + len(said).to_bytes(2, "big") + bytes(4) + said


class Guests:
    """All guests, in one process."""

    def __init__(self) -> None:
        self.lost = 0
        self._here: list[Guest] = []
        self._latencies = array("q")

    def note(self, latency: int) -> None:
        self._latencies.append(latency)

    async def come(self, visit: Visit, tokens: list[str]) -> dict[str, Any]:
        """One guest a token. The seconds until the last one had everything, and who had not."""
        self._here, self.lost = [], 0
        gate = asyncio.Semaphore(visit.at_once)
        refused = 0

        async def one(token: str) -> None:
            nonlocal refused
            while True:
                async with gate:
                    try:
                        self._here.append(await _come(visit, token, self))
                        return
                    except ConnectionError:
                        refused += 1
                await asyncio.sleep(0.5)  # 429: the server says 2, which would be its rest

        began = time.monotonic()
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*map(one, tokens))
        seconds = time.monotonic() - began
        await asyncio.sleep(0.1)  # nothing more may come
        faults = self.faults() + self.lost - refused + len(self._latencies)
        return {"seconds": seconds, "faults": faults, "refused": refused}

    async def leave(self) -> None:
        """Cut all at once."""
        self.lost = 0
        for guest in self._here:
            guest.cut()
        while self.lost < len(self._here):  # noqa: ASYNC110 - at rest once the loop is
            await asyncio.sleep(0.01)

    async def freeze(self, number: int) -> None:
        """Have one of them read no more."""
        self._here[number].freeze()

    async def heard(self, offset: int) -> dict[str, Any]:
        """What came live since the last time, once all who read have come to `offset`.

        Latencies in microseconds; `faults` since the beginning, and those who are behind.
        """
        until = time.monotonic() + PATIENCE
        while (behind := self._behind(offset)) and time.monotonic() < until:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        latencies, self._latencies = self._latencies, array("q")
        lost = self.lost - sum(guest.frozen for guest in self._here)
        return {
            "latencies": latencies.tobytes(),
            "faults": self.faults() + behind + max(0, lost),
        }

    def _behind(self, offset: int) -> int:
        return sum(not guest.frozen and guest.next <= offset for guest in self._here)

    def faults(self) -> int:
        return sum(guest.faults for guest in self._here)


async def _come(visit: Visit, token: str, crew: Guests) -> Guest:
    loop = asyncio.get_running_loop()
    make = partial(Guest, visit, token, crew)
    knock = socket.socket()
    knock.setblocking(False)
    if visit.window:
        # Before the handshake: it settles how far the server's kernel may run ahead, too.
        knock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, visit.window)
    try:
        await loop.sock_connect(knock, ("127.0.0.1", visit.port))
    except BaseException:
        knock.close()
        raise
    _, guest = await loop.create_connection(make, sock=knock)
    await guest.greeted
    return guest
