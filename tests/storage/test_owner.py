"""One owner per database: who is refused, who takes over, and who may write no more."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import event, insert, select, update

from cardume.errors import Unavailable
from cardume.storage.database import Storage
from cardume.storage.owned import OwnedStorage
from cardume.storage.owner import (
    Owned,
    Owner,
    beat_every,
    is_alive,
    look,
    patience,
    watch_at_least,
)
from cardume.storage.process import Process, is_running, started, this_process
from cardume.storage.tables import ownership, users
from cardume.storage.urls import backend_for
from cardume.testing import FakeClock
from cardume.testing.clock import settle
from tests.storage.conftest import Press
from tests.support.databases import on_both, sqlite_url
from tests.support.waiting import until

LEASE = 20.0
HERE = this_process()


def elsewhere(name: str) -> Process:
    """A process into whose machine nobody can look."""
    return Process(name, 1, f"boot of {name}", "", "")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def url(database_url: str) -> str:
    return database_url


def owned(url: str, clock: FakeClock, process: Process | None = None) -> OwnedStorage:
    return OwnedStorage(url, Press(), clock, lease=LEASE, process=process)


async def found(url: str) -> Owner | None:
    return await look(backend_for(url))


async def add(storage: Storage, name: str) -> None:
    async with storage.write() as tx:
        await tx.execute(insert(users).values(name=name, password_hash="x", created_at=0.0))


async def names(storage: Storage) -> list[str]:
    async with storage.read() as connection:
        return list(await connection.scalars(select(users.c.name).order_by(users.c.name)))


@asynccontextmanager
async def left_behind(url: str, clock: FakeClock, process: Process) -> AsyncIterator[OwnedStorage]:
    """A storage that is open and beats no more, as if its process hung."""
    storage = owned(url, clock, process)
    async with storage:
        assert storage._beating is not None
        storage._beating.cancel()
        yield storage


# -- who is refused -------------------------------------------------------------------------


@on_both
async def test_a_second_one_is_refused_and_told_who_has_it(url: str, clock: FakeClock) -> None:
    first = owned(url, clock)
    first.address = "http://127.0.0.1:8000"
    async with first:
        with pytest.raises(Owned, match="stop that one") as caught:
            await owned(url, clock).open()
        line = str(caught.value)
        for part in (HERE.host, f"pid {os.getpid()}", first.address, "since 20", "0 s ago"):
            assert part in line
        assert "\n" not in line
        await add(first, "ana")  # and nothing has happened to the first
    assert await found(url) is None
    async with owned(url, clock) as second:
        assert await names(second) == ["ana"]


async def test_it_is_refused_before_it_changes_anything(tmp_path: Path, clock: FakeClock) -> None:
    """A newer Cardume would bring the schema up to date under the feet of the one that runs."""
    path = tmp_path / "tank.db"
    async with owned(sqlite_url(path), clock):
        before = contents(path)
        with pytest.raises(Owned):
            await owned(sqlite_url(path), clock).open()
        assert contents(path) == before


def contents(path: Path) -> list[bytes]:
    return [file.read_bytes() for file in (path, path.with_name(f"{path.name}-wal"))]


async def test_an_owner_whose_process_is_gone_is_followed_at_once(
    url: str, clock: FakeClock
) -> None:
    command = [sys.executable, "-c", "input()"]
    child = subprocess.Popen(command, stdin=subprocess.PIPE)  # noqa: ASYNC220 - it only waits
    await until(lambda: started(child.pid))
    process = msgspec.structs.replace(HERE, pid=child.pid, started=started(child.pid) or "")
    async with left_behind(url, clock, process) as first:
        with pytest.raises(Owned):
            await owned(url, clock).open()
        child.kill()
        await until(lambda: not is_running(process))  # a zombie already, until it is waited for
        async with owned(url, clock) as second:
            await add(second, "ana")
        child.communicate()
        await clock.advance(watch_at_least(LEASE))
        with pytest.raises(Unavailable):
            await add(first, "eva")


async def test_one_that_beats_somewhere_else_is_watched_and_left_alone(
    url: str, clock: FakeClock
) -> None:
    async with owned(url, clock, elsewhere("reef")):
        second = owned(url, clock, elsewhere("sump"))
        opening = asyncio.create_task(second.open())
        await passing(clock, opening, living=2)
        with pytest.raises(Owned, match="host reef"):
            await opening
        assert clock.monotonic() < LEASE  # the next heartbeat is enough to know


@on_both
async def test_one_that_is_dead_somewhere_else_is_followed_after_its_lease(
    url: str, clock: FakeClock
) -> None:
    async with left_behind(url, clock, elsewhere("reef")):
        second = owned(url, clock, elsewhere("sump"))
        opening = asyncio.create_task(second.open())
        await passing(clock, opening, limit=LEASE - 1)
        assert not opening.done()
        await passing(clock, opening)
        await opening
        assert clock.monotonic() >= LEASE - 1
        await second.close()


async def passing(
    clock: FakeClock, task: asyncio.Task[Any], limit: float = 60.0, living: int = 1
) -> None:
    """Let time pass in small steps until the task is done.

    The next step comes when all who are `living` wait for it: what they ask the database takes
    none of that time, however long it takes here.
    """
    end = clock.monotonic() + limit
    while not task.done() and clock.monotonic() < end:
        await clock.advance(0.5)
        await until(lambda: task.done() or waiting(clock) >= living)


def waiting(clock: FakeClock) -> int:
    return sum(not timer.cancelled for _, _, timer in clock._timers)


@on_both
async def test_of_two_that_start_at_the_same_time_one_gets_it(url: str, clock: FakeClock) -> None:
    storages = [owned(url, clock) for _ in range(4)]
    results = await asyncio.gather(*(s.open() for s in storages), return_exceptions=True)
    assert [type(result) for result in results if result is not None] == [Owned] * 3
    for storage in storages:
        await storage.close()
    assert await found(url) is None


def owner(process: Process, age: float) -> Owner:
    return Owner(token="t", process=process, since=0.0, beat=1, age=age, lease=LEASE, address=None)


GONE = msgspec.structs.replace(HERE, started="1")
REBOOTED = msgspec.structs.replace(HERE, boot="before the power cut")
CONTAINER = msgspec.structs.replace(HERE, space="pid:[1]", pid=1)


@pytest.mark.parametrize(
    ("process", "age", "wait"),
    [
        (HERE, 1.0, None),
        (HERE, 11.0, 9.0),  # there, but silent: it may hang
        (HERE, 3600.0, 7.5),  # somebody may have set the clock, or the laptop slept
        (HERE, -3600.0, 20.0),
        (GONE, 0.0, 0.0),
        (REBOOTED, 0.0, 0.0),
        (CONTAINER, 0.0, 20.0),
        (CONTAINER, 19.0, 7.5),
    ],
)
def test_how_long_an_owner_is_watched(process: Process, age: float, wait: float | None) -> None:
    assert patience(owner(process, age), HERE, one_machine=True) == wait


def test_the_other_boot_of_a_server_far_away_says_nothing() -> None:
    assert patience(owner(REBOOTED, 1.0), HERE, one_machine=False) == 19.0


def test_a_command_believes_a_lease_that_has_not_ended() -> None:
    assert is_alive(owner(CONTAINER, 19.0), HERE, one_machine=True)
    assert not is_alive(owner(CONTAINER, 21.0), HERE, one_machine=True)
    assert is_alive(owner(HERE, 1.0), HERE, one_machine=True)
    assert not is_alive(owner(GONE, 1.0), HERE, one_machine=True)


def test_a_pid_that_came_again_is_another_process() -> None:
    assert is_running(HERE)
    assert not is_running(GONE)
    with subprocess.Popen([sys.executable, "-c", "pass"]) as child:
        child.wait()
    assert started(child.pid) is None


def test_a_stopped_process_is_running() -> None:
    """What it will do when it goes on, nobody knows: its lease has to end."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        child.send_signal(signal.SIGSTOP)
        begun = started(child.pid)
        assert begun is not None
        assert is_running(msgspec.structs.replace(HERE, pid=child.pid, started=begun))
        child.kill()


