"""A wire to PostgreSQL that breaks where a test wants it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import Enum, auto


class Cut(Enum):
    """Where the next commit is cut off."""

    BEFORE = auto()
    """The server never hears of it."""
    AFTER = auto()
    """The server does it, and nobody hears its answer."""


class Wire:
    """Forwards to a server on this machine."""

    def __init__(self, port: int) -> None:
        self._server = port
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0
        self.next_commit: Cut | None = None
        self.whole = True
        """Else nobody gets through, and who was is cut off."""

    def cut(self) -> None:
        self.whole = False
        for writer in self._writers:
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.whole:
            writer.transport.abort()
            return
        from_server, to_server = await asyncio.open_connection("127.0.0.1", self._server)
        self._writers |= {writer, to_server}
        back = asyncio.create_task(self._answers(from_server, writer))
        try:
            while data := await reader.read(65536):
                if b"COMMIT" in data and self.next_commit is not None:
                    cut, self.next_commit = self.next_commit, None
                    if cut is Cut.AFTER:
                        back.cancel()
                        await asyncio.wait({back})
                        to_server.write(data)
                        await from_server.read(65536)
                    return
                to_server.write(data)
        except ConnectionError:
            pass
        finally:
            back.cancel()
            await asyncio.wait({back})
            for side in (writer, to_server):
                self._writers.discard(side)
                side.transport.abort()

    @staticmethod
    async def _answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
        except ConnectionError:
            pass
        writer.transport.abort()


@asynccontextmanager
async def wire(port: int) -> AsyncIterator[Wire]:
    """A `Wire` to that port, on a port of its own."""
    made = Wire(port)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        made.cut()
        server.close()
        await server.wait_closed()
