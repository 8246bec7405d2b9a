"""How the app's things look outside: one shape for the event and for the HTTP answer."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType
from typing_extensions import TypedDict

from cardume.alerts.lifecycle import Alert
from cardume.devices.liveness import DeviceState, Transition
from cardume.devices.registry import Device
from cardume.wire.messages import rfc3339, stamp


def channel_of(aquarium_id: int) -> str:
    """Where everything about an aquarium is announced."""
    return f"aquarium:{aquarium_id}"


class ReadingEvent(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The data of a `reading` event: built for each, so a struct, not a dict."""

    id: str
    aquarium_id: int
    device_id: str | UnsetType = UNSET
    sensor_id: int
    metric: str
    value: float
    unit: str | None
    measured_at: str
    received_at: str
    origin: str
    entered_by: str | UnsetType = UNSET
    note: str | UnsetType = UNSET


def reading_id(number: int) -> str:
    """The opaque id of a reading."""
    return f"r{number:x}"


def reading_event(row: dict[str, Any]) -> ReadingEvent:
    """The event of a stored reading."""
    received = rfc3339(row["received_at"])
    measured = row["measured_at"]
    return ReadingEvent(
        id=reading_id(row["id"]),
        aquarium_id=row["aquarium_id"],
        device_id=row["device_id"] or UNSET,
        sensor_id=row["sensor_id"],
        metric=row["metric"],
        value=row["value"],
        unit=row["unit"],
        measured_at=received if measured == row["received_at"] else rfc3339(measured),
        received_at=received,
        origin=row["origin"],
        entered_by=row["entered_by"] or UNSET,
        note=row["note"] or UNSET,
    )


class DeviceStatusEvent(TypedDict):
    """The data of a `device_status` event."""

    device_id: str
    aquarium_id: int
    status: str
    previous: str
    reason: str
    status_since: str
    last_seen_at: str | None
    state_version: int


def device_status_event(
    device: Device, state: DeviceState, transition: Transition
) -> DeviceStatusEvent:
    return {
        "device_id": device.device_id,
        "aquarium_id": device.aquarium_id,
        "status": transition.status,
        "previous": transition.previous,
        "reason": transition.reason,
        "status_since": rfc3339(state.status_since),
        "last_seen_at": stamp(state.last_seen_at),
        "state_version": state.state_version,
    }


class DeviceView(TypedDict):
    """A device as its owner knows it; never its key."""

    device_id: str
    aquarium_id: int
    name: str | None
    expected_interval_seconds: float | None
    status: str
    last_seen_at: str | None
    report: dict[str, Any] | None
    created_at: str


def device_view(device: Device, status: str) -> DeviceView:
    return {
        "device_id": device.device_id,
        "aquarium_id": device.aquarium_id,
        "name": device.name,
        "expected_interval_seconds": device.interval,
        "status": status,
        "last_seen_at": stamp(device.state.last_seen_at),
        "report": device.report,
        "created_at": rfc3339(device.created_at),
    }


class AlertView(TypedDict):
    """An alert. `state` is active_unack, active_ack, cleared_unack or cleared_ack."""

    id: int
    aquarium_id: int
    device_id: str | None
    rule_id: int | None
    kind: str
    severity: str
    state: str
    title: str
    message: str
    metric: str | None
    value: float | None
    threshold: float | None
    peak_value: float | None
    occurrences: int
    started_at: str
    last_occurred_at: str
    cleared_at: str | None
    clear_reason: str | None
    acked_at: str | None
    acked_by: str | None
    ack_note: str | None
    shelved_until: str | None
    shelve_reason: str | None
    version: int


def alert_view(alert: Alert) -> AlertView:
    assert alert.id is not None
    return {
        "id": alert.id,
        "aquarium_id": alert.aquarium_id,
        "device_id": alert.device_id,
        "rule_id": alert.rule_id,
        "kind": alert.kind,
        "severity": alert.severity,
        "state": alert.state,
        "title": alert.title,
        "message": alert.message,
        "metric": alert.metric,
        "value": alert.value,
        "threshold": alert.threshold,
        "peak_value": alert.peak_value,
        "occurrences": alert.occurrences,
        "started_at": rfc3339(alert.started_at),
        "last_occurred_at": rfc3339(alert.last_occurred_at),
        "cleared_at": stamp(alert.cleared_at),
        "clear_reason": alert.clear_reason,
        "acked_at": stamp(alert.acked_at),
        "acked_by": alert.acked_by,
        "ack_note": alert.ack_note,
        "shelved_until": stamp(alert.shelved_until),
        "shelve_reason": alert.shelve_reason,
        "version": alert.version,
    }