# -- who may not write ----------------------------------------------------------------------


@on_both
async def test_whoever_was_replaced_notices_before_it_writes(url: str, clock: FakeClock) -> None:
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(left_behind(url, clock, elsewhere("reef")))
        stopped: list[str | None] = []
        first.on_lost = lambda: stopped.append(first.lost)
        second = owned(url, clock, elsewhere("sump"))
        opening = asyncio.create_task(second.open())
        await passing(clock, opening)
        await opening
        stack.push_async_callback(second.close)
        ran = False
        for _ in range(2):
            with pytest.raises(Unavailable, match="host sump"):
                async with first.write():
                    ran = True
        assert (ran, len(stopped)) == (False, 1)
        with pytest.raises(Unavailable, match="host sump"):
            await first.beat()
        await add(second, "ana")
        assert await names(first) == ["ana"]
        await first.close()
        kept = await found(url)  # it takes nobody's lease with it
        assert kept is not None
        assert kept.process.host == "sump"


@on_both
async def test_whoever_takes_over_waits_for_the_end_of_a_transaction(
    url: str, clock: FakeClock
) -> None:
    async with left_behind(url, clock, GONE) as first:
        second = owned(url, clock)
        async with first.write() as tx:
            opening = asyncio.create_task(second.open())
            await asyncio.wait({opening}, timeout=0.5)
            assert not opening.done()
            await tx.execute(insert(users).values(name="ana", password_hash="x", created_at=0.0))
        await opening
        assert await names(second) == ["ana"]
        await clock.advance(watch_at_least(LEASE))
        with pytest.raises(Unavailable):
            await add(first, "eva")
        await second.close()


