"""A transport that is written to directly, as long as it has room; and what its peer read."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar

from cardume.auth.identity import Identity
from cardume.hub import sockets
from cardume.hub.connection import Connection
from cardume.hub.entry import Entry, enter
from cardume.hub.hub import Hub
from cardume.wire.codes import CloseCode
from cardume.wire.messages import Connected, Position
from tests.support.peers import ANNA, PLAIN

Frame = dict[str, Any]


def unframed(data: bytes) -> list[bytes]:
    """The payloads of a server's text frames (RFC 6455 §5.2)."""
    payloads = []
    while data:
        start, end = _span(data)
        payloads.append(data[start:end])
        data = data[end:]
    return payloads


def _unfinished(data: bytes) -> bytes:
    """The beginning of a frame at the end of `data`."""
    while len(data) > 10 and len(data) >= _span(data)[1]:
        data = data[_span(data)[1] :]
    return data


def _span(data: bytes) -> tuple[int, int]:
    """Where the first frame's payload begins and ends."""
    assert data[0] == 0x81, data[:2]
    size, start = data[1], 2
    if size == 126:
        size, start = int.from_bytes(data[2:4]), 4
    elif size == 127:
        size, start = int.from_bytes(data[2:10]), 10
    return start, start + size


class DirectTransport:
    """Takes everything until `fill`, and from `free` on again."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.full = False
        self.code: CloseCode | None = None
        self.connection: Connection | None = None
        self.on_close: Callable[[], object] = _nothing

    @property
    def fileno(self) -> int:
        """Its socket's."""
        return sockets.NO_FILENO

    def start(self, connection: Connection) -> None:
        self.connection = connection
        self._drain()

    def write(self, data: bytes) -> None:
        assert not self.full, "written to although it said that it is full"
        self.writes.append(data)

    def fill(self) -> None:
        self.full = True
        if self.connection is not None:
            self.connection.stall()

    def free(self) -> None:
        self.full = False
        self._drain()

    def wake(self) -> None:
        if not self.full:
            self._drain()

    def close(self, code: CloseCode, *, flush: bool) -> None:
        assert self.code is None, "closed twice"
        self.code = code
        if flush and not self.full:
            self._drain()
        asyncio.get_running_loop().call_soon(self.on_close)

    def _drain(self) -> None:
        connection = self.connection
        if connection is None:
            return
        frames = []
        while (frame := connection.outbox.take()) is not None:
            frames.append(frame.wire)
        if frames:
            self.write(b"".join(frames))
        if not connection.closing and connection.write is None:
            connection.resume(self.write)


class SocketTransport(DirectTransport):
    """One with a small socket, as a loop's: what the kernel does not take it keeps, and is full."""

    open: ClassVar[list[SocketTransport]] = []

    def __init__(self) -> None:
        super().__init__()
        self.open.append(self)
        self._ours, self._theirs = socket.socketpair()
        self._ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        self._ours.setblocking(False)
        self._theirs.setblocking(False)
        self._rest = b""
        self._read = b""

    @property
    def fileno(self) -> int:
        return self._ours.fileno() if sockets.COMPILED else sockets.NO_FILENO

    @property
    def writes(self) -> list[bytes]:
        """The whole frames that its peer has read by now; what was one write is not seen here."""
        self._receive()
        return [self._read[: len(self._read) - len(_unfinished(self._read))]]

    @writes.setter
    def writes(self, _none: list[bytes]) -> None:
        """There is none to begin with."""

    def write(self, data: bytes) -> None:
        assert not self._rest, "written to although it said that it is full"
        self._rest = data
        self._send()
        if self._rest:
            self.fill()

    def free(self) -> None:
        """Its peer reads until nothing waits any more, as a loop would have it."""
        while self.full or self._rest:
            self._receive()
            self._send()
            if not self._rest:
                super().free()

    @classmethod
    def close_all(cls) -> None:
        while cls.open:
            transport = cls.open.pop()
            transport._ours.close()
            transport._theirs.close()

    def _receive(self) -> None:
        with suppress(BlockingIOError):
            while got := self._theirs.recv(65536):
                self._read += got

    def _send(self) -> None:
        with suppress(BlockingIOError):
            self._rest = self._rest[self._ours.send(self._rest) :]


class DirectPeer:
    """One client of one channel on such a transport."""

    kind: type[DirectTransport] = DirectTransport

    def __init__(self, hub: Hub, identity: Identity = ANNA) -> None:
        self.hub = hub
        self.transport = self.kind()
        self.connection = hub.connect(identity, PLAIN, self.transport)
        self.connection.fileno = self.transport.fileno
        self.transport.on_close = self.leave

    @property
    def frames(self) -> list[Frame]:
        """All that it was sent."""
        return [json.loads(each) for data in self.transport.writes for each in unframed(data)]

    def offsets(self) -> list[int]:
        """The offsets of the publications it got."""
        return [frame["offset"] for frame in self.frames if "channel" in frame]

    async def enter(self, channel: str, since: Position | None = None) -> DirectPeer:
        await enter(self.hub, self.connection, channel, since, greet=self._greet)
        self.transport.start(self.connection)
        return self

    def _greet(self, subscription: Any, entry: Entry) -> None:
        name = subscription.channel.name
        self.connection.reply(
            Connected(self.connection.id, name, entry.position, entry.recovered, None)
        )

    def leave(self) -> None:
        self.hub.disconnect(self.connection)


def _nothing() -> None:
    """What a transport tells nobody."""


async def turns(count: int = 3) -> None:
    """Let the loop run what it was given."""
    for _ in range(count):
        await asyncio.sleep(0)
