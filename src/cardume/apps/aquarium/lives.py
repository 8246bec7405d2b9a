"""The lives of devices within one transaction: stepped, stored by compare-and-set, announced."""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec

from cardume.apps.aquarium.alarms import Alarms
from cardume.apps.aquarium.views import channel_of, device_status_event
from cardume.devices.liveness import DeviceState, DeviceStatus, Event, Step, step
from cardume.devices.registry import Device, Registry
from cardume.devices.store import store_signs_of_life, store_transition, stored
from cardume.storage.database import Write

STORE_SEEN_EVERY = 30.0
"""Seconds between two writes of `last_seen_at` alone, or a tenth of the threshold if less."""


class Lives:
    """Copies of the devices that were heard; they go to the registry on the commit."""

    def __init__(self, tx: Write, registry: Registry, alarms: Alarms, now: float) -> None:
        self._tx = tx
        self._registry = registry
        self._alarms = alarms
        self._now = now
        self._devices: dict[str, Device] = {}
        self._transitions: list[tuple[Device, DeviceState, Step]] = []
        self._reported: set[str] = set()

    def device(self, device_id: str) -> Device | None:
        """A device as this transaction sees it."""
        return self._devices.get(device_id) or self._registry.get(device_id)

    def hear(self, device_id: str, event: Event, at: float) -> str | None:
        """Step a device; a word to count by, if the event was remarkable."""
        device = self.device(device_id)
        if device is None:
            return None
        result = step(device.state, event, at, self._registry.policy(device))
        if result.state is not device.state:
            self._devices[device_id] = msgspec.structs.replace(device, state=result.state)
        if result.transition is not None:
            self._transitions.append((device, device.state, result))
        return result.note

    def report(self, device_id: str, report: dict[str, Any]) -> None:
        """Keep what a device says of itself."""
        device = self.device(device_id)
        if device is not None and device.report != report:
            self._devices[device_id] = msgspec.structs.replace(device, report=report)
            self._reported.add(device_id)

    def came_online(self) -> set[str]:
        """Devices that were not online before this transaction."""
        return {
            device.device_id
            for device, _, result in self._transitions
            if result.state.status is DeviceStatus.ONLINE
        }

    async def store(self) -> None:
        """Write what changed, and what of it has been unwritten for long enough."""
        for device, before, result in self._transitions:
            transition = result.transition
            assert transition is not None
            if not await store_transition(self._tx, device, before, result.state, transition):
                await self._believe_database(device.device_id)
                continue
            event = device_status_event(device, result.state, transition)
            channel = channel_of(device.aquarium_id)
            self._tx.emit(channel, "device_status", event, key=f"status/{device.device_id}")
            await self._alarms.device(device, transition)
        moved = {device.device_id for device, _, _ in self._transitions}
        due = [d for d in self._devices.values() if d.device_id in moved or self._worth_storing(d)]
        await store_signs_of_life(self._tx, due)
        for device in due:
            written = msgspec.structs.replace(device, stored_seen=device.state.last_seen_at)
            self._devices[device.device_id] = written
        self._tx.on_commit(self._take_effect)

    async def _believe_database(self, device_id: str) -> None:
        """The row moved under us, so what we made of the old one is wrong."""
        self._devices.pop(device_id, None)
        device = await stored(self._tx, device_id, self._now)
        if device is None:
            self._tx.on_commit(partial(self._registry.remove, device_id))
        else:
            self._tx.on_commit(partial(self._registry.put, device))

    def _worth_storing(self, device: Device) -> bool:
        known = self._registry.get(device.device_id)
        if known is None or device.device_id in self._reported:
            return True
        seen = device.state.last_seen_at
        if device.state != msgspec.structs.replace(known.state, last_seen_at=seen):
            return True
        if seen is None or device.stored_seen is None:
            return seen is not device.stored_seen
        threshold = self._registry.policy(device).threshold
        # Either way: our clock may have been put back since.
        return abs(seen - device.stored_seen) >= min(STORE_SEEN_EVERY, threshold / 10)

    def _take_effect(self) -> None:
        for device in self._devices.values():
            self._registry.put(device)
