from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from cardume.storage import announcer
from cardume.storage.database import Storage
from cardume.storage.statements import insert_new
from cardume.storage.tables import members, users
from tests.storage.conftest import Press
from tests.support.databases import on_both

pytestmark = on_both

_NEW_USERS = insert_new(users)


async def test_rows_go_in_by_the_order_of_the_columns_and_only_new_ones_count(
    storage: Storage,
) -> None:
    async with storage.write() as tx:
        assert await tx.execute_rows(_NEW_USERS, [("ana", "hash", "admin", 1.0)]) == 1
    async with storage.write() as tx:
        rows = [("ana", "other", None, 9.0), ("bo", "hash", None, 2.0), ("bo", "x", None, 3.0)]
        assert await tx.execute_rows(_NEW_USERS, rows) == 1
    async with storage.read() as connection:
        found = (await connection.execute(select(users).order_by(users.c.name))).mappings().all()
    assert [dict(row) for row in found] == [
        {"name": "ana", "password_hash": "hash", "role": "admin", "created_at": 1.0},
        {"name": "bo", "password_hash": "hash", "role": None, "created_at": 2.0},
    ]


async def test_a_row_that_breaks_a_constraint_fails_as_any_other_statement(
    storage: Storage,
) -> None:
    with pytest.raises(IntegrityError):
        async with storage.write() as tx:
            await tx.execute_rows(insert_new(members), [(4711, "ana", "owner")])


async def test_others_have_their_turn_while_a_large_batch_is_announced(
    storage: Storage, press: Press
) -> None:
    """Else a browser that keeps up would look slow: everything reaches its outbox in one turn."""
    most = 0

    async def look() -> None:
        nonlocal most
        before = 0
        while True:
            most = max(most, len(press.published) - before)
            before = len(press.published)
            await asyncio.sleep(0)

    watcher = asyncio.create_task(look())
    async with storage.write() as tx:
        for number in range(200):
            tx.emit("room:1", "reading", number)
    watcher.cancel()
    assert press.data == list(range(200))
    assert 0 < most <= announcer.EMITS_PER_TURN
