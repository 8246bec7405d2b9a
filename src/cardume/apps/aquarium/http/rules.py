"""Threshold rules of an aquarium."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import Field
from sqlalchemy import delete, insert, update
from typing_extensions import TypedDict

from cardume.alerts.lifecycle import ClearReason
from cardume.alerts.rules import MAX_WAIT
from cardume.apps.aquarium.app import Aquarium, CurrentAquarium
from cardume.apps.aquarium.catalogue import AquariumRule, rule_from
from cardume.auth.identity import Identity
from cardume.devices.names import METRIC
from cardume.errors import Refused
from cardume.storage.database import Write
from cardume.storage.tables import alert_rules, alerts, rule_states
from cardume.transports.bodies import Body, Name, Number, Patch
from cardume.transports.fastapi import CurrentIdentity
from cardume.transports.paging import Cursor, Limit, Page, page, position
from cardume.transports.problems import ProblemRoute
from cardume.wire import codes

router = APIRouter(prefix="/alert-rules", route_class=ProblemRoute, tags=["alert rules"])

Bound = Number | None
Wait = Annotated[Number, Field(ge=0, le=MAX_WAIT)]
MAX_RULES = 200
"""Rules of one aquarium: each is judged with every reading of its metric."""


class RuleBody(Body):
    """A reading below `low` or above `high` raises; beyond `*_critical` it is critical."""

    name: Name | None = None
    metric: str = Field(pattern=f"^{METRIC}$")
    sensor_id: int | None = None
    low: Bound = None
    high: Bound = None
    low_critical: Bound = None
    high_critical: Bound = None
    severity: Literal["warning", "minor", "major", "critical"] = "warning"
    deadband: Annotated[Number, Field(ge=0)] = 0.0
    for_seconds: Wait = 0.0
    clear_seconds: Wait = 0.0
    enabled: bool = True


class NewRule(RuleBody):
    aquarium_id: int


class RulePatch(RuleBody, Patch):
    metric: str = Field("", pattern=f"^{METRIC}$")


class RuleView(TypedDict):
    id: int
    aquarium_id: int
    name: str | None
    metric: str
    sensor_id: int | None
    low: float | None
    high: float | None
    low_critical: float | None
    high_critical: float | None
    severity: str
    deadband: float
    for_seconds: float
    clear_seconds: float
    enabled: bool


@router.get("")
async def list_rules(
    app: CurrentAquarium,
    who: CurrentIdentity,
    aquarium_id: Annotated[int | None, Query()] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[RuleView]:
    """The rules of the aquariums you may see."""
    after = position(cursor, int) or 0
    chosen = app.catalogue.chosen(who, aquarium_id)
    held = sorted(app.catalogue.rules.items())
    found = [_view(r) for id, r in held if id > after and r.aquarium_id in chosen]
    return page(found[: limit + 1], limit, lambda rule: rule["id"])


@router.post("", status_code=201)
async def create_rule(body: NewRule, app: CurrentAquarium, who: CurrentIdentity) -> RuleView:
    values = body.model_dump()
    rule_from({**values, "id": 0})  # says what is wrong with it before anything is stored
    async with app.storage.write() as tx:
        app.catalogue.check_writer(who, body.aquarium_id)
        _check_sensor(app, body.aquarium_id, body.metric, body.sensor_id)
        held = [r for r in app.catalogue.rules.values() if r.aquarium_id == body.aquarium_id]
        if len(held) >= MAX_RULES:
            raise Refused(codes.CONFLICT, f"an aquarium has at most {MAX_RULES} rules")
        statement = insert(alert_rules).values(**values, created_at=app.hub.clock.now())
        key = (await tx.execute(statement)).inserted_primary_key
        assert key is not None
        rule = rule_from({**values, "id": key[0]})
        tx.on_commit(lambda: app.catalogue.put_rule(rule))
    return _view(rule)


@router.get("/{rule_id}")
async def get_rule(rule_id: int, app: CurrentAquarium, who: CurrentIdentity) -> RuleView:
    return _view(_rule(app, who, rule_id))


@router.patch("/{rule_id}")
async def update_rule(
    rule_id: int, body: RulePatch, app: CurrentAquarium, who: CurrentIdentity
) -> RuleView:
    """Members that are sent are changed. What the rule remembers starts anew."""
    async with app.storage.write() as tx:
        known = _writable(app, who, rule_id)
        values: dict[str, Any] = {**_view(known), **body.model_dump(exclude_unset=True)}
        rule = rule_from(dict(values))
        _check_sensor(app, rule.aquarium_id, values["metric"], values["sensor_id"])
        del values["id"]
        await tx.execute(update(alert_rules).where(alert_rules.c.id == rule_id).values(**values))
        await _start_anew(app, tx, rule_id, ClearReason.MANUAL)
        tx.on_commit(lambda: _replaced(app, rule))
    return _view(rule)


@router.delete("/{rule_id}", status_code=204)
async def delete_rule(rule_id: int, app: CurrentAquarium, who: CurrentIdentity) -> None:
    """Its open alerts are cleared."""
    async with app.storage.write() as tx:
        _writable(app, who, rule_id)
        await _start_anew(app, tx, rule_id, ClearReason.RULE_DELETED)
        await tx.execute(delete(alert_rules).where(alert_rules.c.id == rule_id))
        tx.on_commit(lambda: app.catalogue.remove_rule(rule_id))


def _check_sensor(app: Aquarium, aquarium_id: int, metric: str, sensor_id: int | None) -> None:
    """A rule for a sensor that measures something else, or nothing, would never ring."""
    if sensor_id is not None and not app.catalogue.measures(aquarium_id, sensor_id, metric):
        raise Refused(codes.INVALID_FIELDS, f"sensor_id: no sensor {sensor_id} measures {metric}")


async def _start_anew(app: Aquarium, tx: Write, rule_id: int, why: ClearReason) -> None:
    changes = app.ingest.changes(tx)
    await changes.alarms.clear_all(why, alerts.c.rule_id == rule_id)
    await tx.execute(delete(rule_states).where(rule_states.c.rule_id == rule_id))


def _replaced(app: Aquarium, rule: AquariumRule) -> None:
    app.catalogue.remove_rule(rule.rule.id)
    app.catalogue.put_rule(rule)


def _rule(app: Aquarium, who: Identity, rule_id: int) -> AquariumRule:
    """A rule of somebody else's aquarium looks like none."""
    found = app.catalogue.rules.get(rule_id)
    if found is None or not app.catalogue.may_see(who, found.aquarium_id):
        raise Refused(codes.NOT_FOUND, f"no rule {rule_id}")
    return found


def _writable(app: Aquarium, who: Identity, rule_id: int) -> AquariumRule:
    found = _rule(app, who, rule_id)
    app.catalogue.check_writer(who, found.aquarium_id)
    return found


def _view(found: AquariumRule) -> RuleView:
    rule = found.rule
    return {
        "id": rule.id,
        "aquarium_id": found.aquarium_id,
        "name": found.name,
        "metric": rule.metric,
        "sensor_id": None if rule.sensor is None else int(rule.sensor),
        "low": rule.low,
        "high": rule.high,
        "low_critical": rule.low_critical,
        "high_critical": rule.high_critical,
        "severity": rule.severity,
        "deadband": rule.deadband,
        "for_seconds": rule.for_seconds,
        "clear_seconds": rule.clear_seconds,
        "enabled": rule.enabled,
    }
