"""Alerts of the aquarium app: what rules and liveness found, stored and announced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement

from cardume.alerts import store
from cardume.alerts.lifecycle import (
    Action,
    Alert,
    AlertKind,
    Change,
    ClearReason,
    Severity,
    acknowledge,
    clear,
    clear_later,
    dedupe_key,
    escalate,
    may_reopen,
    raise_,
    reopen,
    repeat,
    shelve,
)
from cardume.alerts.rules import Direction, Outcome, OutcomeKind
from cardume.apps.aquarium.catalogue import AquariumRule
from cardume.apps.aquarium.views import alert_view, channel_of
from cardume.devices.liveness import DeviceStatus, Reason, Transition
from cardume.devices.registry import Device
from cardume.storage.database import Write
from cardume.wire.messages import rfc3339, stamp

CLEAR_HOLD = 60.0
"""Seconds a device has to stay online before its offline alert clears: no ping-pong."""

_WHY = {
    Reason.LWT: "its connection was lost",
    Reason.GRACEFUL: "it said goodbye",
    Reason.TIMEOUT: "it has been silent too long",
}


class Alarms:
    """The alerts of one transaction."""

    def __init__(self, tx: Write, now: float, room: str | None = None) -> None:
        self._tx = tx
        self._now = now
        self._room = room
        self.pending: dict[int, float] = {}
        """Alerts that clear by themselves unless the trouble returns, and when."""

    # -- devices ----------------------------------------------------------------------------

    async def device(self, device: Device, transition: Transition) -> None:
        """A device went offline, or came back."""
        key = dedupe_key(AlertKind.DEVICE_OFFLINE, device.aquarium_id, device_id=device.device_id)
        name = device.name or device.device_id
        where = device.aquarium_id, device.device_id
        if transition.status is DeviceStatus.OFFLINE:
            await self._raise(
                *where,
                transition.at,
                AlertKind.DEVICE_OFFLINE,
                Severity.MAJOR,
                key,
                f"{name} is offline",
                f"{name} is offline: {_WHY.get(transition.reason, transition.reason)}."
                + _noticed_late(device, transition),
            )
        elif transition.previous is DeviceStatus.OFFLINE:
            if transition.status is DeviceStatus.ONLINE:
                kind = AlertKind.DEVICE_ONLINE
                born_closed = dedupe_key(kind, device.aquarium_id, device_id=device.device_id)
                title = f"{name} is back online"
                await self._raise(
                    *where, transition.at, kind, Severity.INFO, born_closed, title, f"{title}."
                )
            await self._over(key)

    async def unreliable(self, device: Device) -> None:
        """News for its owner: the broker says that it is offline, and it speaks (row 13)."""
        kind = AlertKind.AVAILABILITY_UNRELIABLE
        key = dedupe_key(kind, device.aquarium_id, device_id=device.device_id)
        title = f"{device.name or device.device_id} retains its will but not its birth"
        message = f"{title}: publish `online` retained after each connect."
        where = device.aquarium_id, device.device_id
        await self._raise(*where, self._now, kind, Severity.INFO, key, title, message)

    async def link_down(self, aquarium_ids: Sequence[int], since: float) -> None:
        """We hear no device: one critical alert for each aquarium, one word for the room."""
        kind, title = AlertKind.HUB_LINK_DOWN, "The hub cannot hear any device"
        message = f"{title}: no link to the MQTT broker since {rfc3339(since)}."
        for id in aquarium_ids:
            key = dedupe_key(kind, id)
            await self._raise(id, None, self._now, kind, Severity.CRITICAL, key, title, message)
        if self._room is not None:
            word = {"level": Severity.CRITICAL, "message": title, "details": {"kind": kind}}
            self._tx.emit(self._room, "alert_triggered", word)

    async def _raise(
        self,
        aquarium_id: int,
        device_id: str | None,
        at: float,
        kind: AlertKind,
        severity: Severity,
        key: str,
        title: str,
        message: str,
    ) -> None:
        known = await store.latest(self._tx, key)
        if known is not None and may_reopen(known, at):
            await self._save(reopen(known, at=at, message=message))
        elif known is not None and known.is_open:
            await self._save(repeat(known, at=at))
        else:
            await self._save(
                raise_(
                    kind=kind,
                    severity=severity,
                    dedupe_key=key,
                    aquarium_id=aquarium_id,
                    device_id=device_id,
                    title=title,
                    message=message,
                    at=at,
                )
            )

    async def _over(self, key: str) -> None:
        """The trouble seems over: clear its alert after `CLEAR_HOLD`, unless it returns."""
        known = await store.latest(self._tx, key)
        if known is not None and known.is_open:
            await self._save(clear_later(known, clear_after=self._now + CLEAR_HOLD))

    # -- rules ------------------------------------------------------------------------------

    async def threshold(
        self, found: AquariumRule, row: Mapping[str, Any], outcome: Outcome
    ) -> None:
        """A rule was broken by a reading, or is kept again."""
        rule = found.rule
        key = dedupe_key(
            AlertKind.THRESHOLD, found.aquarium_id, rule_id=rule.id, sensor=str(row["sensor_id"])
        )
        known = await store.latest(self._tx, key)
        if outcome.kind is OutcomeKind.CLEARED:
            if known is not None and known.is_open:
                await self._save(clear(known, at=self._now))
            return
        value, unit = row["value"], row["unit"] or ""
        too = "low" if outcome.direction is Direction.LOW else "high"
        title = found.name or f"{rule.metric} too {too}"
        message = f"{rule.metric} is {value:g} {unit}, bound {outcome.threshold:g} {unit}".strip()
        if known is not None and known.is_open:
            await self._save(
                escalate(
                    known,
                    outcome.severity,
                    at=self._now,
                    value=value,
                    threshold=outcome.threshold,
                    message=message,
                    turned=outcome.turned,
                )
            )
        elif known is not None and may_reopen(known, self._now):
            await self._save(
                reopen(
                    known,
                    at=self._now,
                    value=value,
                    severity=outcome.severity,
                    threshold=outcome.threshold,
                    message=message,
                )
            )
        else:
            await self._save(
                raise_(
                    kind=AlertKind.THRESHOLD,
                    severity=outcome.severity,
                    dedupe_key=key,
                    aquarium_id=found.aquarium_id,
                    device_id=row["device_id"],
                    rule_id=rule.id,
                    title=title,
                    message=message,
                    at=self._now,
                    metric=rule.metric,
                    value=value,
                    threshold=outcome.threshold,
                )
            )

    # -- people -----------------------------------------------------------------------------

    async def acknowledge(self, alert: Alert, by: str, note: str | None) -> Alert:
        """Somebody knows; the second time nothing is announced."""
        return await self._save(acknowledge(alert, by=by, at=self._now, note=note))

    async def shelve(self, alert: Alert, until: float, reason: str) -> Alert:
        """No notifications before `until`."""
        return await self._save(shelve(alert, until=until, reason=reason, at=self._now))

    async def clear_all(self, reason: ClearReason, *conditions: ColumnElement[bool]) -> None:
        """Clear open alerts whose cause was taken away."""
        for alert in await store.open_where(self._tx, *conditions):
            await self._save(clear(alert, at=self._now, reason=reason))

    async def clear_due(self, alert_id: int) -> None:
        """Clear an alert whose trouble has stayed away."""
        alert = await store.get(self._tx, alert_id)
        if not alert.is_open or alert.clear_after is None:
            return
        # Farther away than it ever was put: our clock was set back since.
        if not self._now < alert.clear_after <= self._now + CLEAR_HOLD:
            await self._save(clear(alert, at=self._now))
        else:
            self.pending[alert_id] = alert.clear_after

    async def _save(self, change: Change) -> Alert:
        alert, action = change
        alert = await store.save(self._tx, alert)
        assert alert.id is not None
        if alert.clear_after is not None:
            self.pending[alert.id] = alert.clear_after
        if action is not None:
            self._announce(alert, action)
        return alert

    def _announce(self, alert: Alert, action: Action) -> None:
        channel = channel_of(alert.aquarium_id)
        if action is Action.ACK:
            self._tx.emit(channel, "alert_ack", ack_event(alert))
            return
        event = {k: v for k, v in alert_view(alert).items() if v is not None}
        self._tx.emit(channel, "alert", {**event, "action": action})
        everywhere = alert.kind is AlertKind.HUB_LINK_DOWN  # said once, where it was found
        if self._room is not None and action is Action.RAISED and not everywhere:
            self._tx.emit(self._room, "alert_triggered", room_event(alert))


def _noticed_late(device: Device, transition: Transition) -> str:
    seen = device.state.last_seen_at
    if not transition.late or seen is None:
        return ""
    return f" It happened while the hub did not hear; the last message came at {rfc3339(seen)}."


def room_event(alert: Alert) -> dict[str, Any]:
    """What a room full of people who may not see the aquarium is told of a raised alert."""
    details = {
        "alert_id": alert.id,
        "aquarium_id": alert.aquarium_id,
        "kind": alert.kind,
        "device_id": alert.device_id,
        "metric": alert.metric,
    }
    return {
        "level": alert.severity,
        "message": alert.title,
        "details": {name: value for name, value in details.items() if value is not None},
    }


def ack_event(alert: Alert) -> dict[str, Any]:
    """The data of an `alert_ack` event."""
    event = {
        "id": alert.id,
        "acked_by": alert.acked_by,
        "acked_at": stamp(alert.acked_at),
        "version": alert.version,
    }
    return event if alert.ack_note is None else {**event, "note": alert.ack_note}
