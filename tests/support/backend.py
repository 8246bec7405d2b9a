"""A FastAPI app with the server API on a real server, and clients that listen to it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import uvicorn
from fastapi import FastAPI, HTTPException
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from cardume import Centrifuge, Hub, Identity, ServerApi
from tests.support.house import make_hub, token
from tests.support.stages import listening, until

API_KEY = "an-api-key-of-the-tests"


class Listener:
    """A client of the `centrifuge` dialect, frame by frame."""

    def __init__(self, socket: ClientConnection, sub: str) -> None:
        self.socket = socket
        self._lines: list[Any] = []
        self._send({"id": 1, "connect": {"token": token(sub)}})
        self.id: str = self.next()["connect"]["client"]

    def _send(self, command: Any) -> None:
        self.socket.send(json.dumps(command))

    def next(self) -> Any:
        """The next thing it is told that is no ping."""
        while True:
            while not self._lines:
                text = self.socket.recv(timeout=10)
                self._lines = [json.loads(line) for line in str(text).split("\n") if line]
            line = self._lines.pop(0)
            if line:
                return line

    def on(self, channel: str) -> None:
        self._send({"id": 2, "subscribe": {"channel": channel}})
        assert "subscribe" in self.next()

    def closed(self) -> tuple[int, str]:
        """The code and the reason that it is sent away with."""
        try:
            while True:
                self.socket.recv(timeout=10)
        except ConnectionClosed as error:
            received = error.rcvd
        return (received.code, received.reason) if received else (1006, "")


class Backend:
    """`hub` behind `url`; `api` is where the server API is."""

    def __init__(self, **options: Any) -> None:
        self.hub = make_hub(**options)
        self.app = FastAPI()
        # Before the hub's own router: it has to be entered whichever comes first.
        self.app.include_router(ServerApi(self.hub, api_key=API_KEY).router)
        self.app.include_router(Centrifuge(self.hub).router)
        self.app.include_router(self.hub.router)
        self.port = 0
        self.scheme = "http"
        self._http = httpx2.Client(timeout=15)
        _declare(self.hub)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def ask(self, method: str, key: str | None = API_KEY, **more: Any) -> httpx2.Response:
        headers = {} if key is None else {"X-API-Key": key}
        return self._http.post(f"{self.url}/api/{method}", headers=headers, **more)

    def call(self, method: str, **parameters: Any) -> Any:
        """The answer of a call, `result` or `error` and all."""
        response = self.ask(method, json=parameters)
        assert response.status_code == 200, response.text
        return response.json()

    def ok(self, method: str, **parameters: Any) -> Any:
        answer = self.call(method, **parameters)
        assert "result" in answer, answer
        return answer["result"]

    def code(self, method: str, **parameters: Any) -> int:
        """The code of the error that it answers."""
        error: dict[str, Any] = self.call(method, **parameters)["error"]
        assert error["message"]
        return int(error["code"])

    def close(self) -> None:
        self._http.close()

    @contextmanager
    def listener(self, sub: str = "anna") -> Iterator[Listener]:
        address = f"ws://127.0.0.1:{self.port}/connection/websocket"
        with connect(address, compression=None, proxy=None, close_timeout=1) as socket:
            yield Listener(socket, sub)

    @contextmanager
    def plain(self, channel_id: str, sub: str = "anna") -> Iterator[ClientConnection]:
        """A connection that holds one channel, greeted."""
        address = f"ws://127.0.0.1:{self.port}/ws/room/{channel_id}?token={token(sub)}"
        with connect(address, compression=None, proxy=None, close_timeout=1) as socket:
            assert json.loads(socket.recv(timeout=10))["type"] == "connected"
            yield socket


def _declare(hub: Hub) -> None:
    @hub.channel("room:{id}", path="/ws/room/{id}", history=50, presence=True, presence_grace=0.0)
    async def room(id: str, identity: Identity) -> None: ...

    @hub.channel("vault:{id}", history=50)
    async def vault(id: str) -> None:
        raise HTTPException(403)

    @hub.channel("quiet:{id}")
    async def quiet(id: str) -> None: ...


@contextmanager
def backend(*, pem: Path | None = None, **options: Any) -> Iterator[Backend]:
    """One in a thread of its own; behind TLS with the key and the certificate in `pem`."""
    made, socket = Backend(**options), listening()
    if pem is not None:
        made.scheme = "https"
    made.port = socket.getsockname()[1]
    config = uvicorn.Config(
        made.app,
        ws="websockets-sansio",
        lifespan="on",
        log_config=None,
        timeout_keep_alive=1,
        ssl_certfile=pem,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: server.run(sockets=[socket]), daemon=True)
    thread.start()
    until(lambda: server.started)
    try:
        yield made
    finally:
        made.close()
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive(), "the server did not stop"
