"""The aquarium app: what it declares on a hub, and what it is made of."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from sqlalchemy.ext.asyncio import AsyncConnection

from cardume.apps.aquarium.catalogue import Catalogue
from cardume.apps.aquarium.commands import Commands
from cardume.apps.aquarium.decisions import AckAction, Decisions, ShelveAction
from cardume.apps.aquarium.hearing import Hearing
from cardume.apps.aquarium.ingest import Ingest
from cardume.apps.aquarium.overview import Overview, read_overview
from cardume.apps.aquarium.retention import FIRST, Retention
from cardume.apps.aquarium.statuses import (
    FLAPPING_WITHIN,
    DeviceStatusView,
    device_overview,
    status_view,
)
from cardume.apps.aquarium.views import AlertView, DeviceView, device_view
from cardume.apps.aquarium.watch import Watch
from cardume.auth.identity import Identity
from cardume.devices.registry import Device, Registry
from cardume.devices.store import transitions_since
from cardume.hub.outbox import SlowPolicy
from cardume.storage.database import Storage
from cardume.transports.apps import current
from cardume.transports.fastapi import Hub


@dataclass(frozen=True, slots=True)
class AquariumOptions:
    """Durations in seconds."""

    prefix: str = "aquabook"
    offline_after: float = 300.0
    offline_sweep_every: float = 120.0
    lwt_hold: float = 15.0
    linked: bool = False
    """Devices speak to a broker: `Aquarium.hearing` is told when we hear it, and a will there looks
    like a word of the device. Otherwise we hear for as long as we run."""
    readings_keep: float = 90.0
    """Days for which readings are kept one by one; then by the hour, for good. 0: for ever."""
    alerts_room: str | None = None
    """A channel on which raised alerts are told as `alert_triggered` as well."""


def _connected_by_hint(device: Device) -> bool:
    return device.state.connected


def _nobody_to_evict(_device_id: str) -> None:
    """Where no listener is."""


class Aquarium:
    """Aquariums, devices, readings and alerts on one hub and one database.

    `cardume.apps.aquarium.http.router` gives it addresses and starts it with your application.
    Devices speak to `ingest`, which is handed to whatever brings MQTT messages in.
    """

    def __init__(self, hub: Hub, storage: Storage, options: AquariumOptions | None = None) -> None:
        self.hub = hub
        self.storage = storage
        self.options = options or AquariumOptions()
        self.devices = Registry(
            storage,
            hub.clock,
            offline_after=self.options.offline_after,
            lwt_hold=self.options.lwt_hold,
        )
        self.catalogue = Catalogue(storage, self.devices)
        self.commands = Commands(
            hub, storage, self.catalogue, self.options.prefix, lambda device: self.connected(device)
        )
        self.ingest = Ingest(
            storage,
            self.catalogue,
            hub.clock,
            self.options.prefix,
            self._told,
            self.commands,
            self.options.alerts_room,
            linked=self.options.linked,
        )
        self.hearing = Hearing(hub, storage, self.catalogue, self.ingest)
        self.watch = Watch(hub, storage, self.catalogue, self.ingest, self.hearing)
        self.decisions = Decisions(storage, self.catalogue, self.ingest)
        self.retention = Retention(storage, hub.clock, self.options.readings_keep)
        self.connected: Callable[[Device], bool] = _connected_by_hint
        """Whether a device has a connection now; the listener knows better than hints."""
        self.evict: Callable[[str], object] = _nobody_to_evict
        """Ends the connections of a device that may not speak any more."""
        self._declare()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Started: caches read, deadlines armed."""
        async with self.storage, self.hub:
            await self.catalogue.load()
            await self.watch.start(linked=self.options.linked)
            sweeping = self.hub.tasks.every(
                self.options.offline_sweep_every, self.watch.sweep, "offline sweep"
            )
            retiring = self.hub.tasks.every(FIRST, self.retention.tend, "retention of readings")
            await self.commands.start()
            try:
                yield
            finally:
                await self.hub.tasks.cancel(sweeping, retiring)
                await self.commands.stop()
                self.watch.stop()

    def status(self, device: Device) -> str:
        """A device's status; `unknown` while we hear nobody."""
        return device.state.status if self.hearing.is_up else "unknown"

    def forget_device(self, device_id: str) -> None:
        """A device was deleted: nothing of it is watched, sent or let in any more."""
        self.devices.remove(device_id)
        self.commands.forget(device_id)
        self.watch.heard([device_id])
        self.evict(device_id)

    def device_view(self, device: Device) -> DeviceView:
        return device_view(device, self.status(device))

    async def overview(self, aquarium_id: int) -> Overview:
        """What a fresh subscriber of the aquarium is told.

        Raises:
            Refused: 404.
        """
        devices = self.devices.of(aquarium_id)
        async with self.storage.read() as connection:
            statuses = await self.statuses(connection, devices)
            views = [device_overview(*known) for known in zip(devices, statuses, strict=True)]
            return await read_overview(connection, aquarium_id, views, self.hearing.view())

    async def statuses(
        self, connection: AsyncConnection, devices: Sequence[Device]
    ) -> list[DeviceStatusView]:
        """What is known of the life of `devices`, in their order."""
        since = self.hub.clock.now() - FLAPPING_WITHIN
        transitions = await transitions_since(connection, devices, since)
        return [
            status_view(
                device,
                self.devices,
                link_up_since=self.watch.link_up_since,
                known=self.hearing.is_up,
                connected=self.connected(device),
                transitions=transitions.get(device.device_id, 0),
            )
            for device in devices
        ]

    def _told(self, device_ids: Iterable[str], pending: Mapping[int, float]) -> None:
        self.watch.told(device_ids, pending)

    def _declare(self) -> None:
        @self.hub.channel(
            "aquarium:{aquarium_id}",
            path="/ws/aquarium/{aquarium_id}",
            history=1000,
            history_ttl=600.0,
            on_slow=SlowPolicy.CONFLATE,
            snapshot=self.overview,
        )
        async def aquarium(aquarium_id: int, identity: Identity) -> None:
            self.catalogue.check_member(identity, aquarium_id)

        @self.hub.action("ack_alert")
        async def ack_alert(identity: Identity, body: AckAction) -> AlertView:
            return await self.decisions.acknowledge(identity, body.alert_id, body)

        @self.hub.action("shelve_alert")
        async def shelve_alert(identity: Identity, body: ShelveAction) -> AlertView:
            return await self.decisions.shelve(identity, body.alert_id, body)


CurrentAquarium = Annotated[Aquarium, Depends(current(Aquarium))]
