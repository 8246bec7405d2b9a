"""What ingest must know without asking the database for every message.

Read once at the start; changed only by `Storage.write` commits, so it is never ahead of the truth.
"""

from __future__ import annotations

from collections import Counter

import msgspec
from sqlalchemy import select

from cardume.alerts.lifecycle import Severity
from cardume.alerts.rules import Rule, RuleState
from cardume.apps.aquarium.views import channel_of
from cardume.auth.identity import Identity
from cardume.devices.registry import Device, Registry
from cardume.errors import Refused
from cardume.storage.database import Storage
from cardume.storage.tables import alert_rules as rules_table
from cardume.storage.tables import aquariums, members, rule_states, sensors, targets
from cardume.wire import codes


class Sensor(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A source of one metric in one aquarium, and its newest value."""

    id: int
    aquarium_id: int
    source: str
    device_id: str | None
    name: str
    metric: str
    unit: str | None
    measured_at: float | None = None


class AquariumRule(msgspec.Struct, frozen=True):
    """A rule and where it holds."""

    aquarium_id: int
    name: str | None
    rule: Rule


class Catalogue:
    """Aquariums and members, sensors, rules; devices have their own `Registry`."""

    def __init__(self, storage: Storage, devices: Registry) -> None:
        self._storage = storage
        self.devices = devices
        self.members: dict[int, dict[str, str]] = {}
        """Role by subject, by aquarium; every aquarium that exists has an entry."""
        self.sensors: dict[tuple[int, str], Sensor] = {}
        self.rules: dict[int, AquariumRule] = {}
        self.rule_states: dict[tuple[int, int], RuleState] = {}
        self.units: dict[tuple[int, str], str] = {}
        """The unit of a metric's target, for readings that name none."""
        self._rules_by_metric: dict[tuple[int, str], list[AquariumRule]] = {}
        self._sensors_of: Counter[tuple[int, str | None]] = Counter()

    async def load(self) -> None:
        """Read everything."""
        await self.devices.load()
        async with self._storage.read() as connection:
            self.members = {id: {} for id in await connection.scalars(select(aquariums.c.id))}
            for row in await connection.execute(select(members)):
                self.members[row.aquarium_id][row.sub] = row.role
            for row in await connection.execute(select(targets)):
                self.units[row.aquarium_id, row.metric] = row.unit
            columns = [sensors.c[name] for name in Sensor.__struct_fields__]
            for row in await connection.execute(select(*columns)):
                self.put_sensor(Sensor(**row._mapping))
            for row in await connection.execute(select(rules_table)):
                self.put_rule(rule_from(dict(row._mapping)))
            for row in await connection.execute(select(rule_states)):
                self.rule_states[row.rule_id, row.sensor_id] = msgspec.convert(row.state, RuleState)

    # -- who --------------------------------------------------------------------------------

    def check_member(self, identity: Identity, aquarium_id: int) -> None:
        """Let members and admins pass, and those whose token names the aquarium.

        Raises:
            Refused: 403 for the others, whether or not there is such an aquarium; 404 for an
                admin and an aquarium that is not there.
        """
        exists = aquarium_id in self.members
        if self.sees_all(identity):
            if not exists:
                raise Refused(codes.NOT_FOUND, f"no aquarium {aquarium_id}")
            return
        if not (exists and self.is_member(identity, aquarium_id)):
            raise Refused(codes.PERMISSION_DENIED, f"not a member of aquarium {aquarium_id}")

    def check_writer(self, identity: Identity, aquarium_id: int) -> None:
        """Let members and admins change things; a service reads.

        Raises:
            Refused: as `check_member`; 403 for services that are no members.
        """
        self.check_member(identity, aquarium_id)
        if not (identity.is_admin or self.is_member(identity, aquarium_id)):
            raise Refused(codes.PERMISSION_DENIED, "a service reads; only members change things")

    def check_owner(self, identity: Identity, aquarium_id: int) -> None:
        """Let owners and admins pass.

        Raises:
            Refused: as `check_member`; 403 for members who are no owners.
        """
        self.check_member(identity, aquarium_id)
        role = self.members[aquarium_id].get(identity.sub)
        if role != "owner" and not identity.is_admin:
            raise Refused(codes.PERMISSION_DENIED, "only an owner of the aquarium may do this")

    def is_member(self, identity: Identity, aquarium_id: int) -> bool:
        return (
            identity.sub in self.members.get(aquarium_id, ())
            or identity.grants("aquariums", aquarium_id)
            or identity.may_subscribe_by_claim(channel_of(aquarium_id))
        )

    def sees_all(self, identity: Identity) -> bool:
        """Admins and services read every aquarium."""
        return identity.is_admin or identity.is_service

    def may_see(self, identity: Identity, aquarium_id: int) -> bool:
        return aquarium_id in self.members and (
            self.sees_all(identity) or self.is_member(identity, aquarium_id)
        )

    def visible(self, identity: Identity) -> list[int]:
        """The aquariums an identity may see."""
        everything = self.sees_all(identity)
        return [id for id in self.members if everything or self.is_member(identity, id)]

    def chosen(self, identity: Identity, aquarium_id: int | None) -> set[int]:
        """The aquarium that a list is asked for, or all that an identity may see.

        Raises:
            Refused: as `check_member`.
        """
        if aquarium_id is None:
            return set(self.visible(identity))
        self.check_member(identity, aquarium_id)
        return {aquarium_id}

    def device(self, identity: Identity, device_id: str) -> Device:
        """A device that an identity may see: one of somebody else's aquarium looks like none.

        Raises:
            Refused: 404.
        """
        device = self.devices.get(device_id)
        if device is None or not self.may_see(identity, device.aquarium_id):
            raise Refused(codes.NOT_FOUND, "no such device")
        return device

    async def find_device(self, identity: Identity, device_id: str) -> Device:
        """As `device`, and also one that a command has registered while we run."""
        await self.devices.find(device_id)
        return self.device(identity, device_id)

    # -- what -------------------------------------------------------------------------------

    def put_sensor(self, sensor: Sensor) -> None:
        key = (sensor.aquarium_id, sensor.source)
        if key not in self.sensors:
            self._sensors_of[sensor.aquarium_id, sensor.device_id] += 1
        self.sensors[key] = sensor

    def sensor_count(self, aquarium_id: int, device_id: str | None) -> int:
        """How many sources a device has in an aquarium; None: those entered by hand."""
        return self._sensors_of[aquarium_id, device_id]

    def measures(self, aquarium_id: int, sensor_id: int, metric: str) -> bool:
        """Whether this sensor of the aquarium measures `metric`."""
        return any(
            sensor.id == sensor_id and sensor.metric == metric
            for sensor in self.sensors.values()
            if sensor.aquarium_id == aquarium_id
        )

    def put_rule(self, rule: AquariumRule) -> None:
        self.remove_rule(rule.rule.id, keep_state=True)
        self.rules[rule.rule.id] = rule
        self._rules_by_metric.setdefault((rule.aquarium_id, rule.rule.metric), []).append(rule)

    def remove_rule(self, rule_id: int, *, keep_state: bool = False) -> None:
        known = self.rules.pop(rule_id, None)
        if known is not None:
            place = (known.aquarium_id, known.rule.metric)
            self._rules_by_metric[place].remove(known)
            if not self._rules_by_metric[place]:
                del self._rules_by_metric[place]
        if not keep_state:
            for key in [key for key in self.rule_states if key[0] == rule_id]:
                del self.rule_states[key]

    def rules_for(self, aquarium_id: int, metric: str) -> list[AquariumRule]:
        return self._rules_by_metric.get((aquarium_id, metric), [])

    def remove_aquarium(self, aquarium_id: int) -> None:
        """Forget an aquarium and all that was in it but devices."""
        self.members.pop(aquarium_id, None)
        for rule in [r for r in self.rules.values() if r.aquarium_id == aquarium_id]:
            self.remove_rule(rule.rule.id)
        for key in [key for key in self.sensors if key[0] == aquarium_id]:
            sensor = self.sensors.pop(key)
            self._sensors_of.pop((aquarium_id, sensor.device_id), None)
        for target in [key for key in self.units if key[0] == aquarium_id]:
            del self.units[target]


def rule_from(row: dict[str, object]) -> AquariumRule:
    """A rule out of its row."""
    sensor_id = row.pop("sensor_id")
    values = {name: row[name] for name in Rule.__struct_fields__ if name in row}
    values["severity"] = Severity(str(row["severity"]))
    rule = Rule(**values, sensor=None if sensor_id is None else str(sensor_id))  # type: ignore[arg-type]
    return AquariumRule(row["aquarium_id"], row["name"], rule)  # type: ignore[arg-type]
