from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from sqlalchemy import func, insert, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from cardume.errors import Unavailable
from cardume.storage.database import Storage
from cardume.storage.tables import members, users
from tests.storage.conftest import Press
from tests.support.databases import on_both
from tests.support.waiting import until

pytestmark = on_both


def user(name: str) -> Any:
    return insert(users).values(name=name, password_hash="x", created_at=0.0)


async def names(storage: Storage) -> list[str]:
    async with storage.read() as connection:
        return list(await connection.scalars(select(users.c.name).order_by(users.c.name)))


async def test_what_is_emitted_is_published_after_the_commit_in_order(
    storage: Storage, press: Press
) -> None:
    seen: list[object] = []
    async with storage.write() as tx:
        await tx.execute(user("ana"))
        tx.emit("room:1", "first", {"n": 1}, key="k")
        tx.emit("room:1", "second", {"n": 2})
        tx.on_commit(lambda: seen.append(list(press.published)))
        assert press.entered == 0
    assert seen == [[]]  # callbacks run between the commit and the first announcement
    assert press.published == [
        ("room:1", "first", {"n": 1}, "k"),
        ("room:1", "second", {"n": 2}, None),
    ]
    assert await names(storage) == ["ana"]


async def test_an_announcement_is_made_of_what_a_reader_already_sees(
    storage: Storage, press: Press
) -> None:
    press.open.clear()

    async def change() -> None:
        async with storage.write() as tx:
            await tx.execute(user("ana"))
            tx.emit("room:1", "x", 1)

    task = asyncio.create_task(change())
    await until(lambda: press.entered)
    assert await names(storage) == ["ana"]
    press.open.set()
    await task


async def test_a_failing_body_keeps_and_publishes_nothing(storage: Storage, press: Press) -> None:
    called: list[int] = []

    async def fail() -> None:
        async with storage.write() as tx:
            await tx.execute(user("ana"))
            tx.emit("room:1", "x", 1)
            tx.on_commit(lambda: called.append(1))
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    assert (press.entered, called, await names(storage)) == (0, [], [])
    assert storage.healthy


async def test_two_transactions_run_one_after_the_other_and_publish_in_that_order(
    storage: Storage, press: Press
) -> None:
    inside = 0

    async def change(number: int) -> None:
        nonlocal inside
        async with storage.write() as tx:
            inside += 1
            assert inside == 1
            count = (await tx.execute(select(func.count()).select_from(users))).scalar_one()
            await asyncio.sleep(0)
            await tx.execute(user(f"u{number}"))
            tx.emit("room:1", "x", count)
            inside -= 1

    await asyncio.gather(*(change(number) for number in range(12)))
    assert press.data == list(range(12))


async def test_the_next_commit_waits_for_the_announcements_of_the_one_before(
    storage: Storage, press: Press
) -> None:
    press.open.clear()

    async def change(number: int) -> None:
        async with storage.write() as tx:
            await tx.execute(user(f"u{number}"))
            tx.emit("room:1", "x", number)

    first = asyncio.create_task(change(1))
    await until(lambda: press.entered)
    second = asyncio.create_task(change(2))
    for _ in range(50):
        await asyncio.sleep(0)
    assert await names(storage) == ["u1"]
    press.open.set()
    await asyncio.gather(first, second)
    assert press.data == [1, 2]


async def test_a_cancellation_after_the_commit_loses_no_announcement(
    storage: Storage, press: Press
) -> None:
    press.open.clear()

    async def change() -> None:
        async with storage.write() as tx:
            await tx.execute(user("ana"))
            tx.emit("room:1", "x", 1)
            tx.emit("room:1", "x", 2)

    task = asyncio.create_task(change())
    await until(lambda: press.entered)
    for _ in range(3):  # impatient
        task.cancel()
        await asyncio.sleep(0)
    press.open.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert press.data == [1, 2]
    assert await names(storage) == ["ana"]


async def test_a_cancellation_before_the_commit_keeps_nothing(
    storage: Storage, press: Press
) -> None:
    written = asyncio.Event()

    async def change() -> None:
        async with storage.write() as tx:
            await tx.execute(user("ana"))
            tx.emit("room:1", "x", 1)
            written.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(change())
    await written.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await names(storage), press.entered) == ([], 0)
    async with storage.write() as tx:  # the writer is free again
        await tx.execute(user("eva"))
    assert await names(storage) == ["eva"]


DEFER = {
    "sqlite": "PRAGMA defer_foreign_keys=ON",
    "postgresql": "ALTER TABLE members ALTER CONSTRAINT fk_members_aquarium_id "
    "DEFERRABLE INITIALLY DEFERRED",
}


