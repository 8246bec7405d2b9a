"""Noticing silence: a heap that wakes at the next deadline, a sweep as the safety net.

While we do not hear (see `hearing`) nothing is due; every deadline is set anew when we do again.

The heap notices within a second; the sweep finds what a bug or a lost timer would leave. Both ask
the same table, inside a transaction, so what is true there decides.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping

from cardume.alerts.store import pending_clears
from cardume.apps.aquarium.alarms import CLEAR_HOLD
from cardume.apps.aquarium.catalogue import Catalogue
from cardume.apps.aquarium.hearing import Hearing
from cardume.apps.aquarium.ingest import Ingest
from cardume.devices.liveness import Tick
from cardume.errors import Refused, Unavailable
from cardume.hub.hub import Hub
from cardume.storage.database import Storage

BATCH = 500
"""Devices declared offline in one transaction."""

PER_TURN = 1000
"""Deadlines set before the loop has a turn: 100,000 of them take a second."""

logger = logging.getLogger("cardume.aquarium")


def _always() -> bool:
    return True


class Watch:
    """Deadlines of devices and of alerts that clear by themselves."""

    def __init__(
        self, hub: Hub, storage: Storage, catalogue: Catalogue, ingest: Ingest, hearing: Hearing
    ) -> None:
        self.caught_up: Callable[[], bool] = _always
        """False while what devices sent waits for the database: then silence proves nothing."""
        self.hearing = hearing
        self._tasks = hub.tasks
        self._clock = hub.clock
        self._storage = storage
        self._catalogue = catalogue
        self._ingest = ingest
        self._deadlines = hub.leases(self._devices_due, "device silence")
        self._clears = hub.leases(self._clears_due, "alert clearing")

    @property
    def link_up_since(self) -> float | None:
        """Wall time since which we hear devices; None: we are blind, and nobody is offline."""
        return self.hearing.up_since

    async def start(self, *, linked: bool = False) -> None:
        """Begin. Deadlines count from when we hear (row 23): from now, or when a link is `linked`.

        Raises:
            Unavailable: the database does not answer.
        """
        self._catalogue.devices.follow_clock()
        self.hearing.on_up = self._hear_again
        self.hearing.begin(linked=linked)
        if not linked:
            await self._arm_deadlines()
            await self._arm_clears()

    def stop(self) -> None:
        """We are blind from now on."""
        self.hearing.end()
        self._deadlines.stop()
        self._clears.stop()

    def heard(self, device_ids: Iterable[str]) -> None:
        """Set the deadlines of devices that have just changed."""
        for device_id in device_ids:
            due = self.deadline(device_id)
            if due is None:
                self._deadlines.drop(device_id)
            else:
                self._deadlines.touch_in(device_id, due - self._clock.now())

    def deadline(self, device_id: str) -> float | None:
        """When the silence of a device will mean something, in wall seconds."""
        device = self._catalogue.devices.get(device_id)
        since = self.link_up_since
        if device is None or since is None:
            return None
        return self._catalogue.devices.deadline(device, since)

    def told(self, device_ids: Iterable[str], pending: Mapping[int, float]) -> None:
        """Take note of what a transaction changed."""
        self.heard(device_ids)
        self.clear_at(pending)

    def clear_at(self, pending: Mapping[int, float]) -> None:
        """Clear these alerts at their times, unless their trouble returns."""
        for alert_id, due in pending.items():
            self._clears.touch_in(alert_id, min(due - self._clock.now(), CLEAR_HOLD))

    async def sweep(self) -> None:
        """Look at every device whose deadline has passed, whatever the heap says."""
        self._catalogue.devices.follow_clock()
        now = self._clock.now()
        late = [
            device.device_id
            for device in self._catalogue.devices.all()
            if (due := self.deadline(device.device_id)) is not None and due <= now
        ]
        if late:
            logger.debug("the sweep found %d devices past their deadline", len(late))
            await self._devices_due(late)
        if self.hearing.is_up:
            await self._arm_clears()
        await self._catalogue.devices.discover()
        await self._ingest.forget_abandoned()

    def _hear_again(self) -> None:
        self._tasks.spawn(self._arm_all(), "deadlines after a link")

    async def _arm_all(self) -> None:
        self._catalogue.devices.follow_clock()
        await self._arm_deadlines()
        await self._arm_clears()

    async def _arm_deadlines(self) -> None:
        for number, device in enumerate(self._catalogue.devices.all(), 1):
            self.heard((device.device_id,))
            if number % PER_TURN == 0:
                await asyncio.sleep(0)

    async def _arm_clears(self) -> None:
        async with self._storage.read() as connection:
            self.clear_at(dict(await pending_clears(connection)))

    async def _devices_due(self, device_ids: list[str]) -> None:
        if not self.hearing.is_up:
            return
        if not self.caught_up():
            raise Unavailable("messages of devices wait to be kept")
        self._catalogue.devices.follow_clock()
        for start in range(0, len(device_ids), BATCH):
            await self._tick(device_ids[start : start + BATCH])

    async def _tick(self, device_ids: list[str]) -> None:
        async with self._storage.write() as tx:
            changes = self._ingest.changes(tx)
            # Inside the transaction: a message that came meanwhile has moved the deadline, and a
            # link that was lost meanwhile has made all of them void.
            tick = Tick(self.link_up_since if self.hearing.is_up else None)
            for device_id in device_ids:
                changes.lives.hear(device_id, tick, self._clock.now())
            await changes.store()
            tx.on_commit(lambda: self.told(device_ids, changes.alarms.pending))

    async def _clears_due(self, alert_ids: list[int]) -> None:
        if not self.hearing.is_up:
            return  # a device that was back before we went blind may be gone again
        async with self._storage.write() as tx:
            changes = self._ingest.changes(tx)
            for alert_id in alert_ids:
                try:
                    await changes.alarms.clear_due(alert_id)
                except Refused:
                    continue  # its aquarium was deleted
            tx.on_commit(lambda: self.clear_at(changes.alarms.pending))
