"""The aquarium app and its way in: the MQTT listener, and the intake between the two."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter

from cardume.apps.aquarium import Aquarium, AquariumOptions, router
from cardume.apps.aquarium.gatekeeper import DeviceGatekeeper
from cardume.mqtt.intake import Intake
from cardume.mqtt.listener import Listener, ListenerStats
from cardume.server.demo import Demo
from cardume.settings import Settings, secret
from cardume.storage.database import Storage
from cardume.transports.fastapi import Hub

ALERTS = "system"
"""The room that hears of raised alerts."""

COMMITS_APART = 0.004
"""Seconds between two commits of readings at least. At 1,000 readings a second, a commit for nearly
each of them takes 0.8 of a core; this takes half of that, and adds 2 ms to the median."""

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
            alerts_room=ALERTS,
        )
        aquarium = self._aquarium = Aquarium(hub, storage, options)
        key = secret(settings.api_key)
        gatekeeper = DeviceGatekeeper(aquarium.devices, settings.mqtt_prefix, key)
        intake = self._intake = Intake(aquarium.ingest, hub.clock, gather=COMMITS_APART)
        self._host = settings.mqtt_host or settings.host
        listener = self._listener = Listener(
            self._host, settings.mqtt_port, gatekeeper, intake, hub.clock
        )
        aquarium.connected = lambda device: listener.connected(device.device_id)
        aquarium.evict = listener.disconnect
        aquarium.watch.caught_up = lambda: intake.healthy
        self._demo = demo

    @property
    def port(self) -> int:
        """Where devices connect."""
        return self._listener.port

    def problems(self) -> list[str]:
        return [] if self._intake.healthy else ["readings wait for the database"]

    def mqtt(self) -> ListenerStats:
        """The listener's numbers."""
        return self._listener.stats()

    def rejected(self) -> Mapping[str, int]:
        """Messages of devices that were not taken, by reason."""
        return self._aquarium.ingest.rejects.counts

    def routers(self) -> list[APIRouter]:
        """The app's addresses, then the listener: it is the last to start and the first to stop."""
        return [router(self._aquarium), APIRouter(lifespan=self._listening)]

    async def stop(self) -> None:
        """Hear no more, once what devices sent already is kept."""
        await self._listener.stop(MQTT_GRACE)

    @asynccontextmanager
    async def _listening(self, _app: Any) -> AsyncIterator[None]:
        if self._demo is not None:
            await self._demo.prepare(self._aquarium)
        await self._listener.start()
        if self._demo is not None:
            self._demo.start(self._host, self._listener.port)
        try:
            yield
        finally:
            if self._demo is not None:
                await self._demo.stop()
            await self._listener.stop(MQTT_GRACE)
            await self._intake.drain(MQTT_GRACE)
