"""Rows of commands, and what each of their steps leaves behind: history and an event."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from cardume.apps.aquarium.commands_model import COMMAND, OPEN, CommandView, command_view
from cardume.apps.aquarium.views import channel_of
from cardume.storage.database import Reader, Write
from cardume.storage.tables import device_commands, device_events, devices

_TABLE = device_commands
_OPEN = _TABLE.c.status.in_(OPEN)


async def find(reader: Reader, device_id: str, id: str) -> Row[Any] | None:
    query = select(_TABLE).where(_TABLE.c.device_id == device_id, _TABLE.c.id == id)
    return (await reader.execute(query)).one_or_none()


async def by_number(reader: Reader, numbers: Sequence[int]) -> Sequence[Row[Any]]:
    """The open ones of these, the oldest first."""
    query = select(_TABLE).where(_TABLE.c.number.in_(numbers), _OPEN)
    return (await reader.execute(query.order_by(_TABLE.c.number))).all()


async def all_open(connection: AsyncConnection) -> Sequence[Row[Any]]:
    """Number, device, status and expiry of what is open, the oldest first."""
    columns = [_TABLE.c.number, _TABLE.c.device_id, _TABLE.c.status, _TABLE.c.expires_at]
    query = select(*columns).where(_OPEN).order_by(_TABLE.c.number)
    return (await connection.execute(query)).all()


async def count_open(tx: Write, device_id: str) -> int:
    query = select(func.count()).where(_TABLE.c.device_id == device_id, _OPEN)
    count: int = (await tx.execute(query)).scalar_one()
    return count


async def page_of(
    connection: AsyncConnection,
    where: Sequence[ColumnElement[bool]],
    limit: int,
) -> Sequence[Row[Any]]:
    """The newest first."""
    query = select(_TABLE).where(*where).order_by(_TABLE.c.number.desc()).limit(limit)
    return (await connection.execute(query)).all()


async def add(tx: Write, **values: Any) -> tuple[Row[Any], CommandView]:
    """A new command, queued."""
    statement = insert(_TABLE).values(status="queued", version=1, **values).returning(_TABLE)
    row = (await tx.execute(statement)).one()
    return row, await _say(tx, row, "none", "created", row.created_at)


async def move(
    tx: Write, row: Row[Any], step: str, reason: str, now: float, **values: Any
) -> Row[Any]:
    """Store a step from `row`, keep it in the device's history, announce it.

    Raises:
        Refused: 409, the table of transitions has no such step.
    """
    values |= {"status": COMMAND.after(step, row.status), "version": row.version + 1}
    if COMMAND.is_final(values["status"]):
        values["finished_at"] = now
    statement = update(_TABLE).where(_TABLE.c.number == row.number).values(values)
    after = (await tx.execute(statement.returning(_TABLE))).one()
    await _say(tx, after, row.status, reason, now)
    return after


async def _say(tx: Write, row: Row[Any], previous: str, reason: str, at: float) -> CommandView:
    owner = select(devices.c.aquarium_id).where(devices.c.device_id == row.device_id)
    aquarium_id: int = (await tx.execute(owner)).scalar_one()
    await tx.execute(
        insert(device_events).values(
            device_id=row.device_id,
            aquarium_id=aquarium_id,
            at=at,
            status=row.status,
            previous=previous,
            reason=reason,
            state_version=row.version,
            command_id=row.id,
        )
    )
    view = command_view(row, aquarium_id)
    key = f"command/{row.device_id}/{row.id}"
    tx.emit(channel_of(aquarium_id), "device_command", view, key=key)
    return view
