"""One aquarium at a glance: the snapshot of its channel, and `GET …/overview`."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncConnection
from typing_extensions import TypedDict

from cardume.alerts import store
from cardume.apps.aquarium.hearing import Link
from cardume.apps.aquarium.statuses import DeviceOverview
from cardume.apps.aquarium.views import AlertView, alert_view
from cardume.errors import Refused
from cardume.storage.tables import alerts, aquariums, sensors, targets
from cardume.wire import codes
from cardume.wire.messages import rfc3339, stamp

MAX_ALERTS = 200


class TargetView(TypedDict):
    low: float | None
    high: float | None


class MetricView(TypedDict):
    """The newest value of a metric from one source; nulls where only a target is known."""

    metric: str
    sensor_id: int | None
    device_id: str | None
    sensor: str | None
    value: float | None
    unit: str | None
    measured_at: str | None
    origin: str | None
    target: TargetView | None


class AquariumView(TypedDict):
    id: int
    name: str
    kind: str
    created_at: str


class Overview(TypedDict):
    aquarium: AquariumView
    metrics: list[MetricView]
    devices: list[DeviceOverview]
    alerts: list[AlertView]
    link: Link


async def read_overview(
    connection: AsyncConnection, aquarium_id: int, devices: list[DeviceOverview], link: Link
) -> Overview:
    """Everything about one aquarium that a page shows first.

    Raises:
        Refused: 404.
    """
    row = (await connection.execute(select(aquariums).where(aquariums.c.id == aquarium_id))).first()
    if row is None:
        raise Refused(codes.NOT_FOUND, f"no aquarium {aquarium_id}")
    still_open = [alerts.c.aquarium_id == aquarium_id, alerts.c.cleared_at.is_(None)]
    found = await store.find(connection, still_open, MAX_ALERTS)
    return {
        "aquarium": aquarium_view(row),
        "metrics": await _metrics(connection, aquarium_id),
        "devices": devices,
        "alerts": [alert_view(alert) for alert in found],
        "link": link,
    }


def aquarium_view(row: Row[Any]) -> AquariumView:
    """An aquarium, out of its row."""
    return {
        "id": row.id,
        "name": row.name,
        "kind": row.kind,
        "created_at": rfc3339(row.created_at),
    }


async def _metrics(connection: AsyncConnection, aquarium_id: int) -> list[MetricView]:
    """Measured metrics, then those that have a target and were never measured."""
    wanted = {
        row.metric: row
        for row in await connection.execute(
            select(targets).where(targets.c.aquarium_id == aquarium_id)
        )
    }
    measured = (
        await connection.execute(
            select(sensors)
            .where(sensors.c.aquarium_id == aquarium_id, sensors.c.value.is_not(None))
            .order_by(sensors.c.metric, sensors.c.id)
        )
    ).all()
    views: list[MetricView] = []
    for row in measured:
        target = wanted.get(row.metric)
        views.append(
            {
                "metric": row.metric,
                "sensor_id": row.id,
                "device_id": row.device_id,
                "sensor": row.name or None,
                "value": row.value,
                "unit": row.unit,
                "measured_at": stamp(row.measured_at),
                "origin": row.origin,
                "target": None if target is None else {"low": target.low, "high": target.high},
            }
        )
    seen = {row.metric for row in measured}
    views += [
        {
            "metric": metric,
            "sensor_id": None,
            "device_id": None,
            "sensor": None,
            "value": None,
            "unit": target.unit,
            "measured_at": None,
            "origin": None,
            "target": {"low": target.low, "high": target.high},
        }
        for metric, target in wanted.items()
        if metric not in seen
    ]
    return views
