"""A socket as the connection sees it: reads that can be held back, writes that are bounded."""

from __future__ import annotations

import asyncio
import socket
from typing import Final, cast

READ_AT_ONCE: Final = 16 * 1024
"""Bytes per read: what one client may make us do before the others have their turn."""
_FLUSH_AT: Final = 64 * 1024
_PROBE_AFTER: Final = 120
"""Seconds of silence before the kernel asks a peer without a keepalive of its own."""


class Wire(asyncio.BufferedProtocol):
    """Reads into a buffer that all connections share; gathers writes into one per loop turn.

    Subclasses say what to do in `receive`, and in `pause_writing` and `resume_writing`.
    """

    __slots__ = (
        "_bound",
        "_choked",
        "_flushing",
        "_held",
        "_loop",
        "_out",
        "_size",
        "_view",
        "wire",
    )

    wire: asyncio.Transport

    def __init__(self, loop: asyncio.AbstractEventLoop, view: memoryview, bound: int) -> None:
        self._loop = loop
        self._view = view
        self._bound = bound
        self._out: list[bytes] = []
        self._size = 0
        self._flushing = False
        self._choked = False
        self._held = 0

    # -- in ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # TCP_NODELAY is on already: asyncio and uvloop set it on every accepted socket.
        self.wire = cast("asyncio.Transport", transport)
        self.wire.set_write_buffer_limits(high=self._bound // 4)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        self.receive(bytes(self._view[:nbytes]))

    def receive(self, data: bytes) -> None:
        raise NotImplementedError

    def hold(self, why: int) -> None:
        """Read no more until every reason for it is gone."""
        if not self._held and not self.wire.is_closing():
            self.wire.pause_reading()
        self._held |= why

    def probe(self) -> None:
        """Let the kernel find out that the peer is gone, where the protocol never would."""
        sock = self.wire.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if hasattr(socket, "TCP_KEEPIDLE"):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _PROBE_AFTER)

    # -- out ---------------------------------------------------------------------------------------

    @property
    def choked(self) -> bool:
        """Whether a quarter of the bound is waiting to be read by the peer."""
        return self._choked

    def send(self, data: bytes) -> None:
        """Write in this turn of the loop, together with what else there is."""
        self._out.append(data)
        self._size += len(data)
        if self._size >= _FLUSH_AT:
            self.flush()
        elif not self._flushing:
            self._flushing = True
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        self._flushing = False
        if self._out:
            data = b"".join(self._out)
            self._out.clear()
            self._size = 0
            if not self.wire.is_closing():
                self.wire.write(data)
