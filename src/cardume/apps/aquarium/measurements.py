"""The readings of one transaction: stored once, announced once, the newest kept with its sensor."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Iterable
from operator import itemgetter
from typing import Any

import msgspec
from sqlalchemy import bindparam, insert, select, update

from cardume.apps.aquarium.catalogue import Catalogue, Sensor
from cardume.apps.aquarium.views import channel_of, reading_event
from cardume.storage.database import Write
from cardume.storage.statements import insert_new
from cardume.storage.tables import readings, sensors

MAX_SENSORS = 256
"""Metrics of one device, or by hand: one that invents names is not followed for ever."""

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
        self._count = itertools.count(secrets.randbelow(1 << 20))

    def next(self, now: float) -> int:
        """43 bits of milliseconds, 20 of a counter."""
        return first_id(now) | (next(self._count) & 0xFFFFF)


def first_id(at: float) -> int:
    """The smallest id of what comes at that time, in Unix seconds."""
    return int(at * 1000) << 20


class Measurements:
    """Copies of the sensors that measured; they go to the catalogue on the commit."""

    def __init__(self, tx: Write, catalogue: Catalogue, ids: ReadingIds, now: float) -> None:
        self._tx = tx
        self._catalogue = catalogue
        self._ids = ids
        self._now = now
        self._sensors: dict[tuple[int, str], Sensor] = {}
        self._new_sensors: dict[tuple[int, str | None], int] = {}
        self._rows: list[Row] = []

    async def add(
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

    async def store(self) -> list[Row]:
        """Write them; those that were new."""
        new = await self._insert(self._rows)
        latest: dict[int, Row] = {}
        for row in new:
            event = reading_event(row)
            key = f"{row['sensor_id']}/{row['metric']}"
            self._tx.emit(channel_of(row["aquarium_id"]), "reading", event, key=key)
            if self._is_latest(row):
                latest[row["sensor_id"]] = row
        if latest:
            await self._tx.execute(_LATEST, [_latest(row) for row in latest.values()])
        self._tx.on_commit(self._take_effect)
        return new

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

    def _take_effect(self) -> None:
        for sensor in self._sensors.values():
            self._catalogue.put_sensor(sensor)


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
