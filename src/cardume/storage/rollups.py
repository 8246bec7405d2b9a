"""Old readings become hours: moved, never copied, so that each is counted in one place.

Readings are not partitioned on PostgreSQL. What keeps a redelivery from being stored twice is a
unique index over all of them, and an index over partitions is unique only within each: its key
would have to hold the time, and a reading that comes again may come with another one. Deleting by
the primary key, in the order in which rows were written, takes 20 µs a row, hours included.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import ColumnElement, Select, bindparam, case, delete, func, literal_column, select
from sqlalchemy.dialects import postgresql, sqlite

from cardume.storage.database import Write
from cardume.storage.statements import Spellings, whole
from cardume.storage.tables import readings, rollups

HOUR: Final = 3600

SCALE: Final = 2.0**32
"""What values are divided by before they are added: no rounding, and no sum is too large."""

# Literals and not parameters: PostgreSQL groups by what is spelled alike.
_hour = whole(readings.c.measured_at / literal_column(f"{HOUR}.0"))
_share = readings.c.value / literal_column(f"{SCALE:.1f}")

_KEY = ("aquarium_id", "metric", "hour", "sensor_id")


def hours_of(*where: ColumnElement[bool]) -> Select[Any]:
    """Readings by the hour, in the columns of `rollups`."""
    return (
        select(
            readings.c.aquarium_id,
            readings.c.metric,
            _hour.label("hour"),
            readings.c.sensor_id,
            func.min(readings.c.value).label("low"),
            func.max(readings.c.value).label("high"),
            func.sum(_share).label("total"),
            func.count().label("count"),
        )
        .where(*where)
        .group_by(readings.c.aquarium_id, readings.c.metric, _hour, readings.c.sensor_id)
    )


def _added(statement: sqlite.Insert | postgresql.Insert, part: ColumnElement[bool]) -> Any:
    """Insert hours, or add them to those that are there."""
    filled = statement.from_select(rollups.c.keys(), hours_of(part))
    new, old = filled.excluded, rollups.c
    return filled.on_conflict_do_update(
        index_elements=_KEY,
        set_={
            "low": case((new.low < old.low, new.low), else_=old.low),
            "high": case((new.high > old.high, new.high), else_=old.high),
            "total": old.total + new.total,
            "count": old.count + new.count,
        },
    )


# With one end alone SQLite reads the whole of another index, for the order of the groups.
_PART = readings.c.id.between(bindparam("first"), bindparam("last"))
_ADD: Spellings = {
    "sqlite": _added(sqlite.insert(rollups), _PART),
    "postgresql": _added(postgresql.insert(rollups), _PART),
}
_REMOVE = delete(readings).where(_PART)


async def retire(tx: Write, before: int, most: int) -> int:
    """Move the oldest readings with an id under `before` into their hours; how many, up to `most`.

    Ids rise with the time at which a reading came.
    """
    oldest = select(readings.c.id).where(readings.c.id < before).order_by(readings.c.id)
    ids = list((await tx.execute(oldest.limit(most))).scalars())
    if not ids:
        return 0
    part = {"first": ids[0], "last": ids[-1]}
    await tx.execute(_ADD, part)
    return (await tx.execute(_REMOVE, part)).rowcount
