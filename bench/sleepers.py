"""Devices that are connected and mostly silent, thousands in one process, by any of three ways in.

Each has a will and listens to its commands, as devices do. What an idle one says is a ping.
"""

from __future__ import annotations

import asyncio
import resource
import ssl
import time
from array import array
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, cast

from gadgets import packet, text

Way = Literal["tcp", "tls", "websocket"]

PINGREQ = b"\xc0\x00"
CONNACK, PUBACK, SUBACK, PINGRESP = 0x20, 0x40, 0x90, 0xD0
TRIES = 20


class Sleeper(asyncio.Protocol):
    """One device."""

    __slots__ = (
        "_came",
        "_key",
        "_sent_at",
        "crew",
        "here",
        "keepalive",
        "name",
        "transport",
    )

    def __init__(self, crew: Sleepers, name: str, key: str, keepalive: int) -> None:
        self.crew = crew
        self.name = name
        self.keepalive = keepalive
        self.here = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport | None = None
        self._key = key
        self._came = b""
        self._sent_at = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.begin()

    def begin(self) -> None:
        """Log in."""
        head = text("MQTT") + b"\x04\xee" + self.keepalive.to_bytes(2, "big")
        will = text(f"aquabook/{self.name}/availability") + text("offline")
        login = text(self.name) + will + text(self.name) + text(self._key)
        self.write(packet(0x10, head + login))

    def write(self, data: bytes) -> None:
        if self.transport is not None:
            self.transport.write(data)

    def publish(self, number: int) -> None:
        """A reading at QoS 1; one at a time."""
        body = f'{{"metric":"temperature","value":{number},"id":"r-{number}"}}'.encode()
        topic = text(f"aquabook/{self.name}/reading")
        self._sent_at = time.monotonic_ns()
        self.write(packet(0x32, topic + b"\x00\x01" + body))

    def data_received(self, data: bytes) -> None:
        self.hear(data)

    def hear(self, data: bytes) -> None:
        """Answers of the server: all of them are short."""
        data = self._came + data
        at = 0
        while len(data) - at >= 2 and len(data) - at >= 2 + data[at + 1]:
            end = at + 2 + data[at + 1]
            self._answer(data[at] & 0xF0, data[at + 2 : end])
            at = end
        self._came = data[at:]

    def _answer(self, kind: int, body: bytes) -> None:
        if kind == PINGRESP:
            self.crew.pongs += 1
        elif kind == PUBACK:
            self.crew.took.append((time.monotonic_ns() - self._sent_at) // 1000)
        elif kind == CONNACK and body == b"\x00\x00":
            topic = text(f"aquabook/{self.name}/command")
            self.write(packet(0x82, b"\x00\x01" + topic + b"\x01"))
        elif kind == SUBACK and body == b"\x00\x01\x01" and not self.here.done():
            self.here.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if not self.here.done():
            self.here.set_exception(ConnectionError("not let in"))


class WebSleeper(Sleeper):
    """One behind a WebSocket. Its masks are zeroes, so its bytes are as they were."""

    __slots__ = ("_head", "_upgraded")

    def begin(self) -> None:
        self._upgraded = False
        self._head = b""
        assert self.transport is not None
        self.transport.write(
            b"GET /mqtt HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\n"
            b"Upgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )

    def write(self, data: bytes) -> None:
        size = len(data)
        head = bytes((0x82, 0x80 | size)) if size < 126 else b"\x82\xfe" + size.to_bytes(2, "big")
        super().write(head + bytes(4) + data)

    def data_received(self, data: bytes) -> None:
        self._head += data
        if not self._upgraded:
            head, end, rest = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            if not head.startswith(b"HTTP/1.1 101"):
                assert self.transport is not None
                self.transport.abort()
                return
            self._upgraded, self._head = True, rest
            super().begin()
        while len(self._head) >= 2 and len(self._head) >= 2 + self._head[1]:
            end_at = 2 + self._head[1]
            frame, self._head = self._head[:end_at], self._head[end_at:]
            if frame[0] == 0x82:
                self.hear(frame[2:])
            elif frame[0] == 0x89:  # its ping wants our pong
                assert self.transport is not None
                self.transport.write(bytes((0x8A, 0x80 | len(frame) - 2)) + bytes(4) + frame[2:])


class Sleepers:
    """All of them."""

    def __init__(self) -> None:
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        self.pongs = 0
        self.took = array("q")
        self._all: list[Sleeper] = []
        self._turned_away = 0
        self._task: asyncio.Task[None] | None = None
        self._pings = self._said = 0

    async def come(
        self, way: Way, port: int, keys: dict[str, str], keepalives: list[int], at_once: int
    ) -> dict[str, float]:
        """Connect all, so many handshakes under way at a time."""
        made = self._maker(way, port)
        waiting = [
            (name, key, keepalive)
            for (name, key), keepalive in zip(keys.items(), keepalives, strict=True)
        ]
        waiting.reverse()
        began = time.monotonic()

        async def line() -> None:
            while waiting:
                self._all.append(await self._enter(made, *waiting.pop()))

        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(line())
        seconds = time.monotonic() - began
        self._task = asyncio.create_task(self._ping())
        return {"seconds": seconds, "turned away": self._turned_away}

    def _maker(self, way: Way, port: int) -> Callable[..., Any]:
        loop = asyncio.get_running_loop()
        context: ssl.SSLContext | None = None
        if way == "tls":
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        kind = WebSleeper if way == "websocket" else Sleeper

        async def make(*given: Any) -> Sleeper:
            factory = partial(kind, self, *given)
            _, sleeper = await loop.create_connection(factory, "127.0.0.1", port, ssl=context)
            await sleeper.here
            return sleeper

        return make

    async def _enter(self, make: Callable[..., Any], *given: Any) -> Sleeper:
        for _ in range(TRIES):
            try:
                sleeper: Sleeper = await make(*given)
            except OSError:
                self._turned_away += 1
                await asyncio.sleep(0.2)
            else:
                return sleeper
        raise ConnectionError(f"turned away {TRIES} times")

    async def _ping(self) -> None:
        """Everyone in the middle of its keep-alive, evenly over time; not those of 6 seconds."""
        faithful = [sleeper for sleeper in self._all if sleeper.keepalive > MUTE]
        every = faithful[0].keepalive / 2
        began = time.monotonic()
        done = 0
        while True:
            due = int((time.monotonic() - began) / every * len(faithful))
            for number in range(done, due):
                faithful[number % len(faithful)].write(PINGREQ)
            self._pings += due - done
            done = due
            await asyncio.sleep(0.02)

    async def speak(self, per_second: float, count: int) -> dict[str, Any]:
        """Readings at a fixed rate, each by the next device; what each PUBACK took, in µs."""
        speakers = [sleeper for sleeper in self._all if sleeper.keepalive > MUTE]
        self.took = array("q")
        began = time.monotonic()
        done = 0
        while done < count:
            due = min(count, int((time.monotonic() - began) * per_second) + 1)
            for _ in range(done, due):
                speakers[self._said % len(speakers)].publish(self._said)
                self._said += 1
            done = max(done, due)
            await asyncio.sleep(0.001)
        until = time.monotonic() + 30
        # Polled, so that the path of a PUBACK stays lean.
        while len(self.took) < count and time.monotonic() < until:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        return {"sent": count, "took": self.took.tobytes()}

    async def present(self) -> dict[str, Any]:
        """Who is connected, and whether every ping was answered."""
        await asyncio.sleep(0.5)
        gone = [sleeper.name for sleeper in self._all if sleeper.transport is None]
        return {"gone": gone, "pings": self._pings, "pongs": self.pongs}


MUTE = 6
"""Seconds of keep-alive that a device promises who then says nothing."""
