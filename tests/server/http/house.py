"""An application behind `Http` on a real port, time in the test's hand, and clients by the byte."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from cardume.hub.rejects import Rejects
from cardume.server.front.gate import Gate
from cardume.server.front.protocols import Http
from cardume.testing import FakeClock
from cardume.transports.uvicorn import WebSocketProtocol
from tests.support.waiting import PATIENCE, until

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
LARGE = 8 * 1024 * 1024


def post(length: int) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % length


CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


class House:
    """Answers what it was sent; `/early` before it came, `/large` with a lot, `/slow` late.

    `/stream` answers with as much, but by the piece; `/chatty` begins before it has heard all.
    """

    def __init__(self, max_waiting: int, max_crowd: int) -> None:
        self.clock = FakeClock()
        self.rejects = Rejects(logging.getLogger("tests"), self.clock)
        self.gate = Gate(self.clock, self.rejects, max_waiting, max_crowd)
        self.heard: list[tuple[str, Any]] = []
        self.names: list[list[bytes]] = []
        """Of the headers of each request, as they were when it was answered."""
        self.release = asyncio.Event()
        self.state = ServerState()
        vars(self.state)["gate"] = self.gate
        self.port = 0

    @property
    def open(self) -> int:
        """Connections that the server holds."""
        return len(self.state.connections)

    def stages(self) -> list[str]:
        """What each of them waits for."""
        protocols: Any = self.state.connections
        return [protocol._stage.name for protocol in protocols]

    def body_size(self) -> int:
        """How much came of the only connection's body."""
        (protocol,) = self.state.connections
        size: int = vars(protocol)["_body_size"]
        return size

    async def _stream(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(LARGE // 65_536):
            await send({"type": "http.response.body", "body": b"x" * 65_536, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def breath(self) -> None:
        """Let the server read what is there."""
        for _ in range(3):
            await asyncio.sleep(0)

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close"})
            return
        path = scope["path"]
        if path == "/slow":
            await self.release.wait()
        if path == "/stream":
            await self._stream(send)
            return
        if path == "/chatty":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"so far", "more_body": True})
        body, more = b"", path != "/early"
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.heard.append((path, None))
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
        self.heard.append((path, body))
        self.names.append([name for name, _ in scope["headers"]])
        answer = b"x" * LARGE if path == "/large" else path.encode() + b" " + body
        length = (b"content-length", b"%d" % len(answer))
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        await send({"type": "http.response.body", "body": answer})


@asynccontextmanager
async def opened(*, max_waiting: int = 1000, max_crowd: int = 1000) -> AsyncIterator[House]:
    """Served without uvicorn's `Server`, that takes 0.2 s to stop."""
    house = House(max_waiting, max_crowd)
    config = uvicorn.Config(
        house.app, http=Http, ws=WebSocketProtocol, interface="asgi3", log_config=None
    )
    config.load()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Http(config, house.state, {}), "127.0.0.1", 0)
    house.port = server.sockets[0].getsockname()[1]
    try:
        yield house
    finally:
        house.release.set()
        server.close()
        for connection in list(house.state.connections):
            connection.transport.abort()
        await until(lambda: not house.state.connections and not house.state.tasks, "the end")


class Client:
    """A connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    def push(self, data: bytes) -> None:
        """Send without waiting for room."""
        self._writer.write(data)

    def stop_reading(self) -> None:
        transport: Any = self._writer.transport
        transport.pause_reading()

    async def answer(self) -> tuple[int, bytes]:
        """Status and body of the next response, that says its length."""
        async with asyncio.timeout(PATIENCE):
            head = await self._reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            return int(head.split()[1]), await self._reader.readexactly(length)

    async def line(self) -> bytes:
        async with asyncio.timeout(PATIENCE):
            return await self._reader.readline()

    async def take(self, size: int) -> bytes:
        """So much of what is sent to it, and no more."""
        async with asyncio.timeout(PATIENCE):
            return await self._reader.readexactly(size)

    async def rest(self) -> bytes:
        """All that still comes, until the server hangs up."""
        async with asyncio.timeout(PATIENCE):
            data = b""
            try:
                while more := await self._reader.read(65536):
                    data += more
            except ConnectionError:
                pass
            return data

    def close(self) -> None:
        self._writer.close()


@asynccontextmanager
async def dialled(house: House) -> AsyncIterator[Client]:
    before = house.open
    client = Client(*await asyncio.open_connection("127.0.0.1", house.port))
    await until(lambda: house.open > before, "an accepted connection")
    try:
        yield client
    finally:
        client.close()
