"""A FastAPI app for real clients, on a real server, behind a wire that can be cut.

A client under test may be another process, so what a test does to it from outside has an address
of its own: `/control/...`, on the server's port and never on the wire.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse

from cardume import Centrifuge, Hub, HubOptions, Identity
from cardume.auth.tokens import build_verifier
from cardume.clock import SystemClock
from cardume.wire import codes
from tests.support.browser import Wire
from tests.support.house import SECRET, token
from tests.support.stages import listening, until


class Messages(BaseModel):
    """Several at once; each is the arguments of a publish."""

    channel: str
    messages: list[dict[str, Any]]


class Place:
    """`port` is the server's, `wire.port` that of the relay before it."""

    def __init__(self, port: int = 0) -> None:
        clock = SystemClock()
        # A page of another origin may come: the wire has a port of its own.
        options = HubOptions(messages_per_minute=0, allowed_origins=("*",))
        self.hub = Hub(
            auth=build_verifier(clock=clock, secret=SECRET), clock=clock, options=options
        )
        self.port = port
        self.wire = Wire(port)
        self.loop: asyncio.AbstractEventLoop | None = None
        self.heard: list[Any] = []
        self.files: Path | None = None
        """Where the SDK for browsers is."""
        self.app = FastAPI(lifespan=self._lifespan)
        self.centrifuge = Centrifuge(self.hub)
        self.app.include_router(self.centrifuge.router)
        self.app.include_router(self.hub.router)
        _declare(self.hub)
        self._control()

        @self.centrifuge.on_message
        async def listen(identity: Identity, data: Any) -> None:
            self.heard.append([identity.sub, data])

    @asynccontextmanager
    async def _lifespan(self, _app: FastAPI) -> AsyncIterator[None]:
        self.loop = asyncio.get_running_loop()
        async with self.wire.relaying():
            yield

    def run(self, work: Any) -> Any:
        """Await `work` on the server's loop."""
        assert self.loop is not None
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(10)

    def soon(self, function: Callable[..., object], *arguments: object) -> None:
        """Call it on the server's loop."""
        assert self.loop is not None
        self.loop.call_soon_threadsafe(function, *arguments)

    def _control(self) -> None:
        app, hub, wire = self.app, self.hub, self.wire

        @app.post("/control/publish")
        async def publish(asked: Messages) -> str:
            places = [await hub.publish(asked.channel, **message) for message in asked.messages]
            return str(places[-1])

        @app.get("/control/token", response_class=PlainTextResponse)
        async def mint(
            sub: str = "anna", ttl: float = 300, channel: str | None = None, subs: str = ""
        ) -> str:
            claims: dict[str, Any] = {}
            if subs:
                claims["subs"] = {name: {} for name in subs.split(",")}
            if channel is not None:
                claims["channel"] = channel
            return token(sub, ttl=ttl, **claims)

        @app.post("/control/cut")
        async def cut() -> None:
            wire.cut()

        @app.post("/control/mend")
        async def mend() -> None:
            wire.mend()

        @app.post("/control/close")
        async def close(sub: str, code: int) -> int:
            return hub.close_user(sub, codes.CLOSES[code])

        @app.get("/control/connections")
        async def connections(sub: str) -> int:
            return len(hub.connections_of(sub))

        @app.get("/control/heard")
        async def heard() -> list[Any]:
            return self.heard

        @app.get("/control/centrifuge.js")
        async def sdk() -> FileResponse:
            assert self.files is not None
            return FileResponse(self.files / "centrifuge.js", media_type="text/javascript")

        @app.get("/control/page", response_class=HTMLResponse)
        async def page() -> str:
            return "<!doctype html><title>a page</title><script src=centrifuge.js></script>"


def _declare(hub: Hub) -> None:
    async def snapshot(id: str) -> dict[str, str]:
        return {"room": id}

    options: dict[str, Any] = {"history": 50, "presence": True, "presence_grace": 0.0}

    @hub.channel("room:{id}", client_publish=True, snapshot=snapshot, **options)
    async def room(id: str, identity: Identity) -> None:
        if id == "closed":
            raise HTTPException(403)

    @hub.channel("vault:{id}", history=50)
    async def vault(id: str) -> None:
        raise HTTPException(403)

    @hub.action("echo")
    async def echo(identity: Identity, body: dict[str, Any]) -> dict[str, Any]:
        return {"by": identity.sub, **body}


@contextmanager
def opened() -> Iterator[Place]:
    """A place in a thread of its own."""
    listener = listening()
    place = Place(listener.getsockname()[1])
    config = uvicorn.Config(
        place.app,
        ws="websockets-sansio",
        lifespan="on",
        log_config=None,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: server.run(sockets=[listener]), daemon=True)
    thread.start()
    until(lambda: server.started)
    try:
        yield place
    finally:
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive(), "the server did not stop"
