"""One transaction of the aquarium app: what was heard becomes rows, alerts and events together.

It works on copies of what the catalogue holds; they take effect there on the commit. Everything
that changes devices, sensors or rule states runs inside `Storage.write`, one at a time.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Iterable
from functools import partial
from operator import itemgetter
from typing import Any

import msgspec
from sqlalchemy import bindparam, delete, insert, select, update

from cardume.alerts.rules import RuleState, evaluate
from cardume.apps.aquarium.alarms import Alarms
from cardume.apps.aquarium.catalogue import Catalogue, Sensor
from cardume.apps.aquarium.views import device_status_event, reading_event
from cardume.devices.liveness import DeviceState, Event, Step, step
from cardume.devices.registry import Device
from cardume.devices.store import store_signs_of_life, store_transition, stored
from cardume.storage.database import Write
from cardume.storage.statements import insert_new
from cardume.storage.tables import readings, rule_states, sensors

MAX_SENSORS = 256
"""Metrics of one device, or by hand: one that invents names is not followed for ever."""

LATE = 300.0
"""Seconds after which a reading is history: stored, but no reason for an alert."""

STORE_SEEN_EVERY = 30.0
"""Seconds between two writes of `last_seen_at` alone, or a tenth of the threshold if less."""

_LATEST = (
    update(sensors)
    .where(sensors.c.id == bindparam("key"))
    .values(
        value=bindparam("new_value"),
        unit=bindparam("new_unit"),
        measured_at=bindparam("at"),
        reading_id=bindparam("reading"),
        origin=bindparam("from_"),
    )
)

_NEW = insert_new(readings)
_values = itemgetter(*readings.c.keys())

Row = dict[str, Any]


class ReadingIds:
    """Ids that rise with time: the table grows at its end, and nobody has to ask for the next."""

    def __init__(self) -> None:
        self.kept = 0
        """Readings stored since the start, by hand or by device."""
        self._count = itertools.count(secrets.randbelow(1 << 20))

    def next(self, now: float) -> int:
        """43 bits of milliseconds, 20 of a counter."""
        return (int(now * 1000) << 20) | (next(self._count) & 0xFFFFF)

    def count(self, kept: int) -> None:
        self.kept += kept


class Changes:
    """What one transaction is about to change."""

    def __init__(self, tx: Write, catalogue: Catalogue, ids: ReadingIds, now: float) -> None:
        self.alarms = Alarms(tx, now)
        self._tx = tx
        self._catalogue = catalogue
        self._ids = ids
        self._now = now
        self._devices: dict[str, Device] = {}
        self._transitions: list[tuple[Device, DeviceState, Step]] = []
        self._sensors: dict[tuple[int, str], Sensor] = {}
        self._new_sensors: dict[tuple[int, str | None], int] = {}
        self._reported: set[str] = set()
        self._rows: list[Row] = []

    # -- devices ----------------------------------------------------------------------------

    def device(self, device_id: str) -> Device | None:
        """A device as this transaction sees it."""
        return self._devices.get(device_id) or self._catalogue.devices.get(device_id)

    def hear(self, device_id: str, event: Event, at: float) -> str | None:
        """Step a device; a word to count by, if the event was remarkable."""
        device = self.device(device_id)
        if device is None:
            return None
        result = step(device.state, event, at, self._catalogue.devices.policy(device))
        if result.state is not device.state:
            self._devices[device_id] = msgspec.structs.replace(device, state=result.state)
        if result.transition is not None:
            self._transitions.append((device, device.state, result))
        return result.note

    def report(self, device_id: str, report: Row) -> None:
        """Keep what a device says of itself."""
        device = self.device(device_id)
        if device is not None and device.report != report:
            self._devices[device_id] = msgspec.structs.replace(device, report=report)
            self._reported.add(device_id)

    async def _store_devices(self) -> None:
        for device, before, result in self._transitions:
            transition = result.transition
            assert transition is not None
            if not await store_transition(self._tx, device, before, result.state, transition):
                await self._believe_database(device.device_id)
                continue
            event = device_status_event(device, result.state, transition)
            self._emit(device.aquarium_id, "device_status", event, f"status/{device.device_id}")
            await self.alarms.device(device, transition)
        moved = {device.device_id for device, _, _ in self._transitions}
        due = [d for d in self._devices.values() if d.device_id in moved or self._worth_storing(d)]
        await store_signs_of_life(self._tx, due)
        for device in due:
            stored = msgspec.structs.replace(device, stored_seen=device.state.last_seen_at)
            self._devices[device.device_id] = stored

    async def _believe_database(self, device_id: str) -> None:
        """The row moved under us, so what we made of the old one is wrong."""
        self._devices.pop(device_id, None)
        device = await stored(self._tx, device_id, self._now)
        if device is None:
            self._tx.on_commit(partial(self._catalogue.devices.remove, device_id))
        else:
            self._tx.on_commit(partial(self._catalogue.devices.put, device))

    def _worth_storing(self, device: Device) -> bool:
        known = self._catalogue.devices.get(device.device_id)
        if known is None or device.device_id in self._reported:
            return True
        seen = device.state.last_seen_at
        if device.state != msgspec.structs.replace(known.state, last_seen_at=seen):
            return True
        if seen is None or device.stored_seen is None:
            return seen is not device.stored_seen
        threshold = self._catalogue.devices.policy(device).threshold
        # Either way: our clock may have been put back since.
        return abs(seen - device.stored_seen) >= min(STORE_SEEN_EVERY, threshold / 10)

    # -- readings ---------------------------------------------------------------------------

    async def reading(
        self,
        *,
        aquarium_id: int,
        device_id: str | None,
        sensor: str,
        metric: str,
        value: float,
        unit: str | None,
        measured_at: float,
        received_at: float,
        **more: Any,
    ) -> Row | None:
        """Add a reading to the transaction; None if its device has too many sensors."""
        source = f"{device_id or ''}/{metric}/{sensor}"
        found = self._sensor(aquarium_id, source)
        if found is None:
            if not self._room_for_sensor(aquarium_id, device_id):
                return None
            found = await self._new_sensor(aquarium_id, source, device_id, sensor, metric, unit)
        row = {
            "id": self._ids.next(received_at),
            "aquarium_id": aquarium_id,
            "sensor_id": found.id,
            "device_id": device_id,
            "metric": metric,
            "value": value,
            "unit": unit or found.unit,
            "measured_at": measured_at,
            "received_at": received_at,
            "origin": "sensor",
            "entered_by": None,
            "note": None,
            "identity": None,
            "ts_raw": None,
            "source": source,
            **more,
        }
        self._rows.append(row)
        return row

    def _sensor(self, aquarium_id: int, source: str) -> Sensor | None:
        key = (aquarium_id, source)
        return self._sensors.get(key) or self._catalogue.sensors.get(key)

    def _room_for_sensor(self, aquarium_id: int, device_id: str | None) -> bool:
        new = self._new_sensors.get((aquarium_id, device_id), 0) + 1
        self._new_sensors[aquarium_id, device_id] = new
        return self._catalogue.sensor_count(aquarium_id, device_id) + new <= MAX_SENSORS

    async def _new_sensor(
        self,
        aquarium_id: int,
        source: str,
        device_id: str | None,
        name: str,
        metric: str,
        unit: str | None,
    ) -> Sensor:
        values: Row = {
            "aquarium_id": aquarium_id,
            "source": source,
            "device_id": device_id,
            "name": name,
            "metric": metric,
            "unit": unit or self._catalogue.units.get((aquarium_id, metric)),
        }
        result = await self._tx.execute(insert(sensors).values(**values, created_at=self._now))
        assert result.inserted_primary_key is not None
        sensor = Sensor(id=result.inserted_primary_key[0], **values)
        self._sensors[aquarium_id, source] = sensor
        return sensor

    async def _store_readings(self) -> None:
        new = await self._insert(self._rows)
        latest: dict[int, Row] = {}
        for row in new:
            event = reading_event(row)
            self._emit(row["aquarium_id"], "reading", event, f"{row['sensor_id']}/{row['metric']}")
            if self._is_latest(row):
                latest[row["sensor_id"]] = row
        if latest:
            await self._tx.execute(_LATEST, [_latest(row) for row in latest.values()])
        await self._judge(new)
        self._tx.on_commit(partial(self._ids.count, len(new)))

    async def _insert(self, rows: list[Row]) -> list[Row]:
        """Store those that are new; a redelivery is stored once, so it is announced once."""
        if not rows:
            return []
        if await self._tx.execute_rows(_NEW, [_values(row) for row in rows]) == len(rows):
            return rows
        ids = [row["id"] for row in rows]
        kept: set[int] = set()
        for part in _parts(ids):
            found = await self._tx.execute(select(readings.c.id).where(readings.c.id.in_(part)))
            kept.update(found.scalars())
        return [row for row in rows if row["id"] in kept]

    def _is_latest(self, row: Row) -> bool:
        key = (row["aquarium_id"], row["source"])
        sensor = self._sensor(*key)
        if sensor is None or (sensor.measured_at or 0.0) > row["measured_at"]:
            return False
        moved = {"measured_at": row["measured_at"], "unit": row["unit"]}
        self._sensors[key] = msgspec.structs.replace(sensor, **moved)
        return True

    # -- rules ------------------------------------------------------------------------------

    async def _judge(self, rows: Iterable[Row]) -> None:
        states: dict[tuple[int, int], RuleState] = {}
        for row in rows:
            if row["received_at"] - row["measured_at"] > self._late(row["device_id"]):
                continue
            at = min(row["measured_at"], row["received_at"])
            for found in self._catalogue.rules_for(row["aquarium_id"], row["metric"]):
                rule, key = found.rule, (found.rule.id, row["sensor_id"])
                if not rule.applies_to(row["metric"], str(row["sensor_id"])):
                    continue
                before = states.get(key) or self._catalogue.rule_states.get(key) or RuleState()
                states[key], outcome = evaluate(rule, before, row["value"], at)
                if outcome is not None:
                    await self.alarms.threshold(found, row, outcome)
        await self._store_rule_states(states)

    def _late(self, device_id: str | None) -> float:
        device = self.device(device_id) if device_id is not None else None
        return max(LATE, 2 * ((device and device.interval) or 0.0))

    async def _store_rule_states(self, states: dict[tuple[int, int], RuleState]) -> None:
        known = self._catalogue.rule_states
        for key, state in states.items():
            if not state.worth_storing(known.get(key) or RuleState()):
                continue
            where = (rule_states.c.rule_id == key[0], rule_states.c.sensor_id == key[1])
            await self._tx.execute(delete(rule_states).where(*where))
            values = {"rule_id": key[0], "sensor_id": key[1], "state": msgspec.to_builtins(state)}
            await self._tx.execute(insert(rule_states).values(**values))
        self._tx.on_commit(lambda: known.update(states))

    # -- the end ----------------------------------------------------------------------------

    async def store(self) -> None:
        """Write everything; the catalogue follows when the transaction is kept."""
        await self._store_devices()
        await self._store_readings()
        self._tx.on_commit(self._take_effect)

    def _take_effect(self) -> None:
        for device in self._devices.values():
            self._catalogue.devices.put(device)
        for sensor in self._sensors.values():
            self._catalogue.put_sensor(sensor)

    def _emit(self, aquarium_id: int, type: str, data: Any, key: str | None = None) -> None:
        self._tx.emit(f"aquarium:{aquarium_id}", type, data, key=key)


def _latest(row: Row) -> Row:
    return {
        "key": row["sensor_id"],
        "new_value": row["value"],
        "new_unit": row["unit"],
        "at": row["measured_at"],
        "reading": row["id"],
        "from_": row["origin"],
    }


def _parts(ids: list[int]) -> Iterable[list[int]]:
    return (ids[start : start + 500] for start in range(0, len(ids), 500))
