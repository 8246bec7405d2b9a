"""Rows of executions."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, select, update

from cardume.auth.identity import Identity
from cardume.errors import Refused
from cardume.storage.database import Reader, Write
from cardume.storage.tables import executions
from cardume.wire import codes


async def find(reader: Reader, execution_id: str) -> Row[Any]:
    """The execution with this id.

    Raises:
        Refused: 404.
    """
    query = select(executions).where(executions.c.execution_id == execution_id)
    row = (await reader.execute(query)).first()
    if row is None:
        raise Refused(codes.NOT_FOUND, "no such execution")
    return row


async def change(tx: Write, number: int, **values: Any) -> Row[Any]:
    """Update an execution; what it is then."""
    query = update(executions).where(executions.c.number == number).values(**values)
    return (await tx.execute(query.returning(executions))).one()


def may_write(who: Identity, created_by: str) -> bool:
    """Whether `who` may report about, and cancel, an execution of `created_by`."""
    return who.sub == created_by or who.is_admin or who.is_service


def check_writer(who: Identity, row: Row[Any]) -> None:
    """Raises `Refused`: 403."""
    if not may_write(who, row.created_by):
        raise Refused(
            codes.PERMISSION_DENIED, "its creator, services and admins may do that, nobody else"
        )
