"""Running the application: uvicorn with a staged drain on SIGTERM."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from importlib.util import find_spec

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cardume.errors import ConfigurationError
from cardume.server.compose import Composition

PING_EVERY = 25.0
PONG_WITHIN = 8.0

LET_GO = 5
"""Seconds uvicorn waits for its own connections once everyone was sent away."""


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

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        drain = asyncio.ensure_future(self._composition.drain())
        # A second Ctrl-C means now.
        while not drain.done() and not self.force_exit:
            await asyncio.wait({drain}, timeout=0.1)
        drain.cancel()
        await super().shutdown(sockets)


class _Startup:
    """The application, with a failure of its start kept for the command line to say in a line."""

    def __init__(self, app: ASGIApp) -> None:
        self.failure: ConfigurationError | None = None
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return

        async def without_traceback(message: Message) -> None:
            if message["type"] == "lifespan.startup.failed" and self.failure is None:
                message = {"type": message["type"], "message": ""}
            await send(message)

        try:
            await self._app(scope, receive, without_traceback)
        except ConfigurationError as error:
            self.failure = error


def bind(host: str, port: int) -> socket.socket:
    """The listening socket.

    Raises:
        ConfigurationError: the port is taken, or the address is not ours; it says what to do.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise ConfigurationError(
            f"cannot listen on {host}:{port} ({error.strerror}): stop what else uses that port, "
            "or choose another with --port"
        ) from error
    return listening


def run(
    composition: Composition,
    listening: socket.socket,
    log_level: str,
    started: Callable[[], None],
) -> None:
    """Serve until SIGTERM or SIGINT, then drain. `started` is called when all is up.

    Raises:
        ConfigurationError: it could not start.
    """
    app = _Startup(composition.app)
    config = uvicorn.Config(
        app,
        loop="uvloop" if find_spec("uvloop") else "asyncio",
        http="httptools",
        ws="websockets-sansio",
        ws_max_size=composition.hub.options.max_message,
        ws_ping_interval=PING_EVERY,
        ws_ping_timeout=PONG_WITHIN,
        # On, it would cost 64 KiB a connection, and a bomb could grow before it is counted.
        ws_per_message_deflate=False,
        lifespan="on",
        log_config=None,
        access_log=log_level.lower() == "debug",
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=LET_GO,
    )
    Server(config, composition, started).run(sockets=[listening])
    if app.failure is not None:
        raise app.failure
