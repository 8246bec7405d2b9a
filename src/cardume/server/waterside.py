"""The aquarium app and its way in: MQTT by the listener or by a link, and the intake between."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from starlette.routing import WebSocketRoute
from starlette.types import Receive, Scope, Send

from cardume.apps.aquarium import Aquarium, AquariumOptions, router
from cardume.apps.aquarium.gatekeeper import DeviceGatekeeper
from cardume.mqtt.doors.websocket import serve as serve_mqtt
from cardume.mqtt.intake import Intake
from cardume.mqtt.listener import Listener, ListenerStats
from cardume.server import link, tls
from cardume.server.demo import Demo
from cardume.settings import Settings, secret
from cardume.storage.database import Storage
from cardume.transports.door import refuse_before_accept
from cardume.transports.fastapi import Hub

if TYPE_CHECKING:  # it needs paho, which is an extra
    from cardume.mqtt.link.link import Link, LinkStats

ALERTS = "system"
"""The room that hears of raised alerts."""

COMMITS_APART = 0.004
"""Seconds between two commits of readings at least. At 1,000 readings a second, a commit for nearly
each of them takes 0.8 of a core; this takes half of that, and adds 2 ms to the median."""

MQTT_PATH = "/mqtt"

MQTT_GRACE = 5.0
"""Seconds that what devices have sent already may take to be kept and acknowledged."""


class Waterside:
    """Devices on one side, the aquarium app on the other."""

    def __init__(self, settings: Settings, hub: Hub, storage: Storage, demo: Demo | None) -> None:
        options = AquariumOptions(
            prefix=settings.mqtt_prefix,
            offline_after=settings.offline_after,
            offline_sweep_every=settings.offline_sweep_every,
            lwt_hold=settings.lwt_hold,
            readings_keep=settings.readings_keep,
            linked=settings.mqtt_url is not None,
            alerts_room=ALERTS,
        )
        self._settings, self._storage = settings, storage
        aquarium = self._aquarium = Aquarium(hub, storage, options)
        key = secret(settings.api_key)
        gatekeeper = DeviceGatekeeper(aquarium.devices, settings.mqtt_prefix, key)
        intake = self._intake = Intake(aquarium.ingest, hub.clock, gather=COMMITS_APART)
        self._host = settings.mqtt_host or settings.host
        listener = self._listener = Listener(
            self._host,
            settings.mqtt_port,
            gatekeeper,
            intake,
            hub.clock,
            tls=tls.mqtt(settings),
        )
        aquarium.connected = lambda device: listener.connected(device.device_id)
        aquarium.evict = listener.forget
        aquarium.commands.deliver_by(listener.downlink)
        aquarium.watch.caught_up = lambda: intake.healthy
        self._link = self._linked(hub)
        self._demo = demo
        self.router = APIRouter(lifespan=self._listening)
        """The listener, and its address for those who come by WebSocket."""
        if self._link is None:
            socket = WebSocketRoute(MQTT_PATH, _Socket(hub, listener), name="mqtt")
            self.router.routes.append(socket)

    @property
    def port(self) -> int:
        """Where devices connect."""
        return self._listener.port

    @property
    def tls_port(self) -> int | None:
        """Where they connect by TLS; None where they do not."""
        return self._listener.tls_port

    @property
    def broker(self) -> str | None:
        """The address of the broker that devices speak to; None: they speak to the listener."""
        return None if self._link is None else str(self._link.address)

    def problems(self) -> list[str]:
        wrong = [] if self._intake.healthy else ["readings wait for the database"]
        if self._link is not None and not self._link.stats().up:
            wrong.append(f"no link to the MQTT broker at {self._link.address}: {self._link.why}")
        return wrong

    def hearing(self) -> str:
        """Whether we hear devices: up, resync or down."""
        return self._aquarium.hearing.state

    def link(self) -> LinkStats | None:
        """The link's numbers; None where there is none."""
        return None if self._link is None else self._link.stats()

    def mqtt(self) -> ListenerStats:
        """The listener's numbers."""
        return self._listener.stats()

    def rejected(self) -> Mapping[str, int]:
        """Messages of devices that were not taken, by reason."""
        return self._aquarium.ingest.rejects.counts

    def routers(self) -> list[APIRouter]:
        """The app's addresses, then the listener: it is the last to start and the first to stop."""
        return [router(self._aquarium), self.router]

    async def stop(self) -> None:
        """Hear no more, once what devices sent already is kept."""
        if self._link is not None:
            await self._link.stop(MQTT_GRACE)
        await self._listener.stop(MQTT_GRACE)

    @asynccontextmanager
    async def _listening(self, _app: Any) -> AsyncIterator[None]:
        if self._demo is not None:
            await self._demo.prepare(self._aquarium)
        if self._link is not None:
            await self._link.start(await link.client_id(self._settings, self._storage))
        else:
            await self._listener.start()
        if self._demo is not None:
            self._demo.start(self._host, self._listener.port)
        try:
            yield
        finally:
            if self._demo is not None:
                await self._demo.stop()
            await self.stop()
            await self._intake.drain(MQTT_GRACE)

    def _linked(self, hub: Hub) -> Link | None:
        """With a link the listener stays closed, and the broker knows who is connected."""
        made = link.make(self._settings, self._intake, hub.clock)
        if made is not None:
            aquarium, intake = self._aquarium, self._intake
            made.up, made.down = self._link_up, self._link_down
            aquarium.commands.deliver_by(made)
            aquarium.watch.caught_up = lambda: intake.healthy and made.hears()
            aquarium.connected = lambda device: device.state.connected
        return made

    def _link_up(self) -> None:
        self._aquarium.hearing.heard()
        self._aquarium.commands.reachable()

    def _link_down(self) -> None:
        self._aquarium.hearing.lost()
        self._aquarium.commands.unreachable()


class _Socket:
    """An ASGI app and not a function, or Starlette would wrap it in a WebSocket of its own."""

    __name__ = "mqtt"

    def __init__(self, hub: Hub, listener: Listener) -> None:
        self._hub = hub
        self._listener = listener

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not await refuse_before_accept(self._hub, scope, receive, send):
            await serve_mqtt(self._listener, scope, receive, send)
