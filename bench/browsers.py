"""The subscribers: lean WebSocket clients in one process that account for every frame."""

from __future__ import annotations

import asyncio
import time
from array import array
from functools import partial
from typing import Any, cast

_HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
_MASK = bytes(4)
"""A mask of zeros is a legal one, and costs nothing."""


class Browser(asyncio.Protocol):
    """One WebSocket: cuts frames, counts readings, dates them by their value (microseconds)."""

    def __init__(self, path: str, crew: Browsers) -> None:
        self.readings = 0
        self.total = 0
        self.greeted = asyncio.get_running_loop().create_future()
        self._path = path
        self._crew = crew
        self._held = b""
        self._open = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(_HANDSHAKE.format(path=self._path).encode())

    def connection_lost(self, exc: Exception | None) -> None:
        self._crew.lost += 1
        if not self.greeted.done():
            self.greeted.set_exception(ConnectionError("turned away"))

    def data_received(self, data: bytes) -> None:
        data = self._held + data
        at = 0
        if not self._open:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._held = data
                return
            if b" 101 " not in data[:20]:
                raise ConnectionError(data[:20])
            self._open = True
            at = end + 4
        now = time.monotonic_ns() // 1000
        size = len(data)
        while size - at >= 2:
            length, start = data[at + 1], at + 2
            if length == 126:
                length, start = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
            elif length == 127:
                length, start = int.from_bytes(data[at + 2 : at + 10], "big"), at + 10
            if start + length > size:
                break
            self._frame(data[at], data, start, start + length, now)
            at = start + length
        self._held = data[at:]

    def _frame(self, first: int, data: bytes, start: int, end: int, now: int) -> None:
        if data.startswith(b'{"type":"reading"', start):
            place = data.index(b'"value":', start) + 8
            sent = int(float(data[place : data.index(b",", place)]))
            self.readings += 1
            self.total += sent
            self._crew.count(now - sent)
        elif first & 15 == 9 and self._transport is not None:
            self._transport.write(bytes((0x8A, 0x80 | end - start)) + _MASK + data[start:end])
        elif not self.greeted.done():
            self.greeted.set_result(None)


class Browsers:
    """All subscribers, and the latencies of what they received."""

    def __init__(self) -> None:
        self.lost = 0
        self._received = 0
        self._expected = -1
        self._browsers: dict[int, list[Browser]] = {}
        self._latencies = array("q")
        self._complete = asyncio.Event()

    def count(self, latency: int) -> None:
        self._received += 1
        self._latencies.append(latency)
        if self._received == self._expected:
            self._complete.set()

    async def connect(self, port: int, token: str, aquariums: list[int]) -> int:
        """Subscribe once for every aquarium named; how many are here then."""
        loop = asyncio.get_running_loop()
        for id in aquariums:
            path = f"/ws/aquarium/{id}?token={token}"
            _, browser = await loop.create_connection(
                partial(Browser, path, self), "127.0.0.1", port
            )
            await browser.greeted
            self._browsers.setdefault(id, []).append(browser)
        return sum(map(len, self._browsers.values()))

    async def collect(self, expected: int, patience: float) -> dict[str, Any]:
        """Wait for `expected` more readings, or until `patience` seconds brought none.

        Readings and latencies are those since the last call, `by_aquarium` is since the start.
        """
        self._expected = expected
        self._complete.clear()
        if self._received >= expected:
            self._complete.set()
        while not self._complete.is_set():
            before = self._received
            try:
                await asyncio.wait_for(self._complete.wait(), patience)
            except TimeoutError:
                if self._received == before:
                    break
        latencies, self._latencies = self._latencies, array("q")
        received, self._received, self._expected = self._received, 0, -1
        return {
            "readings": received,
            "lost": self.lost,
            "latencies": latencies.tobytes(),
            "by_aquarium": {
                id: [(browser.readings, browser.total) for browser in browsers]
                for id, browsers in self._browsers.items()
            },
        }
