"""Running the application: uvicorn with a staged drain on SIGTERM."""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from itertools import chain
from types import FrameType

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cardume.errors import CardumeError, ConfigurationError
from cardume.server.compose import Composition
from cardume.server.doors import Doors
from cardume.server.protocols import Http, WebSocket

logger = logging.getLogger("cardume.server")

PING_EVERY = 25.0
PONG_WITHIN = 8.0

_ANOTHER_PORT = "stop what else uses that port, or choose another with --port"

GC_THRESHOLDS = (10_000, 10, 10)
"""A million objects more than there were before the garbage collector looks at all of them."""

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

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            _settle_heap()
            self._started()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """As uvicorn's, but it would raise the signal again once all is done.

        A stop that was asked for and went well is no failure: exit code 0.
        """
        self.force_exit |= self.should_exit and sig == signal.SIGINT
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        drain = asyncio.ensure_future(self._composition.drain())
        # A second Ctrl-C means now.
        while not drain.done() and not self.force_exit:
            await asyncio.wait({drain}, timeout=0.1)
        drain.cancel()
        await asyncio.wait({drain})
        if not drain.cancelled() and (error := drain.exception()) is not None:
            logger.error("the drain failed", exc_info=error)
        self._abort_slow_readers()
        # Its request ends as if the client had gone; cancelled by uvicorn it would be a traceback.
        late = asyncio.get_running_loop().call_later(LET_GO, self._abort_everyone)
        await super().shutdown(sockets)
        late.cancel()

    def _abort_slow_readers(self) -> None:
        """The hub has waited for them already; uvicorn would once more, for the same bytes."""
        for connection in list(self.server_state.connections):
            waits = connection.transport.get_write_buffer_size() > 0
            if waits and isinstance(connection, WebSocket):
                connection.transport.abort()

    def _abort_everyone(self) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.abort()


def _settle_heap() -> None:
    """Take what is loaded by now out of the garbage collector's rounds, and make these rare.

    It stays for good, and looking through it stops the loop: 50 to 160 ms measured, 10 without it.
    A connection is some 130 objects that live long and are freed without the collector: by
    Python's thresholds it looked through all of them eight times while 5,000 came back.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


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


def _in_front_of(composition: Composition) -> Doors:
    parts = (composition.hub, composition.rooms, composition.centrifuge)
    return Doors(composition.app, chain.from_iterable(part.router.routes for part in parts))


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
    app = _Lifespan(composition.meters.around(_in_front_of(composition)))
    config = uvicorn.Config(
        app,
        loop="uvloop" if find_spec("uvloop") else "asyncio",
        http=Http,
        ws=WebSocket,
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
        timeout_graceful_shutdown=LET_GO + 1,
    )
    server = Server(config, composition, started)
    with suppress(SystemExit):  # uvicorn's own way to fail, with a code of its own
        server.run(sockets=[listening])
    if app.failure is not None:
        raise app.failure
    if not server.started:
        raise CardumeError("it could not start; the log says why")
