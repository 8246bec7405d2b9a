"""Running the application: its socket, uvicorn's settings, and how a failed start is told."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from contextlib import suppress
from itertools import chain

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cardume.errors import CardumeError, ConfigurationError
from cardume.server import http, process
from cardume.server.compose import Composition
from cardume.server.drain import LET_GO, Server
from cardume.server.front.doors import Doors
from cardume.server.front.protocols import Http
from cardume.transports.uvicorn import WebSocketProtocol

logger = logging.getLogger("cardume.server")

PING_EVERY = 25.0
PONG_WITHIN = 8.0

_ANOTHER_PORT = "stop what else uses that port, or choose another with --port"


class _Lifespan:
    """The application, with a failure of its start kept for the command line to say in a line."""

    def __init__(self, app: ASGIApp) -> None:
        self.failure: CardumeError | None = None
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        started = False

        async def without_traceback(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "lifespan.startup.complete"
            if not started or _is_cancelled():
                message = {"type": message["type"], "message": ""}
            await send(message)

        try:
            await self._app(scope, receive, without_traceback)
        except CardumeError as error:
            self.failure = error
        except Exception:
            if not started:
                logger.exception("a bug of ours kept it from starting")
            raise


def _is_cancelled() -> bool:
    """Whether the second Ctrl-C has ended everything: what fails then is nobody's fault."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def in_front_of(composition: Composition) -> ASGIApp:
    """What uvicorn calls: the doors, and a clock at them."""
    parts = (composition.hub, composition.rooms, composition.centrifuge)
    routers = [part.router for part in parts]
    if composition.waterside is not None:
        routers.append(composition.waterside.router)
    routes = chain.from_iterable(router.routes for router in routers)
    calls = composition.server_api.calls
    secured = {path: http.SecurityHeaders(call) for path, call in calls.items()}
    return composition.meters.around(Doors(composition.app, routes, secured))


def bind(host: str, port: int) -> socket.socket:
    """The listening socket.

    Raises:
        ConfigurationError: the port is taken, or the address is not ours; it says what to do.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With its protocol named: asyncio switches Nagle's algorithm off only where it sees TCP.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        # Who only bound would share the port with another who did, until one of them listens.
        listening.listen()
    except (OSError, ValueError, TypeError) as error:
        listening.close()
        reason = getattr(error, "strerror", None) or "not a name"
        is_port = getattr(error, "errno", None) in (errno.EADDRINUSE, errno.EACCES)
        advice = _ANOTHER_PORT if is_port else "choose another address with --host"
        raise ConfigurationError(f"cannot listen on {host}:{port} ({reason}): {advice}") from error
    return listening


def run(
    composition: Composition,
    listening: socket.socket,
    log_level: str,
    started: Callable[[], None],
) -> None:
    """Serve until SIGTERM or SIGINT, then drain. `started` is called when all is up.

    Raises:
        CardumeError: it could not start.
    """
    app = _Lifespan(in_front_of(composition))
    config = uvicorn.Config(
        app,
        loop="uvloop" if process.has_uvloop() else "asyncio",
        http=Http,
        ws=WebSocketProtocol,
        # Twice our own limit: what is a little too big is told so in its own dialect.
        ws_max_size=2 * composition.hub.options.max_message,
        ws_ping_interval=PING_EVERY,
        ws_ping_timeout=PONG_WITHIN,
        # On, it would cost 64 KiB a connection, and a bomb could grow before it is counted.
        ws_per_message_deflate=False,
        lifespan="on",
        log_config=None,
        access_log=log_level.lower() == "debug",
        proxy_headers=False,
        server_header=False,
        backlog=process.BACKLOG,
        timeout_graceful_shutdown=LET_GO + 1,
    )
    if (certificates := composition.certificates) is not None:
        config.ssl_context_factory = lambda *_: certificates.context
    server = Server(config, composition, started)
    with suppress(SystemExit):  # uvicorn's own way to fail, with a code of its own
        server.run(sockets=[listening])
    if app.failure is not None:
        raise app.failure
    if not server.started:
        raise CardumeError("it could not start; the log says why")
