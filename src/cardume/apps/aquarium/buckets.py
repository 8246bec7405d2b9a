"""A metric's history, downsampled: buckets of equal width, whole hours where readings are gone."""

from __future__ import annotations

import math

from sqlalchemy import case, exists, func, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from cardume.apps.aquarium.series import (
    History,
    Point,
    Series,
    Source,
    bucket,
    pages,
    source_of,
)
from cardume.storage.rollups import HOUR, SCALE, hours_of
from cardume.storage.statements import whole
from cardume.storage.tables import readings, rollups


async def downsampled(connection: AsyncConnection, series: Series, points: int) -> History:
    """At most `points`: readings if they are that few, else buckets; of hours where some are."""
    gone = select(exists().where(*series.hours()))
    if not await connection.scalar(gone):
        answer = await _of_readings(connection, series, points)
        if not await connection.scalar(gone):  # nothing was moved while we looked
            return answer
    return await _buckets_of_hours(connection, series, points)


async def _of_readings(connection: AsyncConnection, series: Series, points: int) -> History:
    query = select(func.count()).select_from(readings).where(*series.readings())
    if (await connection.scalar(query) or 0) <= points:
        return await pages(connection, series, points, None)
    return await _buckets_of_readings(connection, series, points)


async def _buckets_of_readings(connection: AsyncConnection, series: Series, points: int) -> History:
    width = (series.until - series.since) / points
    number = whole((readings.c.measured_at - series.since) / (width or 1.0))
    # The right edge belongs to the last bucket, or there would be one more than asked for.
    place = case((number < points, number), else_=points - 1).label("bucket")
    query = (
        select(
            place,
            func.min(readings.c.value).label("low"),
            func.max(readings.c.value).label("high"),
            func.sum(readings.c.value / SCALE).label("total"),
            func.count().label("held"),
        )
        .where(*series.readings())
        .group_by(place)
        .order_by(place)
    )
    found = await connection.execute(query)
    items = [bucket(series.since + row.bucket * width, row, row.held) for row in found]
    return _downsampled(series, width, "raw", items)


async def _buckets_of_hours(connection: AsyncConnection, series: Series, points: int) -> History:
    first, last = series.first_hour, series.last_hour
    at = readings.c.measured_at
    raw = [*series.of(readings), at >= first * HOUR, at < (last + 1) * HOUR]
    columns = ("hour", "low", "high", "total", "count")
    there = hours_of(*raw).subquery()
    hours = union_all(
        select(*(rollups.c[name] for name in columns)).where(*series.hours()),
        select(*(there.c[name] for name in columns)),
    ).subquery()
    together = math.ceil((last - first + 1) / points)
    numbered = select(((hours.c.hour - first) // together).label("bucket"), hours).subquery()
    query = (
        select(
            numbered.c.bucket,
            func.min(numbered.c.low).label("low"),
            func.max(numbered.c.high).label("high"),
            func.sum(numbered.c.total).label("total"),
            func.sum(numbered.c["count"]).label("held"),
        )
        .group_by(numbered.c.bucket)
        .order_by(numbered.c.bucket)
    )
    has_readings = bool(await connection.scalar(select(exists().where(*raw))))
    width = together * HOUR
    found = await connection.execute(query)
    items = [bucket(first * HOUR + row.bucket * width, row, int(row.held)) for row in found]
    return _downsampled(series, width, source_of(has_readings, True), items)


def _downsampled(series: Series, width: float, source: Source, items: list[Point]) -> History:
    return {
        "metric": series.metric,
        "resolution": width,
        "source": source,
        "items": items,
        "next": None,
    }
