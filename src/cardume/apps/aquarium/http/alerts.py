"""Alerts: listing, acknowledging, shelving."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query

from cardume.alerts import store
from cardume.alerts.lifecycle import AlertState, Severity
from cardume.apps.aquarium.app import CurrentAquarium
from cardume.apps.aquarium.decisions import Ack, Shelve
from cardume.apps.aquarium.views import AlertView, alert_view
from cardume.storage.tables import alerts
from cardume.transports.fastapi import CurrentIdentity
from cardume.transports.paging import Cursor, Limit, Page, page, position
from cardume.transports.problems import ProblemRoute

router = APIRouter(prefix="/alerts", route_class=ProblemRoute, tags=["alerts"])

StateFilter = AlertState | Literal["open", "cleared"]


@router.get("")
async def list_alerts(
    app: CurrentAquarium,
    who: CurrentIdentity,
    aquarium_id: Annotated[int | None, Query()] = None,
    state: Annotated[StateFilter | None, Query()] = None,
    severity: Annotated[Severity | None, Query()] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[AlertView]:
    """Alerts of the aquariums you may see, the newest first.

    `state` is one of the four states, or `open` or `cleared` for two of them each.
    """
    if aquarium_id is not None:
        app.catalogue.check_member(who, aquarium_id)
        where = [alerts.c.aquarium_id == aquarium_id]
    elif app.catalogue.sees_all(who):
        where = []
    else:
        where = [alerts.c.aquarium_id.in_(app.catalogue.visible(who))]
    if state == "open":
        where.append(alerts.c.cleared_at.is_(None))
    elif state == "cleared":
        where.append(alerts.c.cleared_at.is_not(None))
    elif state is not None:
        where.append(alerts.c.state == state)
    if severity is not None:
        where.append(alerts.c.severity == severity)
    before = position(cursor, int)
    if before is not None:
        where.append(alerts.c.id < before)
    async with app.storage.read() as connection:
        found = await store.find(connection, where, limit + 1)
    return page([alert_view(alert) for alert in found], limit, lambda alert: alert["id"])


@router.post("/{alert_id}/ack")
async def acknowledge(
    alert_id: int, app: CurrentAquarium, who: CurrentIdentity, body: Ack | None = None
) -> AlertView:
    """Say that you know. Idempotent: again is 200 and announces nothing."""
    return await app.decisions.acknowledge(who, alert_id, body or Ack(note=None))


@router.post("/{alert_id}/shelve")
async def shelve(
    alert_id: int, body: Shelve, app: CurrentAquarium, who: CurrentIdentity
) -> AlertView:
    """No notifications before `until`; the alert's life goes on."""
    return await app.decisions.shelve(who, alert_id, body)
