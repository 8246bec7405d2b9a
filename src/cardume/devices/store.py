"""Device rows and their history. Every write belongs to the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import bindparam, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from cardume.auth.secrets import hash_key
from cardume.devices.liveness import DeviceState, Transition
from cardume.devices.registry import Device
from cardume.storage.database import Write
from cardume.storage.tables import device_events, devices

_SEEN = (
    update(devices)
    .where(devices.c.device_id == bindparam("id"))
    .values(
        last_seen_at=bindparam("seen"),
        hold_until=bindparam("hold"),
        hold_reason=bindparam("held_for"),
        connected=bindparam("hint"),
        session=bindparam("named"),
        wake_in=bindparam("wakes"),
        doubts=bindparam("wrong"),
        report=bindparam("told"),
    )
)


async def register(
    tx: Write,
    *,
    device_id: str,
    aquarium_id: int,
    key: str,
    now: float,
    name: str | None = None,
    expected_interval: float | None = None,
) -> Device:
    """A new device; only a hash of its key is kept.

    Raises:
        sqlalchemy.exc.IntegrityError: the id is taken, or there is no such aquarium.
    """
    device = Device(
        device_id=device_id,
        aquarium_id=aquarium_id,
        name=name,
        key_hash=hash_key(key),
        expected_interval=expected_interval,
        report=None,
        created_at=now,
        state=DeviceState(status_since=now),
    )
    values = msgspec.structs.asdict(device)
    del values["stored_seen"]
    state = msgspec.structs.asdict(values.pop("state"))
    await tx.execute(insert(devices).values(**values, **state))
    return device


async def store_transition(
    tx: Write, device: Device, before: DeviceState, after: DeviceState, transition: Transition
) -> bool:
    """Keep a change of status, and that it happened.

    Compare-and-set: False if the row is not the one we stepped from, or somebody has stored a
    newer sign of life than we know of. A stale writer must not declare a living device dead.
    """
    # What we stored ourselves may lie ahead of what we know: our clock was put back since.
    heard = max(after.last_seen_at or 0.0, device.stored_seen or 0.0)
    same = [
        devices.c.device_id == device.device_id,
        devices.c.state_version == before.state_version,
        or_(devices.c.last_seen_at.is_(None), devices.c.last_seen_at <= heard),
    ]
    values = msgspec.structs.asdict(after)
    changed = await tx.execute(update(devices).where(*same).values(**values))
    if changed.rowcount != 1:
        return False
    await tx.execute(
        insert(device_events).values(
            device_id=device.device_id,
            aquarium_id=device.aquarium_id,
            at=transition.at,
            status=transition.status,
            previous=transition.previous,
            reason=transition.reason,
            state_version=after.state_version,
        )
    )
    return True


async def stored(tx: Write, device_id: str, now: float) -> Device | None:
    """The device as the database has it."""
    query = select(devices).where(devices.c.device_id == device_id)
    row = (await tx.execute(query)).first()
    return None if row is None else Device.from_row(row, now)


async def store_signs_of_life(tx: Write, seen: list[Device]) -> None:
    """Keep what changed without a transition: when it was heard, holds, hints, its report."""
    if seen:
        await tx.execute(_SEEN, [_sign(device) for device in seen])


def _sign(device: Device) -> dict[str, Any]:
    state = device.state
    return {
        "id": device.device_id,
        "seen": state.last_seen_at,
        "hold": state.hold_until,
        "held_for": state.hold_reason,
        "hint": state.connected,
        "named": state.session,
        "wakes": state.wake_in,
        "wrong": state.doubts,
        "told": device.report,
    }


async def events_of(
    connection: AsyncConnection, device_id: str, before: int | None, limit: int
) -> list[dict[str, Any]]:
    """Stored transitions, the newest first; `before` is the id of the last one already seen."""
    query = select(device_events).where(device_events.c.device_id == device_id)
    if before is not None:
        query = query.where(device_events.c.id < before)
    rows = await connection.execute(query.order_by(device_events.c.id.desc()).limit(limit))
    return [dict(row._mapping) for row in rows]


async def transitions_since(
    connection: AsyncConnection, among: Sequence[Device], since: float
) -> dict[str, int]:
    """How many transitions devices made since `since`; they tell a flapping one.

    It may tell of others in the aquariums of those that are `among`.
    """
    # A large aquarium has more devices than a statement parameters (32,766 of SQLite's).
    if len(among) == 1:
        of = devices.c.device_id == among[0].device_id
    else:
        of = devices.c.aquarium_id.in_({device.aquarium_id for device in among})
    query = (
        select(device_events.c.device_id, func.count())
        .where(
            device_events.c.device_id.in_(select(devices.c.device_id).where(of)),
            device_events.c.at >= since,
            device_events.c.command_id.is_(None),
        )
        .group_by(device_events.c.device_id)
    )
    return {device_id: count for device_id, count in await connection.execute(query)}