async def test_the_heartbeat_alone_notices_it_too(url: str, clock: FakeClock) -> None:
    async with owned(url, clock) as first:
        async with first.write() as tx:
            await tx.execute(update(ownership).values(token="somebody else's"))
        lost: list[bool] = []
        first.on_lost = lambda: lost.append(True)
        await clock.advance(beat_every(LEASE))
        await until(lambda: lost)
        await clock.advance(3 * beat_every(LEASE))
        await settle()
        assert lost == [True]


async def test_between_two_heartbeats_a_write_costs_no_question(url: str, clock: FakeClock) -> None:
    asked: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        asked.append(statement)

    async with owned(url, clock) as storage:
        assert storage._writer is not None
        event.listen(storage._writer.sync_engine, "before_cursor_execute", note)
        for expected in (0, 1):
            asked.clear()
            async with storage.write():
                pass
            assert sum("ownership" in statement for statement in asked) == expected
            assert storage._beating is not None
            storage._beating.cancel()
            await clock.advance(watch_at_least(LEASE))


async def test_a_heartbeat_that_is_not_kept_is_made_up_for(
    url: str, clock: FakeClock, tmp_path: Path
) -> None:
    """Full disk, read-only database: nobody else can take over either, and it goes on by itself."""
    async with owned(url, clock) as storage, Storage(url, Press()) as other:
        async with other.write() as tx:
            await tx.execute(update(ownership).values(beat=7))
            await clock.advance(beat_every(LEASE))  # its heartbeat waits for the other
        await until_beat(url, 8)
        await clock.advance(beat_every(LEASE) + 1)
        await until_beat(url, 9)
        assert storage.lost is None


async def until_beat(url: str, number: int) -> None:
    for _ in range(1000):
        owner = await found(url)
        if owner is not None and owner.beat >= number:
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"no heartbeat {number}")


@on_both
@pytest.mark.parametrize("seed", range(2))
async def test_whatever_happens_nobody_writes_after_a_later_owner_has(url: str, seed: int) -> None:
    """Three machines that hang, go on, start and stop at random, each with a clock of its own."""
    chance = random.Random(seed)
    clock = FakeClock()
    writers: list[str] = []
    living: dict[str, OwnedStorage] = {}

    async def write() -> None:
        for name in chance.sample(list(living), len(living)):
            with suppress(Unavailable):
                async with living[name].write():
                    writers.append(name)

    for number in range(4):
        for storage in living.values():
            if storage._beating is not None and (number == 2 or chance.random() < 0.5):
                storage._beating.cancel()  # it hangs, and does not know
        storage = owned(url, clock, elsewhere(f"{number}"))
        opening = asyncio.create_task(storage.open())
        while not opening.done():
            await clock.advance(chance.choice([0.5, 1.0]))
            await asyncio.sleep(0.002)
            if chance.random() < 0.3:
                await write()
        if opening.exception() is None:
            living[f"{number}"] = storage
        else:
            assert isinstance(opening.exception(), Owned)
        await write()
    for storage in living.values():
        await storage.close()
    befores = [None, *writers]
    changes = [name for name, before in zip(writers, befores, strict=False) if name != before]
    assert len(changes) > 1
    assert len(changes) == len(set(changes)), "somebody wrote after a later owner had"
