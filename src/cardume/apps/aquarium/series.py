"""A metric's history: readings, and the hours that are left of those that are gone.

A reading is in one of the two tables, so both together are the whole and nothing is counted twice.
An hour cannot be cut: one that is touched by what was asked for is answered whole.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import msgspec
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Double,
    Select,
    String,
    cast,
    func,
    literal,
    null,
    select,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncConnection
from typing_extensions import TypedDict

from cardume.apps.aquarium.views import reading_id
from cardume.storage.rollups import HOUR, SCALE
from cardume.storage.tables import readings, rollups
from cardume.transports.paging import foreign_cursor, page, position
from cardume.wire.messages import rfc3339

Source = Literal["raw", "hourly", "mixed"]


class Point(TypedDict, total=False):
    """A reading (`id`, `value`), or a time from `measured_at` on with what was measured in it."""

    id: str
    measured_at: str
    value: float
    min: float
    mean: float
    max: float
    count: int
    sensor_id: int
    unit: str | None
    origin: str


class History(TypedDict):
    """`resolution` is the width of a bucket in seconds, 0 where items are not downsampled.

    `source` says what answered: readings one by one, hours, or both.
    """

    metric: str
    resolution: float
    source: Source
    items: list[Point]
    next: str | None


class Series(msgspec.Struct, frozen=True):
    """What is asked for: one metric of one aquarium from `since` to `until`, in Unix seconds."""

    aquarium_id: int
    metric: str
    since: float
    until: float
    sensor_id: int | None = None

    @property
    def first_hour(self) -> int:
        return math.floor(self.since / HOUR)

    @property
    def last_hour(self) -> int:
        return math.floor(self.until / HOUR)

    def readings(self) -> list[ColumnElement[bool]]:
        """Its readings."""
        at = readings.c.measured_at
        return [*self.of(readings), at >= self.since, at <= self.until]

    def hours(self) -> list[ColumnElement[bool]]:
        """Its hours."""
        hour = rollups.c.hour
        return [*self.of(rollups), hour >= self.first_hour, hour <= self.last_hour]

    def of(self, table: Any) -> list[ColumnElement[bool]]:
        """Rows of a table that belong to it, whatever their time."""
        where = [table.c.aquarium_id == self.aquarium_id, table.c.metric == self.metric]
        if self.sensor_id is not None:
            where.append(table.c.sensor_id == self.sensor_id)
        return where


async def pages(
    connection: AsyncConnection, series: Series, limit: int, cursor: str | None
) -> History:
    """Everything that is known, oldest first, by pages.

    What is moved into hours between two pages is answered twice rather than not at all.

    Raises:
        Invalid: we did not write this cursor.
    """
    after = _place(cursor)
    parts = (_readings_after(series, after, limit + 1), _hours_after(series, after, limit + 1))
    # One statement, so that it sees one moment: a reading is moved from one table to the other.
    both = union_all(*(select(part.subquery()) for part in parts)).subquery()
    query = select(both).order_by(both.c.at, both.c.number).limit(limit + 1)
    rows = (await connection.execute(query)).all()
    shown = page(rows, limit, lambda row: (row.at, row.number, _told(rows[:limit], row.at, after)))
    items = shown["items"]
    source = source_of(any(not row.held for row in items), any(row.held for row in items))
    return {
        "metric": series.metric,
        "resolution": 0,
        "source": source,
        "items": [_hour(row) if row.held else _reading(row) for row in items],
        "next": shown["next"],
    }


class _Place(NamedTuple):
    """Where a page ends."""

    at: float
    number: int
    """For what has the same time: the sensor's of an hour, the id of a reading. Ids are larger than
    any sensor's number, so hours come first."""
    told: int
    """How many readings are counted in what was answered of the hour that the page ends in. If it
    counts others by now, some were moved into it meanwhile, and it is answered once more."""

    @property
    def hour(self) -> int:
        return math.floor(self.at / HOUR)


def _told(items: Sequence[Any], at: float, before: _Place | None) -> int:
    """`told` of a page that ends at the time `at`."""
    hour = math.floor(at / HOUR)
    of_hour = [row for row in items if row.held and math.floor(row.at / HOUR) == hour]
    told: int = sum(row.held for row in of_hour)
    if before is None or before.hour != hour:
        return told
    anew = any(row.number <= before.number for row in of_hour)
    return told if anew else told + before.told


def _place(cursor: str | None) -> _Place | None:
    after = position(cursor, list)
    if after is None:
        return None
    match after:
        case [int() | float() as at, int() as number, int() as told] if math.isfinite(at):
            if abs(number) < 1 << 63 and abs(at) < 1e12 and 0 <= told < 1 << 63:
                return _Place(float(at), int(number), int(told))
    raise foreign_cursor()


def _readings_after(series: Series, after: _Place | None, most: int) -> Select[Any]:
    at, id, value = readings.c.measured_at, readings.c.id, readings.c.value
    where = series.readings()
    if after is not None:
        where.append((at > after.at) | ((at == after.at) & (id > after.number)))
    columns = (
        at.label("at"),
        id.label("number"),
        value.label("low"),
        value.label("high"),
        value.label("total"),
        literal(0, BigInteger).label("held"),
        readings.c.sensor_id,
        readings.c.unit,
        readings.c.origin,
    )
    return select(*columns).where(*where).order_by(at, id).limit(most)


def _hours_after(series: Series, after: _Place | None, most: int) -> Select[Any]:
    hour, number = rollups.c.hour, cast(rollups.c.sensor_id, BigInteger)
    where = series.hours()
    if after is not None:
        unseen = (number > after.number) | _has_grown(series, after)
        where.append((hour > after.hour) | ((hour == after.hour) & unseen))
    columns = (
        cast(hour * HOUR, Double).label("at"),
        number.label("number"),
        rollups.c.low,
        rollups.c.high,
        rollups.c.total,
        rollups.c["count"].label("held"),
        rollups.c.sensor_id,
        cast(null(), String).label("unit"),
        cast(null(), String).label("origin"),
    )
    return select(*columns).where(*where).order_by(hour, rollups.c.sensor_id).limit(most)


def _has_grown(series: Series, after: _Place) -> ColumnElement[bool]:
    """Whether the hour that a page ended in counts others by now than was told of it."""
    now = rollups.alias()
    known = cast(now.c.sensor_id, BigInteger) <= after.number
    count = select(func.coalesce(func.sum(now.c["count"]), 0))
    count = count.where(*series.of(now), now.c.hour == after.hour, known)
    return count.scalar_subquery() != after.told


def _reading(row: Any) -> Point:
    return {
        "id": reading_id(row.number),
        "measured_at": rfc3339(row.at),
        "value": row.low,
        "unit": row.unit,
        "sensor_id": row.sensor_id,
        "origin": row.origin,
    }


def _hour(row: Any) -> Point:
    return {**bucket(row.at, row, row.held), "sensor_id": row.sensor_id}


def bucket(start: float, row: Any, count: int) -> Point:
    """What `count` readings of one stretch of time have come to."""
    return {
        "measured_at": rfc3339(start),
        "min": row.low,
        "mean": row.total / count * SCALE,
        "max": row.high,
        "count": count,
    }


def source_of(has_readings: bool, has_hours: bool) -> Source:
    if has_hours:
        return "mixed" if has_readings else "hourly"
    return "raw"
