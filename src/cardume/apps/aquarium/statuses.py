"""What is known of the life of devices: `GET …/status`, and the devices of an overview."""

from __future__ import annotations

from typing_extensions import TypedDict

from cardume.apps.aquarium.views import DeviceView, device_view
from cardume.devices.registry import Device, Registry
from cardume.wire.messages import rfc3339, stamp

FLAPPING = 4
FLAPPING_WITHIN = 900.0
"""Transitions within so many seconds that make a device a flapping one."""


class DeviceStatusView(TypedDict):
    """What is known of a device's life. `unknown`: we do not hear any device now."""

    device_id: str
    status: str
    last_known_status: str
    status_since: str
    reason: str
    last_seen_at: str | None
    offline_deadline_at: str | None
    threshold_seconds: float
    connected: bool
    hold_until: str | None
    flapping: bool
    state_version: int


class DeviceOverview(DeviceView, DeviceStatusView):
    """Both in one: whoever has this can drop events with an older `state_version`."""


def status_view(
    device: Device,
    registry: Registry,
    *,
    link_up_since: float | None,
    known: bool,
    connected: bool,
    transitions: int,
) -> DeviceStatusView:
    """The status of a device that made so many `transitions` within `FLAPPING_WITHIN`.

    It is `known` while the hub's own link is up.
    """
    state = device.state
    due = None if link_up_since is None else registry.deadline(device, link_up_since)
    return {
        "device_id": device.device_id,
        "status": state.status if known else "unknown",
        "last_known_status": state.status,
        "status_since": rfc3339(state.status_since),
        "reason": state.reason,
        "last_seen_at": stamp(state.last_seen_at),
        "offline_deadline_at": stamp(due),
        "threshold_seconds": registry.policy(device).threshold,
        "connected": connected,
        "hold_until": stamp(state.hold_until),
        "flapping": transitions >= FLAPPING,
        "state_version": state.state_version,
    }


def device_overview(device: Device, status: DeviceStatusView) -> DeviceOverview:
    return {**device_view(device, status["status"]), **status}
