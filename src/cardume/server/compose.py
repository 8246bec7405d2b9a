"""The only place where concrete parts meet."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

import cardume
from cardume.apps import agents, cards, executions
from cardume.auth.policy import check_origins
from cardume.clock import SystemClock
from cardume.engines import engine_from_url
from cardume.errors import ConfigurationError
from cardume.hub.namespaces import ChannelOptions
from cardume.hub.options import HubOptions
from cardume.server import accounts, http, link, places, process, tls
from cardume.server.demo import Demo
from cardume.server.metrics import Meters, Metrics
from cardume.server.samples import sample_cards
from cardume.server.tokens import signer, verifier
from cardume.server.visitor import visitor
from cardume.server.waterside import Waterside
from cardume.settings import Settings, secret
from cardume.storage.owned import OwnedStorage
from cardume.transports.centrifuge import Centrifuge
from cardume.transports.fastapi import Hub
from cardume.transports.problems import problem_for
from cardume.transports.rooms import Rooms
from cardume.transports.server_api import ServerApi

APPS = ("aquarium", "agents", "cards", "executions")


class Composition:
    """Everything that `cardume serve` runs, and the application in front of it."""

    def __init__(self, settings: Settings, demo: Demo | None = None) -> None:
        check(settings)
        self.settings = settings
        self.clock = SystemClock()
        self.certificates = tls.https(settings)
        """What the HTTP port shows; None: it speaks no TLS."""
        self._verifier = verifier(settings, self.clock)
        self.meters = Meters(self.clock)
        self.engine = self.meters.engine(engine_from_url(settings.engine_url, self.clock))
        self.hub = Hub(
            auth=self._verifier,
            engine=self.engine,
            clock=self.clock,
            options=_hub_options(settings, demo),
        )
        self.storage = OwnedStorage(
            settings.database_url,
            self.hub.publish,
            self.clock,
            lose=self.hub.lose,
            lease=settings.owner_lease,
        )
        # As whoever runs us would stop us: staged, and nothing is written on the way.
        self.storage.on_lost = partial(signal.raise_signal, signal.SIGTERM)
        self.accounts = accounts.Accounts(self.storage, signer(settings, self.clock))
        self.demo = demo
        self.centrifuge = Centrifuge(self.hub)
        self.server_api = ServerApi(self.hub, api_key=secret(settings.api_key))
        self.rooms = Rooms(self.hub, events=settings.events, api_key=secret(settings.api_key))
        self.rooms.watch_health(self.problems)
        self.waterside: Waterside | None = None
        if "aquarium" in settings.apps:
            self.waterside = Waterside(settings, self.hub, self.storage, demo)
        self.app = self._application()

    def problems(self) -> list[str]:
        """What keeps us from our work now."""
        wrong = []
        if self.hub.draining:
            wrong.append("draining")
        if self.storage.lost is not None:
            wrong.append(self.storage.lost)
        if not self.storage.healthy:
            wrong.append("the database did not keep the last transaction")
        if self.waterside is not None:
            wrong += self.waterside.problems()
        return wrong

    async def drain(self) -> None:
        """Finish what devices sent, then send everyone away with 3001."""
        self.hub.draining = True
        if self.waterside is not None:
            await self.waterside.stop()
        await self.hub.drain(window=self.settings.drain_window)

    def _application(self) -> FastAPI:
        app = FastAPI(
            title="Cardume",
            version=cardume.__version__,
            summary="The real-time layer for FastAPI.",
            lifespan=self._storage_open,
            docs_url=None,  # as `http.add_docs` has it
            redoc_url=None,
        )
        app.include_router(self.hub.router)
        app.include_router(accounts.router(self.accounts))
        app.include_router(self.server_api.router)
        app.include_router(http.router(self, self.settings.apps))
        app.include_router(self._metrics().router)
        app.include_router(self.rooms.router)
        app.include_router(self.centrifuge.router)
        for router in self._apps():
            app.include_router(router)
        http.add_docs(app)
        http.mount_page(app)
        app.add_exception_handler(HTTPException, _as_problem)
        app.add_exception_handler(RequestValidationError, _as_problem)
        app.add_exception_handler(ClientDisconnect, _to_nobody)
        app.add_middleware(http.SecurityHeaders)
        if self.settings.allowed_origins:
            app.add_middleware(
                CORSMiddleware,
                allow_origins=self.settings.allowed_origins,
                allow_methods=["*"],
                allow_headers=["Authorization", "Content-Type"],
            )
        return app

    def _metrics(self) -> Metrics:
        return Metrics(
            self.hub,
            self.engine,
            self.meters,
            problems=self.problems,
            storage_healthy=lambda: self.storage.healthy,
            waterside=self.waterside,
            api_key=secret(self.settings.api_key),
        )

    def _apps(self) -> Iterator[APIRouter]:
        """The addresses of the apps that are switched on."""
        settings, hub, storage = self.settings, self.hub, self.storage
        if "agents" in settings.apps:
            crew = agents.Agents(hub, storage, agents.AgentsOptions(settings.agent_lease))
            yield agents.router(crew)
        if "cards" in settings.apps:
            board = cards.Cards(hub, storage)
            yield cards.router(board)
            if self.demo is not None:
                yield APIRouter(lifespan=sample_cards(board))
        if "executions" in settings.apps:
            options = executions.ExecutionsOptions(keep_bytes=settings.execution_log_bytes)
            yield executions.router(executions.Executions(hub, storage, options))
        if self.waterside is not None:
            yield from self.waterside.routers()

    @asynccontextmanager
    async def _storage_open(self, _app: Any) -> AsyncIterator[None]:
        try:
            async with self.storage:
                yield
        finally:
            await self._verifier.aclose()


def check(settings: Settings) -> None:
    """Whether we can do what is asked for.

    Raises:
        ConfigurationError: not that.
    """
    unknown = [name for name in settings.apps if name not in APPS]
    if unknown:
        raise ConfigurationError(f"no app {unknown[0]!r}; there is: {', '.join(APPS)}")
    if not settings.host:
        # To a socket an empty name is every address, and nobody means that by it.
        raise ConfigurationError("CARDUME_HOST is empty; 127.0.0.1 is here, 0.0.0.0 is everywhere")
    link.check(settings)
    places.check(settings)


def _hub_options(settings: Settings, demo: Demo | None) -> HubOptions:
    return HubOptions(
        messages_per_minute=settings.messages_per_minute,
        idle_timeout=settings.idle_timeout,
        max_connections=settings.max_connections or process.max_connections(),
        connections_per_user=settings.connections_per_user,
        connections_per_address=settings.connections_per_address,
        allowed_origins=check_origins(settings.allowed_origins),
        undeclared=ChannelOptions(history=100, history_ttl=600.0),
        anonymous=None if demo is None else visitor,
    )


async def _as_problem(_request: Request, error: Exception) -> Response:
    return problem_for(error)


async def _to_nobody(_request: Request, _error: Exception) -> Response:
    """Somebody hung up within a request: no fault of ours, and no reason for a traceback."""
    return Response(status_code=400)
