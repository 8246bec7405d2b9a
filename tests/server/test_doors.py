"""WebSockets go past the application's middleware, and leave nothing behind when they end."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, closing
from typing import Any

import pytest
import uvicorn
import websockets
from fastapi import Depends, FastAPI
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from cardume.auth.identity import Identity
from cardume.auth.tokens import build_verifier
from cardume.clock import SystemClock
from cardume.server.front.doors import Doors
from cardume.server.front.protocols import Http
from cardume.transports.fastapi import Hub
from cardume.transports.uvicorn import WebSocketProtocol
from tests.support.house import SECRET, token
from tests.support.waiting import PATIENCE


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110 - a server says it by no event
            await asyncio.sleep(0.01)


class Turnstile:
    """A middleware that counts."""

    def __init__(self, app: ASGIApp, passed: list[str]) -> None:
        self._app = app
        self._passed = passed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._passed.append(scope["type"])
        await self._app(scope, receive, send)


def welcome() -> str:
    return "from the application"


class House:
    """An application with one address behind a door, served for real."""

    def __init__(self, calls: Mapping[str, ASGIApp] | None = None) -> None:
        self.calls = calls
        self.passed: list[str] = []
        self.asked: list[tuple[int, str]] = []
        self.hub = Hub(auth=build_verifier(clock=SystemClock(), secret=SECRET))

        @self.hub.channel("room:{room_id}", path="/ws/room/{room_id}", history=10)
        async def room(room_id: int, identity: Identity, said: str = Depends(welcome)) -> None:
            self.asked.append((room_id, said))

        self.app = FastAPI()
        self.app.include_router(self.hub.router)
        self.app.add_middleware(Turnstile, passed=self.passed)
        self.server: Any = None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[int]:
        doors = Doors(self.app, self.hub.router.routes, self.calls)
        config = uvicorn.Config(doors, port=0, http=Http, ws=WebSocketProtocol, log_config=None)
        self.server = uvicorn.Server(config)
        serving = asyncio.create_task(self.server._serve())
        await until(lambda: self.server.started)
        try:
            yield self.server.servers[0].sockets[0].getsockname()[1]
        finally:
            self.server.should_exit = True
            await serving


async def test_a_websocket_enters_past_the_middleware_with_parameters_and_overrides() -> None:
    house = House()
    house.app.dependency_overrides[welcome] = lambda: "overridden"
    async with house.open() as port:
        house.passed.clear()
        where = f"ws://127.0.0.1:{port}/ws/room/7?token={token()}"
        async with websockets.connect(where) as visitor:
            assert '"room:7"' in str(await visitor.recv())
    assert "websocket" not in house.passed
    assert house.asked == [(7, "overridden")]


async def test_everything_else_goes_through_the_application() -> None:
    house = House()
    async with house.open() as port:
        house.passed.clear()
        with pytest.raises(websockets.InvalidStatus, match="403"):
            await websockets.connect(f"ws://127.0.0.1:{port}/ws/nowhere")
    assert "websocket" in house.passed


def alive() -> Counter[str]:
    """Objects of ours and of uvicorn's, by their class."""
    kinds = (repr(type(thing)) for thing in gc.get_objects())
    return Counter(
        kind for kind in kinds if kind.startswith(("<class 'cardume.", "<class 'uvicorn."))
    )


async def test_a_connection_that_was_cut_is_freed_without_the_garbage_collector() -> None:
    house = House()
    async with house.open() as port:
        where = f"ws://127.0.0.1:{port}/ws/room/7?token={token()}"
        async with websockets.connect(where) as visitor:  # what the first one makes for good
            await visitor.recv()
        await until(lambda: not house.hub.connections())
        gc.collect()
        gc.disable()
        try:
            before = alive()
            visitor = await websockets.connect(where)
            await visitor.recv()
            more = alive() - before
            assert more["<class 'cardume.hub.connection.Connection'>"] == 1
            assert not any("cardume.server" in kind for kind in more)
            visitor.transport.abort()
            await until(lambda: not alive() - before)
        finally:
            gc.enable()


def posted(port: int, path: str = "/said", **headers: str) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    asked = f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{lines}\r\n"
    with closing(connected(port)) as client:
        client.sendall(asked.encode())
        answer = b""
        while more := client.recv(65536):
            answer += more
    return answer


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), PATIENCE)


async def test_calls_go_past_the_middleware_but_not_those_of_another_page() -> None:
    house = House(calls={"/said": PlainTextResponse("past it")})
    async with house.open() as port:
        house.passed.clear()
        assert b"past it" in await asyncio.to_thread(posted, port)
        assert house.passed == []
        for answer in (
            await asyncio.to_thread(posted, port, Origin="https://a.example"),
            await asyncio.to_thread(posted, port, "/said/more"),
        ):
            assert answer.startswith(b"HTTP/1.1 404")
        assert house.passed == ["http", "http"]
