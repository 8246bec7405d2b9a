"""Devices: registering them, and what is known of their life."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Query
from pydantic import Field
from sqlalchemy import delete, update
from sqlalchemy.exc import IntegrityError
from typing_extensions import TypedDict

from cardume.alerts.lifecycle import ClearReason
from cardume.apps.aquarium.app import Aquarium, CurrentAquarium
from cardume.apps.aquarium.statuses import DeviceStatusView
from cardume.apps.aquarium.views import DeviceView
from cardume.auth.secrets import new_key
from cardume.devices.names import DEVICE_ID
from cardume.devices.store import events_of, register
from cardume.errors import Refused
from cardume.storage.tables import alerts, devices
from cardume.transports.bodies import Body, Name, Number, Patch
from cardume.transports.fastapi import CurrentIdentity
from cardume.transports.paging import Cursor, Limit, Page, page, position
from cardume.transports.problems import ProblemRoute
from cardume.wire import codes
from cardume.wire.messages import rfc3339

router = APIRouter(prefix="/devices", route_class=ProblemRoute, tags=["devices"])

DeviceId = Annotated[str, Field(pattern=f"^{DEVICE_ID}$")]
Interval = Annotated[Number, Field(ge=1, le=86_400)] | None


class NewDevice(Body):
    device_id: DeviceId
    aquarium_id: int
    name: Name | None = None
    expected_interval_seconds: Interval = None


class DevicePatch(Patch):
    name: Name | None = None
    expected_interval_seconds: Interval = None


class RegisteredDevice(DeviceView):
    """With its key, which is shown this once: only a hash of it is stored."""

    key: str


class DeviceEvent(TypedDict):
    """A stored transition: of the device, or where `command_id` is not null, of a command to it.

    `state_version` counts the transitions of whichever it is.
    """

    id: int
    device_id: str
    command_id: str | None
    at: str
    status: str
    previous: str
    reason: str
    state_version: int


@router.get("")
async def list_devices(
    app: CurrentAquarium,
    who: CurrentIdentity,
    aquarium_id: Annotated[int | None, Query()] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[DeviceView]:
    """The devices of the aquariums you may see."""
    after = position(cursor, str) or ""
    await app.devices.discover()
    chosen = app.catalogue.chosen(who, aquarium_id)
    seen = [d for d in app.devices.all() if d.aquarium_id in chosen and d.device_id > after]
    seen.sort(key=lambda device: device.device_id)
    views = [app.device_view(device) for device in seen[: limit + 1]]
    return page(views, limit, lambda device: device["device_id"])


@router.post("", status_code=201)
async def register_device(
    body: NewDevice, app: CurrentAquarium, who: CurrentIdentity
) -> RegisteredDevice:
    """Answers the device's key, this once. It logs in over MQTT with its id and this key."""
    key = new_key()
    try:
        async with app.storage.write() as tx:
            app.catalogue.check_writer(who, body.aquarium_id)
            device = await register(
                tx,
                device_id=body.device_id,
                aquarium_id=body.aquarium_id,
                key=key,
                now=app.hub.clock.now(),
                name=body.name,
                expected_interval=body.expected_interval_seconds,
            )
            tx.on_commit(lambda: app.devices.put(device))
    except IntegrityError:
        raise Refused(codes.CONFLICT, f"device {body.device_id} is registered already") from None
    return {**app.device_view(device), "key": key}


@router.get("/{device_id}")
async def get_device(device_id: str, app: CurrentAquarium, who: CurrentIdentity) -> DeviceView:
    return app.device_view(await app.catalogue.find_device(who, device_id))


@router.patch("/{device_id}")
async def update_device(
    device_id: str, body: DevicePatch, app: CurrentAquarium, who: CurrentIdentity
) -> DeviceView:
    """Members that are sent are changed, also to null. A new interval counts at once."""
    sent = body.model_dump(exclude_unset=True)
    values = {_COLUMNS[name]: value for name, value in sent.items()}
    await app.devices.find(device_id)
    async with app.storage.write() as tx:
        device = app.catalogue.device(who, device_id)
        app.catalogue.check_writer(who, device.aquarium_id)
        if values:
            same = devices.c.device_id == device_id
            await tx.execute(update(devices).where(same).values(**values))
            tx.on_commit(lambda: _changed(app, device_id, values))
    return app.device_view(await app.catalogue.find_device(who, device_id))


@router.delete("/{device_id}", status_code=204)
async def delete_device(device_id: str, app: CurrentAquarium, who: CurrentIdentity) -> None:
    """Its readings stay with the aquarium; its key opens nothing any more."""
    await app.devices.find(device_id)
    async with app.storage.write() as tx:
        device = app.catalogue.device(who, device_id)
        app.catalogue.check_owner(who, device.aquarium_id)
        changes = app.ingest.changes(tx)
        await changes.alarms.clear_all(ClearReason.DEVICE_DELETED, alerts.c.device_id == device_id)
        await tx.execute(delete(devices).where(devices.c.device_id == device_id))
        tx.on_commit(lambda: app.forget_device(device_id))


@router.get("/{device_id}/status")
async def get_status(
    device_id: str, app: CurrentAquarium, who: CurrentIdentity
) -> DeviceStatusView:
    """Alive, silent, asleep; since when, why, and when its silence will mean something."""
    device = await app.catalogue.find_device(who, device_id)
    async with app.storage.read() as connection:
        return (await app.statuses(connection, [device]))[0]


@router.get("/{device_id}/events")
async def list_events(
    device_id: str,
    app: CurrentAquarium,
    who: CurrentIdentity,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[DeviceEvent]:
    """Stored transitions, the newest first."""
    await app.catalogue.find_device(who, device_id)
    before = position(cursor, int)
    async with app.storage.read() as connection:
        rows = await events_of(connection, device_id, before, limit + 1)
    events: list[DeviceEvent] = [
        {
            "id": row["id"],
            "device_id": row["device_id"],
            "command_id": row["command_id"],
            "at": rfc3339(row["at"]),
            "status": row["status"],
            "previous": row["previous"],
            "reason": row["reason"],
            "state_version": row["state_version"],
        }
        for row in rows
    ]
    return page(events, limit, lambda event: event["id"])


_COLUMNS = {"name": "name", "expected_interval_seconds": "expected_interval"}


def _changed(app: Aquarium, device_id: str, values: dict[str, object]) -> None:
    device = app.devices.get(device_id)
    if device is not None:
        app.devices.put(msgspec.structs.replace(device, **values))
        app.watch.heard([device_id])
