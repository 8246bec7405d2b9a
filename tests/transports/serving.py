"""A hub behind the fast path, served on the test's own loop, so that its clock can be moved."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp
from websockets.asyncio.client import ClientConnection, connect

from cardume import Hub, HubOptions, Identity
from cardume.auth.signer import TokenSigner
from cardume.auth.tokens import build_verifier
from cardume.hub.connection import Connection
from cardume.testing import FakeClock
from cardume.transports.socket import Socket
from cardume.transports.uvicorn import WebSocketProtocol
from tests.support.house import SECRET
from tests.support.waiting import until


@asynccontextmanager
async def served(app: ASGIApp, **options: Any) -> AsyncIterator[int]:
    """The port of `app`, on uvicorn with our protocol class."""
    config = uvicorn.Config(app, port=0, ws=WebSocketProtocol, log_config=None, **options)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server._serve())
    await until(lambda: server.started, "the server")
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await serving


class Lodge:
    """A hub with rooms, on a clock of the test's."""

    def __init__(self, **options: Any) -> None:
        self.clock = FakeClock()
        self.hub = Hub(
            auth=build_verifier(clock=self.clock, secret=SECRET),
            clock=self.clock,
            options=HubOptions(**{"outbox_limit": 256 * 1024, "messages_per_minute": 0, **options}),
        )
        self.port = 0
        self.app = FastAPI()

        @self.hub.channel("room:{room_id}", path="/ws/room/{room_id}", history=100, deflate=True)
        async def room(room_id: int, identity: Identity) -> None: ...

        self.declare()
        self.app.include_router(self.hub.router)

    def declare(self) -> None:
        """What else there is."""

    @asynccontextmanager
    async def open(self, **options: Any) -> AsyncIterator[Lodge]:
        async with served(self.app, **options) as self.port:
            yield self

    @property
    def path(self) -> str:
        token = TokenSigner(SECRET, self.clock).mint("anna", ttl=86_400)
        return f"/ws/room/7?token={token}"

    @asynccontextmanager
    async def visit(self, **options: Any) -> AsyncIterator[ClientConnection]:
        """A client that was greeted."""
        where = f"ws://127.0.0.1:{self.port}{self.path}"
        chosen = {"compression": None, "ping_interval": None, "close_timeout": 1, **options}
        async with connect(where, proxy=None, **chosen) as client:
            await client.recv()
            yield client

    @property
    def socket(self) -> Socket:
        """The hub's end of the only connection."""
        [connection] = self.hub.connections()
        assert isinstance(connection.transport, Socket)
        return connection.transport

    @property
    def is_parting(self) -> bool:
        """Whether goodbye was said to everybody, all of it is on its way, and their time runs."""
        ends = [connection.transport for connection in self.hub.connections()]
        assert all(isinstance(end, Socket) for end in ends)
        return all(
            end._said_goodbye
            and end._deadline is not None
            and not end.transport.get_write_buffer_size()
            for end in ends
            if isinstance(end, Socket)
        )

    async def say_too_much(self, connection: Connection) -> int:
        """Publish what a peer does not read, until some of it waits; how many."""
        count = 0
        while not len(connection.outbox):
            await self.say({"n": count, "filling": "x" * 16_000})
            count += 1
            await asyncio.sleep(0)
        return count

    async def say(self, data: Any) -> None:
        """Publish in the room."""
        await self.hub.publish("room:7", "m", data)
