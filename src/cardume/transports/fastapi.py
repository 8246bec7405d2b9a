"""The hub as a FastAPI user holds it: a router to include, a decorator, addresses."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.routing import WebSocketRoute

from cardume.auth.identity import Identity, InvalidToken
from cardume.auth.redaction import install
from cardume.auth.tokens import TokenVerifier, from_environment
from cardume.clock import Clock
from cardume.engines.base import Engine
from cardume.errors import ConfigurationError, HubNotRunning, Unavailable
from cardume.hub.guards import Function, guard_for
from cardume.hub.hub import Hub as BareHub
from cardume.hub.hub import Verifier
from cardume.hub.namespaces import ChannelOptions, ChannelTemplate, Namespace, Snapshot
from cardume.hub.options import HubOptions
from cardume.hub.outbox import SlowPolicy
from cardume.transports.door import identify_request
from cardume.transports.endpoint import Endpoint
from cardume.transports.entrance import serve
from cardume.transports.events import ChannelEvents
from cardume.transports.history import Count, HistoryPage, Reverse, Since, read_history
from cardume.transports.plain import PlainAddress
from cardume.transports.problems import ProblemRoute
from cardume.transports.requests import Bearer

F = TypeVar("F", bound=Function)

STATE = "cardume_hub"
"""Where the lifespan state of the application holds the hub."""


class Hub(BareHub):
    """One hub of a process, with its FastAPI router.

    ``app.include_router(hub.router)`` is all: the router's lifespan enters the hub, and
    ``prefix=`` moves every address. Without `auth` the verifier comes from the environment
    (``CARDUME_JWT_SECRET``, ``CARDUME_JWKS_URL`` or ``CARDUME_JWT_PUBLIC_KEY``) when the hub is
    entered.
    """

    def __init__(
        self,
        *,
        auth: Verifier | None = None,
        engine: Engine | str = "memory://",
        clock: Clock | None = None,
        options: HubOptions | None = None,
    ) -> None:
        super().__init__(auth=auth, engine=engine, clock=clock, options=options)
        self._own_verifier: TokenVerifier | None = None
        self.router = APIRouter(lifespan=self._lifespan)
        self.router.include_router(_channels)
        self.router.routes.append(ChannelEvents(self).route)

    def channel(
        self,
        template: str,
        *,
        path: str | None = None,
        history: int = 0,
        history_ttl: float = 600.0,
        history_bytes: int = 4 * 1024 * 1024,
        on_slow: SlowPolicy | str = SlowPolicy.DISCONNECT,
        presence: bool = False,
        presence_grace: float = 5.0,
        client_publish: bool = False,
        keyed: bool = False,
        deflate: bool = False,
        snapshot: Snapshot | None = None,
    ) -> Callable[[F], F]:
        """Declare channels like ``room:{room_id}``; the decorated body decides who may enter.

        `path` gives them a WebSocket address in the `plain` dialect, with the same parameters.
        `history` publications, of `history_bytes` at most (data, type, key, source, tags and 256
        bytes each), are kept for `history_ttl` seconds, so that a client that comes back resumes
        without a gap. `snapshot` is called with the channel's parameters for a client that cannot
        resume; with `keyed` it gets the latest publication of each key instead. `presence` says who
        is there; who was gone for less than `presence_grace` seconds never was.
        `deflate` compresses what is published for clients that offer permessage-deflate, once for
        all of them, where our protocol class serves them (`docs/library.md`, Servers).

        Raises:
            ConfigurationError: template, path and function do not fit together.
        """
        options = ChannelOptions(
            history=history,
            history_ttl=history_ttl,
            history_bytes=history_bytes,
            on_slow=SlowPolicy(on_slow),
            presence=presence,
            presence_grace=presence_grace,
            client_publish=client_publish,
            keyed=keyed,
            deflate=deflate,
            snapshot=snapshot,
        )

        def register(function: F) -> F:
            shape = ChannelTemplate(template)
            namespace = Namespace(shape, options, guard_for(function, shape))
            self.declare(namespace)
            if path is not None:
                self._route(namespace, path)
            return function

        return register

    def _default_verifier(self) -> Verifier:
        self._own_verifier = from_environment(os.environ, self.clock)
        return self._own_verifier

    def _route(self, namespace: Namespace, path: str) -> None:
        wanted = {f"{{{name}}}" for name in namespace.template.parameters}
        missing = sorted(name for name in wanted if name not in path)
        if missing:
            raise ConfigurationError(f"path {path!r} has to hold {', '.join(missing)}")

        endpoint = Endpoint(partial(serve, self, PlainAddress(namespace)), "cardume")
        self.router.routes.append(WebSocketRoute(path, endpoint, name=namespace.template.text))

    @asynccontextmanager
    async def _lifespan(self, _app: Any) -> AsyncIterator[dict[str, Any]]:
        # Servers log the query string of every WebSocket; a token must not be in a log.
        uninstall = install()
        try:
            async with self:
                yield {STATE: self}
        finally:
            uninstall()
            if self._own_verifier is not None:
                await self._own_verifier.aclose()


async def hub_of(connection: HTTPConnection) -> Hub:
    """The hub whose router the application includes.

    Raises:
        HubNotRunning: it includes none, or its lifespan did not run.
    """
    hub = getattr(connection.state, STATE, None)
    if not isinstance(hub, Hub):
        raise HubNotRunning
    return hub


CurrentHub = Annotated[Hub, Depends(hub_of)]


async def current_identity(connection: HTTPConnection, hub: CurrentHub, _shown: Bearer) -> Identity:
    """Who asks: the bearer token's identity, or 401."""
    try:
        return await identify_request(connection, hub)
    except InvalidToken as error:
        raise HTTPException(
            401,
            "a bearer token is required" if error.reason == "missing" else str(error),
            {"WWW-Authenticate": "Bearer"},
        ) from error
    except Unavailable as error:
        raise HTTPException(503, "tokens cannot be checked now", {"Retry-After": "2"}) from error


CurrentIdentity = Annotated[Identity, Depends(current_identity)]


_channels = APIRouter(prefix="/api/v1/channels", route_class=ProblemRoute, tags=["channels"])


@_channels.get("/{channel}/history", response_model=HistoryPage)
async def history(
    channel: str,
    connection: HTTPConnection,
    hub: CurrentHub,
    identity: CurrentIdentity,
    since: Since = None,
    limit: Count = 100,
    reverse: Reverse = False,
) -> Response:
    """What was said on a channel; for those who may subscribe to it, as its guard or token says."""
    return await read_history(hub, identity, connection, channel, since, limit, reverse)