async def test_a_cancellation_counts_more_than_the_failure_of_the_commit(
    storage: Storage, dialect: str
) -> None:
    """Or whoever retries upon `Unavailable` could not be stopped while the disk is full."""
    started, release = asyncio.Event(), asyncio.Event()

    async def change() -> None:
        async with storage.write() as tx:
            await tx.execute(text(DEFER[dialect]))
            await tx.execute(insert(members).values(aquarium_id=9, sub="ana", role="owner"))
            started.set()
            await release.wait()

    task = asyncio.create_task(change())
    await started.wait()
    release.set()
    await asyncio.sleep(0)  # on its way into the commit, which the foreign key will refuse
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_violated_constraint_passes_through(storage: Storage, press: Press) -> None:
    async def add() -> None:
        async with storage.write() as tx:
            tx.emit("room:1", "x", 1)
            await tx.execute(user("ana"))

    await add()
    with pytest.raises(IntegrityError):
        await add()
    assert press.entered == 1
    assert storage.healthy


async def test_foreign_keys_are_enforced(storage: Storage) -> None:
    with pytest.raises(IntegrityError):
        async with storage.write() as tx:
            await tx.execute(insert(members).values(aquarium_id=9, sub="ana", role="owner"))


async def test_a_bug_in_a_statement_is_not_taken_for_a_full_disk(storage: Storage) -> None:
    with pytest.raises(DBAPIError, match=r"no such table|does not exist"):
        async with storage.write() as tx:
            await tx.execute(text("INSERT INTO nowhere VALUES (1)"))
    with pytest.raises(DBAPIError, match=r"no such table|does not exist"):
        async with storage.read() as connection:
            await connection.execute(text("SELECT * FROM nowhere"))
    assert storage.healthy


async def test_a_publisher_that_fails_does_not_undo_what_is_kept(
    storage: Storage, press: Press, caplog: pytest.LogCaptureFixture
) -> None:
    for fault in (Unavailable("away"), RuntimeError("a bug")):
        press.fault = fault
        with caplog.at_level(logging.ERROR):
            async with storage.write() as tx:
                await tx.execute(user(type(fault).__name__))
                tx.emit("room:1", "x", {"secret": "payload"})
    assert await names(storage) == ["RuntimeError", "Unavailable"]
    assert caplog.text.count("a committed event was not published") == 2
    assert "payload" not in caplog.text


async def test_readers_can_change_nothing(storage: Storage) -> None:
    with pytest.raises(Unavailable) as caught:
        async with storage.read() as connection:
            await connection.execute(user("ana"))
    assert isinstance(caught.value.__cause__, DBAPIError)
    assert await names(storage) == []


async def test_readers_do_not_wait_for_the_writer(storage: Storage) -> None:
    async with storage.write() as tx:
        await tx.execute(user("ana"))
        assert await names(storage) == []  # answers, and sees what is committed


async def test_a_write_waits_for_another_process_that_writes(
    storage: Storage, database_url: str, press: Press
) -> None:
    async with Storage(database_url, press) as other:
        had_the_turn: list[str] = []

        async def change() -> None:
            async with storage.write() as tx:
                had_the_turn.append("ours")
                await tx.execute(user("ours"))

        async with storage.write():
            pass  # it is connected, so nothing else holds it up
        async with other.write() as tx:
            waiting = asyncio.create_task(change())
            for _ in range(30):  # time enough to come in, if it could
                await tx.execute(select(users))
            had_the_turn.append("other")
        await waiting
    assert had_the_turn == ["other", "ours"]
    assert await names(storage) == ["ours"]


async def test_it_may_be_entered_again_and_closes_with_the_last(
    database_url: str, press: Press
) -> None:
    storage = Storage(database_url, press)
    async with storage:
        async with storage:
            pass
        assert await names(storage) == []
    async with storage:
        assert await names(storage) == []


async def test_what_follows_a_commit_may_fail_and_it_is_announced_all_the_same(
    storage: Storage, press: Press, caplog: pytest.LogCaptureFixture
) -> None:
    async with storage.write() as tx:
        await tx.execute(user("ana"))
        tx.on_commit({}.popitem)
        tx.emit("room:1", "x", 1)
    assert (press.data, await names(storage)) == ([1], ["ana"])
    assert "what follows a commit failed" in caplog.text


async def test_a_closed_database_is_unavailable(database_url: str, press: Press) -> None:
    async with Storage(database_url, press) as storage:
        pass
    with pytest.raises(Unavailable, match="closed"):
        async with storage.write():
            pass
    with pytest.raises(Unavailable, match="closed"):
        async with storage.read():
            pass
