"""Alert rows. Every write belongs to the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Row, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from cardume.alerts.lifecycle import Alert
from cardume.errors import Refused
from cardume.storage.database import Write
from cardume.storage.tables import alerts
from cardume.wire import codes

_FIELDS = [alerts.c[name] for name in Alert.__struct_fields__]


def _alert(row: Row[Any]) -> Alert:
    # Not `_mapping`: its names are a kind of str that msgspec does not take for one.
    values = dict(zip(Alert.__struct_fields__, row, strict=True))
    return msgspec.convert(values, Alert, strict=False)


async def latest(tx: Write, dedupe_key: str) -> Alert | None:
    """The newest alert of a trouble: the open one, or the one that may be reopened."""
    query = select(*_FIELDS).where(alerts.c.dedupe_key == dedupe_key)
    row = (await tx.execute(query.order_by(alerts.c.id.desc()).limit(1))).first()
    return None if row is None else _alert(row)


async def get(tx: Write, alert_id: int) -> Alert:
    """The alert with this id.

    Raises:
        Refused: 404.
    """
    row = (await tx.execute(select(*_FIELDS).where(alerts.c.id == alert_id))).first()
    if row is None:
        raise Refused(codes.NOT_FOUND, f"no alert {alert_id}")
    return _alert(row)


async def open_where(tx: Write, *conditions: ColumnElement[bool]) -> list[Alert]:
    """Open alerts that meet all `conditions`."""
    query = select(*_FIELDS).where(alerts.c.cleared_at.is_(None), *conditions)
    return [_alert(row) for row in await tx.execute(query)]


async def save(tx: Write, alert: Alert) -> Alert:
    """Insert or update; the alert with its id."""
    values = msgspec.structs.asdict(alert)
    id = values.pop("id")
    if id is not None:
        await tx.execute(update(alerts).where(alerts.c.id == id).values(**values))
        return alert
    key = (await tx.execute(insert(alerts).values(**values))).inserted_primary_key
    assert key is not None
    return msgspec.structs.replace(alert, id=key[0])


async def find(
    connection: AsyncConnection, conditions: Sequence[ColumnElement[bool]], limit: int
) -> list[Alert]:
    """Alerts that meet all `conditions`, the newest first."""
    query = select(*_FIELDS).where(*conditions).order_by(alerts.c.id.desc()).limit(limit)
    return [_alert(row) for row in await connection.execute(query)]


async def pending_clears(connection: AsyncConnection) -> list[tuple[int, float]]:
    """Ids of open alerts that are to be cleared by themselves, and when."""
    query = select(alerts.c.id, alerts.c.clear_after).where(
        alerts.c.cleared_at.is_(None), alerts.c.clear_after.is_not(None)
    )
    return [(row.id, row.clear_after) for row in await connection.execute(query)]
