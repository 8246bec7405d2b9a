"""Readings: entered by hand, and their history, raw or downsampled."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from msgspec import to_builtins
from pydantic import AwareDatetime, Field
from sqlalchemy import Integer, case, cast, func, select
from sqlalchemy.ext.asyncio import AsyncConnection
from typing_extensions import TypedDict

from cardume.apps.aquarium.app import CurrentAquarium
from cardume.apps.aquarium.measurements import MAX_SENSORS
from cardume.apps.aquarium.views import reading_event, reading_id
from cardume.devices.names import METRIC
from cardume.devices.payloads import AHEAD_MAX
from cardume.errors import Refused
from cardume.storage.tables import readings
from cardume.transports.bodies import Body, Number
from cardume.transports.fastapi import CurrentIdentity
from cardume.transports.paging import Cursor, Limit, position
from cardume.transports.paging import page as paged
from cardume.transports.problems import ProblemRoute
from cardume.wire import codes
from cardume.wire.messages import rfc3339

router = APIRouter(prefix="/aquariums/{aquarium_id}", route_class=ProblemRoute, tags=["readings"])

DAY = 86_400.0
OLDEST = 10 * 366 * DAY
"""How far back a reading may be entered by hand: somebody types in an old notebook."""

Metric = Annotated[str, Field(pattern=f"^{METRIC}$")]


class ManualReading(Body):
    """A test kit's result."""

    metric: Metric
    value: Number
    unit: str | None = Field(None, max_length=16)
    measured_at: AwareDatetime | None = None
    note: str | None = Field(None, max_length=2000)


class Point(TypedDict, total=False):
    """A reading (`id`, `value`), or a bucket that begins at `measured_at`."""

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
    """`resolution` is the width of a bucket in seconds, 0 for raw readings."""

    metric: str
    resolution: float
    items: list[Point]
    next: str | None


@router.post("/readings", status_code=201)
async def enter_reading(
    aquarium_id: int, body: ManualReading, app: CurrentAquarium, who: CurrentIdentity
) -> dict[str, Any]:
    """Enter a reading by hand. It may break a rule; it is never a sign of life of a device."""
    app.catalogue.check_writer(who, aquarium_id)
    now = app.hub.clock.now()
    measured_at = now if body.measured_at is None else body.measured_at.timestamp()
    if measured_at - now > AHEAD_MAX:
        raise Refused(codes.INVALID_FIELDS, "measured_at: lies in the future")
    if now - measured_at > OLDEST:
        raise Refused(codes.INVALID_FIELDS, "measured_at: more than ten years ago")
    async with app.storage.write() as tx:
        app.catalogue.check_writer(who, aquarium_id)
        changes = app.ingest.changes(tx)
        row = await changes.measurements.add(
            aquarium_id=aquarium_id,
            device_id=None,
            sensor="manual",
            metric=body.metric,
            value=body.value,
            unit=body.unit,
            measured_at=measured_at,
            received_at=now,
            origin="manual",
            entered_by=who.sub,
            note=body.note,
        )
        if row is None:
            raise Refused(codes.CONFLICT, f"at most {MAX_SENSORS} metrics are entered by hand")
        await changes.store()
    event: dict[str, Any] = to_builtins(reading_event(row))
    return event


@router.get("/readings")
async def list_readings(
    aquarium_id: int,
    app: CurrentAquarium,
    who: CurrentIdentity,
    metric: Annotated[str, Query(pattern=f"^{METRIC}$")],
    from_: Annotated[AwareDatetime | None, Query(alias="from")] = None,
    to: AwareDatetime | None = None,
    sensor_id: Annotated[int | None, Query(description="one source of the metric")] = None,
    points: Annotated[int | None, Query(ge=1, le=5000)] = None,
    limit: Limit = 1000,
    cursor: Cursor = None,
) -> History:
    """A metric's history, oldest first; the last day if no `from` is given.

    With `points` there are at most so many: raw readings if they are that few, else buckets with
    min, mean and max. Without it, raw readings by pages.
    """
    app.catalogue.check_member(who, aquarium_id)
    until = app.hub.clock.now() if to is None else to.timestamp()
    since = until - DAY if from_ is None else from_.timestamp()
    if since > until:
        raise Refused(codes.INVALID_FIELDS, "from: has to be before to")
    series = [
        readings.c.aquarium_id == aquarium_id,
        readings.c.metric == metric,
        readings.c.measured_at >= since,
        readings.c.measured_at <= until,
    ]
    if sensor_id is not None:
        series.append(readings.c.sensor_id == sensor_id)
    async with app.storage.read() as connection:
        if points is None:
            return await _raw(connection, metric, series, limit, cursor)
        total = await connection.scalar(select(func.count()).select_from(readings).where(*series))
        if (total or 0) <= points:
            return await _raw(connection, metric, series, points, None)
        return await _buckets(connection, metric, series, since, until, points)


async def _raw(
    connection: AsyncConnection, metric: str, series: list[Any], limit: int, cursor: str | None
) -> History:
    after = position(cursor, list)
    if after is not None:
        if len(after) != 2 or not all(type(part) in (int, float) for part in after):
            raise Refused(codes.INVALID_FIELDS, "cursor: use `next` of the page before")
        at, id = after
        later = (readings.c.measured_at == at) & (readings.c.id > id)
        series = [*series, (readings.c.measured_at > at) | later]
    query = select(readings).where(*series).order_by(readings.c.measured_at, readings.c.id)
    rows = (await connection.execute(query.limit(limit + 1))).all()
    part = paged(rows, limit, lambda row: [row.measured_at, row.id])
    items: list[Point] = [
        {
            "id": reading_id(row.id),
            "measured_at": rfc3339(row.measured_at),
            "value": row.value,
            "unit": row.unit,
            "sensor_id": row.sensor_id,
            "origin": row.origin,
        }
        for row in part["items"]
    ]
    return {"metric": metric, "resolution": 0, "items": items, "next": part["next"]}


async def _buckets(
    connection: AsyncConnection,
    metric: str,
    series: list[Any],
    since: float,
    until: float,
    points: int,
) -> History:
    width = (until - since) / points
    number = cast((readings.c.measured_at - since) / width, Integer)
    # The right edge belongs to the last bucket, or there would be one more than asked for.
    bucket = case((number < points, number), else_=points - 1).label("bucket")
    query = (
        select(
            bucket,
            func.min(readings.c.value).label("low"),
            func.avg(readings.c.value).label("mean"),
            func.max(readings.c.value).label("high"),
            func.count().label("count"),
        )
        .where(*series)
        .group_by(bucket)
        .order_by(bucket)
    )
    items: list[Point] = [
        {
            "measured_at": rfc3339(since + row.bucket * width),
            "min": row.low,
            "mean": row.mean,
            "max": row.high,
            "count": row._mapping["count"],
        }
        for row in await connection.execute(query)
    ]
    return {"metric": metric, "resolution": width, "items": items, "next": None}
