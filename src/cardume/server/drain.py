"""How the server stops: everybody is sent away over a window, and nobody can hold it up."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn

from cardume.server import process
from cardume.server.compose import Composition
from cardume.server.front.gate import Gate
from cardume.transports.uvicorn import WebSocketProtocol

logger = logging.getLogger("cardume.server")

PATIENCE = 7.0
"""Seconds beyond the drain's window for readings to be kept and goodbyes to be taken."""

LET_GO = 2
"""Seconds that requests may still take once everyone was sent away."""


class Server(uvicorn.Server):
    """uvicorn's server, but its goodbye is staged.

    By itself it closes every WebSocket with 1012 in one tick, before the lifespan ends.
    """

    def __init__(
        self, config: uvicorn.Config, composition: Composition, started: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._composition = composition
        self._started = started
        hub = composition.hub
        state: Any = self.server_state  # where `Http` looks for it
        state.gate = Gate(hub.clock, hub.rejects, process.max_waiting(), process.max_crowd())

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            process.settle_heap()
            self._started()

    async def on_tick(self, counter: int) -> bool:
        """As uvicorn's, ten times a second; and whether a certificate was renewed."""
        if self._composition.certificates is not None:
            self._composition.certificates.refresh(self._composition.clock.monotonic())
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal asks, the second means now.

        uvicorn would raise the signal again once all is done; but a stop that was asked for and
        went well is no failure: exit code 0.
        """
        self.force_exit |= self.should_exit
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._drain()
        self._abort_slow_readers()
        patience = 0 if self.force_exit else LET_GO
        late = asyncio.get_running_loop().call_later(patience, self._abort_everyone)
        await super().shutdown(sockets)
        late.cancel()
        await self._end_requests()

    async def _end_requests(self) -> None:
        """After a second signal uvicorn waits for none, and each would end in a traceback.

        Its request ends as if the client had gone.
        """
        self._abort_everyone()
        if self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks, timeout=1.0)

    async def _drain(self) -> None:
        drain = asyncio.ensure_future(self._composition.drain())
        loop = asyncio.get_running_loop()
        until = loop.time() + self._composition.settings.drain_window + PATIENCE
        while not drain.done() and not self.force_exit and loop.time() < until:
            await asyncio.wait({drain}, timeout=0.1)
        if not drain.done() and not self.force_exit:
            logger.warning("the drain takes too long; it ends now")
        drain.cancel()
        await asyncio.wait({drain})
        if not drain.cancelled() and (error := drain.exception()) is not None:
            logger.error("the drain failed", exc_info=error)

    def _abort_slow_readers(self) -> None:
        """The hub has waited for them already; uvicorn would once more, for the same bytes."""
        for connection in list(self.server_state.connections):
            waits = connection.transport.get_write_buffer_size() > 0
            if waits and isinstance(connection, WebSocketProtocol):
                connection.transport.abort()

    def _abort_everyone(self) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.abort()
