"""Readings: entered by hand, and their history, raw or downsampled."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from msgspec import to_builtins
from pydantic import AwareDatetime, Field

from cardume.apps.aquarium.app import CurrentAquarium
from cardume.apps.aquarium.buckets import downsampled
from cardume.apps.aquarium.measurements import MAX_SENSORS
from cardume.apps.aquarium.series import History, Series, pages
from cardume.apps.aquarium.views import reading_event
from cardume.devices.names import METRIC
from cardume.devices.readings import AHEAD_MAX
from cardume.errors import Refused
from cardume.transports.bodies import Body, Number
from cardume.transports.fastapi import CurrentIdentity
from cardume.transports.paging import Cursor, Limit
from cardume.transports.problems import ProblemRoute
from cardume.wire import codes

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
    min, mean and max. Without it, everything by pages. Readings that are not kept one by one any
    more are answered by the hour; `source` says so.
    """
    app.catalogue.check_member(who, aquarium_id)
    until = app.hub.clock.now() if to is None else to.timestamp()
    since = until - DAY if from_ is None else from_.timestamp()
    if since > until:
        raise Refused(codes.INVALID_FIELDS, "from: has to be before to")
    series = Series(aquarium_id, metric, since, until, sensor_id)
    async with app.storage.read() as connection:
        if points is None:
            return await pages(connection, series, limit, cursor)
        return await downsampled(connection, series, points)
