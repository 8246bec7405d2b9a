"""The same app on different servers, and one way to talk to all of them.

A `Stage` runs a `House` on a server and hands out `Client`s. Real servers run in a thread of
their own, on a free port of 127.0.0.1, and are stopped by the context manager.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol, TypeVar

import hypercorn.asyncio
import hypercorn.config
import uvicorn
from starlette.testclient import TestClient, WebSocketDenialResponse, WebSocketTestSession
from starlette.websockets import WebSocketDisconnect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from cardume.transports.uvicorn import WebSocketProtocol
from tests.support.house import House

T = TypeVar("T")
Frame = dict[str, Any]
DEADLINE = 10.0


class Denied(Exception):  # noqa: N818 - an answer
    """The handshake was refused with an HTTP status."""

    def __init__(self, status: int, retry_after: str | None) -> None:
        super().__init__(status)
        self.status = status
        self.retry_after = retry_after


class Closed(Exception):  # noqa: N818 - an event
    """The server closed the connection."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Client(Protocol):
    """A WebSocket client that blocks."""

    @property
    def subprotocol(self) -> str | None: ...

    def receive(self, within: float | None = ...) -> Frame:
        """The next frame, if it comes in so many seconds. Raises `Closed`."""

    def send(self, message: str | bytes) -> None: ...


class Stage(Protocol):
    """A running app."""

    house: House

    def connect(
        self,
        path: str,
        *,
        headers: dict[str, str] | None = None,
        subprotocols: Sequence[str] = (),
    ) -> AbstractContextManager[Client]:
        """Raises `Denied`."""

    def run(self, function: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Await `function()` on the server's loop."""


def until(condition: Callable[[], object], deadline: float = DEADLINE) -> None:
    """Wait for `condition`, and fail if it does not come."""
    ends = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < ends, "it did not come to pass"
        time.sleep(0.005)


# -- in process ---------------------------------------------------------------------------------


class _InProcessClient:
    def __init__(self, session: WebSocketTestSession) -> None:
        self._session = session
        self.subprotocol = session.accepted_subprotocol

    def receive(self, within: float | None = None) -> Frame:
        try:
            frame: Frame = json.loads(self._session.receive_text())
        except WebSocketDisconnect as error:
            raise Closed(error.code) from None
        return frame

    def send(self, message: str | bytes) -> None:
        if isinstance(message, str):
            self._session.send_text(message)
        else:
            self._session.send_bytes(message)


class InProcessStage:
    """Starlette's TestClient."""

    def __init__(self, house: House, client: TestClient) -> None:
        self.house = house
        self.client = client

    @contextmanager
    def connect(
        self,
        path: str,
        *,
        headers: dict[str, str] | None = None,
        subprotocols: Sequence[str] = (),
    ) -> Iterator[Client]:
        try:
            with self.client.websocket_connect(
                path, headers=headers or {}, subprotocols=list(subprotocols) or None
            ) as session:
                yield _InProcessClient(session)
        except WebSocketDenialResponse as denied:
            raise Denied(denied.status_code, denied.headers.get("retry-after")) from None
        except WebSocketDisconnect:
            raise Denied(403, None) from None  # as servers answer a close before accept

    def run(self, function: Callable[[], Coroutine[Any, Any, T]]) -> T:
        assert self.client.portal is not None
        answer: T = self.client.portal.call(function)
        return answer


# -- over a socket ------------------------------------------------------------------------------


class _SocketClient:
    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self.subprotocol = connection.subprotocol

    def receive(self, within: float | None = DEADLINE) -> Frame:
        try:
            frame: Frame = json.loads(self._connection.recv(timeout=within))
        except ConnectionClosed as error:
            raise Closed(error.rcvd.code if error.rcvd else 1006) from None
        return frame

    def send(self, message: str | bytes) -> None:
        self._connection.send(message)


@contextmanager
def dial(
    port: int,
    path: str,
    *,
    headers: dict[str, str] | None = None,
    subprotocols: Sequence[str] = (),
) -> Iterator[Client]:
    """A WebSocket to a port of this machine. Raises `Denied`."""
    try:
        with connect(
            f"ws://127.0.0.1:{port}{path}",
            additional_headers=headers,
            subprotocols=[Subprotocol(name) for name in subprotocols] or None,
            compression=None,
            proxy=None,
            close_timeout=1,
        ) as connection:
            yield _SocketClient(connection)
    except InvalidStatus as error:
        response = error.response
        raise Denied(response.status_code, response.headers.get("retry-after")) from None


class SocketStage:
    """A real server on `port`."""

    def __init__(self, house: House, port: int) -> None:
        self.house = house
        self.port = port

    def connect(
        self,
        path: str,
        *,
        headers: dict[str, str] | None = None,
        subprotocols: Sequence[str] = (),
    ) -> AbstractContextManager[Client]:
        return dial(self.port, path, headers=headers, subprotocols=subprotocols)

    def run(self, function: Callable[[], Coroutine[Any, Any, T]]) -> T:
        assert self.house.loop is not None
        return asyncio.run_coroutine_threadsafe(function(), self.house.loop).result(DEADLINE)


def listening() -> socket.socket:
    """A socket that listens on a free port of this machine alone."""
    made = socket.socket()
    made.bind(("127.0.0.1", 0))
    made.listen(128)
    return made


@contextmanager
def in_process(house: House) -> Iterator[Stage]:
    with TestClient(house.app) as client:
        yield InProcessStage(house, client)


@contextmanager
def _in_thread(serve: Callable[[], object], stop: Callable[[], object]) -> Iterator[None]:
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop()
        thread.join(DEADLINE)
        assert not thread.is_alive(), "the server did not stop"


@contextmanager
def uvicorn_on(
    house: House, loop: str, *, ws: Any = "websockets-sansio", lifespan: str = "on"
) -> Iterator[Stage]:
    listener = listening()
    config = uvicorn.Config(
        house.app,
        loop=loop,
        ws=ws,
        lifespan=lifespan,  # type: ignore[arg-type]
        log_config=None,
        timeout_graceful_shutdown=2,
    )
    server = uvicorn.Server(config)

    def stop() -> None:
        server.should_exit = True

    with _in_thread(lambda: server.run(sockets=[listener]), stop):
        until(lambda: server.started)
        yield SocketStage(house, listener.getsockname()[1])


@contextmanager
def hypercorn_on(house: House) -> Iterator[Stage]:
    listener = listening()
    port = listener.getsockname()[1]
    config = hypercorn.config.Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.graceful_timeout = 2
    stopping = threading.Event()

    async def shutdown() -> None:
        await asyncio.to_thread(stopping.wait)

    async def serve() -> None:
        await hypercorn.asyncio.serve(house.app, config, shutdown_trigger=shutdown)  # type: ignore[arg-type]

    with _in_thread(lambda: asyncio.run(serve()), stopping.set):
        until(lambda: house.hub.running)
        yield SocketStage(house, port)


STAGES: dict[str, Callable[[House], AbstractContextManager[Stage]]] = {
    "testclient": in_process,
    "uvicorn-asyncio": lambda house: uvicorn_on(house, "asyncio"),
    "uvicorn-uvloop": lambda house: uvicorn_on(house, "uvloop"),
    "fast-asyncio": lambda house: uvicorn_on(house, "asyncio", ws=WebSocketProtocol),
    "fast-uvloop": lambda house: uvicorn_on(house, "uvloop", ws=WebSocketProtocol),
    "hypercorn": hypercorn_on,
}
