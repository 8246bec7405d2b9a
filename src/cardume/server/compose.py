"""The only place where concrete parts meet."""

from __future__ import annotations

import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

import cardume
from cardume.apps.aquarium import Aquarium, AquariumOptions
from cardume.apps.aquarium import http as aquarium_http
from cardume.apps.aquarium.gatekeeper import DeviceGatekeeper
from cardume.auth.policy import check_origins
from cardume.clock import SystemClock
from cardume.errors import ConfigurationError
from cardume.hub.namespaces import ChannelOptions
from cardume.hub.options import HubOptions
from cardume.mqtt.intake import Intake
from cardume.mqtt.listener import Listener
from cardume.server import accounts, api, http
from cardume.server.demo import Demo
from cardume.server.tokens import signer, verifier
from cardume.settings import Settings, secret
from cardume.storage.database import Storage
from cardume.transports.fastapi import Hub
from cardume.transports.problems import problem_for

APPS = ("aquarium",)

COMMITS_APART = 0.004
"""Seconds between two commits of readings at least. At 1,000 readings a second, a commit for nearly
each of them takes 0.8 of a core; this takes half of that, and adds 2 ms to the median."""

MQTT_GRACE = 5.0
"""Seconds that what devices have sent already may take to be kept and acknowledged."""


class Composition:
    """Everything that `cardume serve` runs, and the application in front of it."""

    def __init__(self, settings: Settings, demo: Demo | None = None) -> None:
        check(settings)
        self.settings = settings
        self.clock = SystemClock()
        self._verifier = verifier(settings, self.clock)
        self.hub = Hub(
            auth=self._verifier,
            engine=settings.engine_url,
            clock=self.clock,
            options=_hub_options(settings, demo),
        )
        self.storage = Storage(settings.database_url, self.hub.publish)
        self.accounts = accounts.Accounts(self.storage, signer(settings, self.clock))
        self.aquarium: Aquarium | None = None
        self.intake: Intake | None = None
        self.listener: Listener | None = None
        if "aquarium" in settings.apps:
            self._add_aquarium()
        self.demo = demo
        self.app = self._application()

    def problems(self) -> list[str]:
        """What keeps us from our work now."""
        wrong = []
        if self.hub.draining:
            wrong.append("draining")
        if not self.storage.healthy:
            wrong.append("the database did not keep the last transaction")
        if self.intake is not None and not self.intake.healthy:
            wrong.append("readings wait for the database")
        return wrong

    async def drain(self) -> None:
        """Finish what devices sent, then send everyone away with 3001."""
        self.hub.draining = True
        if self.listener is not None:
            await self.listener.stop(MQTT_GRACE)
        await self.hub.drain(window=self.settings.drain_window)

    def _add_aquarium(self) -> None:
        settings = self.settings
        options = AquariumOptions(
            prefix=settings.mqtt_prefix,
            offline_after=settings.offline_after,
            offline_sweep_every=settings.offline_sweep_every,
            lwt_hold=settings.lwt_hold,
        )
        aquarium = self.aquarium = Aquarium(self.hub, self.storage, options)
        key = secret(settings.api_key)
        gatekeeper = DeviceGatekeeper(aquarium.devices, settings.mqtt_prefix, key)
        intake = self.intake = Intake(aquarium.ingest, self.clock, gather=COMMITS_APART)
        host = settings.mqtt_host or settings.host
        listener = self.listener = Listener(
            host, settings.mqtt_port, gatekeeper, intake, self.clock
        )
        aquarium.connected = lambda device: listener.connected(device.device_id)
        aquarium.evict = listener.disconnect
        aquarium.watch.caught_up = lambda: intake.healthy

    def _application(self) -> FastAPI:
        app = FastAPI(
            title="Cardume",
            version=cardume.__version__,
            summary="The real-time layer for FastAPI.",
            lifespan=self._storage_open,
        )
        app.include_router(self.hub.router)
        app.include_router(accounts.router(self.accounts))
        app.include_router(api.router(secret(self.settings.api_key)))
        app.include_router(http.router(self))
        if self.aquarium is not None:
            app.include_router(aquarium_http.router(self.aquarium))
            app.include_router(APIRouter(lifespan=self._listening))
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

    @asynccontextmanager
    async def _storage_open(self, _app: Any) -> AsyncIterator[None]:
        try:
            async with self.storage:
                yield
        finally:
            await self._verifier.aclose()

    @asynccontextmanager
    async def _listening(self, _app: Any) -> AsyncIterator[None]:
        """Innermost: devices are heard when everything else is ready, and stop first."""
        assert self.listener is not None
        assert self.intake is not None
        if self.demo is not None:
            assert self.aquarium is not None
            await self.demo.prepare(self.aquarium)
        await self.listener.start()
        if self.demo is not None:
            self.demo.start(self.settings.mqtt_host or self.settings.host, self.listener.port)
        try:
            yield
        finally:
            if self.demo is not None:
                await self.demo.stop()
            await self.listener.stop(MQTT_GRACE)
            await self.intake.drain(MQTT_GRACE)


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
    if settings.mqtt_url is not None:
        raise ConfigurationError(
            "CARDUME_MQTT_URL: a link to another broker is not built yet; unset it and let "
            "devices connect to the listener on CARDUME_MQTT_PORT"
        )


def _hub_options(settings: Settings, demo: Demo | None) -> HubOptions:
    return HubOptions(
        messages_per_minute=settings.messages_per_minute,
        max_connections=settings.max_connections or _connections_by_files(),
        allowed_origins=check_origins(settings.allowed_origins),
        undeclared=ChannelOptions(history=100, history_ttl=600.0),
        anonymous=None if demo is None else demo.visitor,
    )


def _connections_by_files() -> int:
    """Nine tenths of the open files we may have, after asking for as many as there are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError):  # macOS has a lower bound of its own
            return int(0.9 * soft)
    return int(0.9 * hard)


async def _as_problem(_request: Request, error: Exception) -> Response:
    return problem_for(error)


async def _to_nobody(_request: Request, _error: Exception) -> Response:
    """Somebody hung up within a request: no fault of ours, and no reason for a traceback."""
    return Response(status_code=400)
