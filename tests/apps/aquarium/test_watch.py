"""Noticing silence: the heap, the sweep behind it, clocks that are set, rows that others write."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import update

from cardume.storage.tables import devices
from tests.support.tank import Tank
from tests.support.waiting import eventually


async def go_offline(tank: Tank) -> None:
    await tank.read("probe")
    await tank.passes(300)
    assert (await tank.status("probe"))["status"] == "offline"


async def test_a_hub_that_hears_nobody_calls_nobody_offline(tank: Tank) -> None:
    await tank.read("probe")
    tank.app.watch.stop()
    await tank.clock.advance(1000)
    await tank.app.watch.sweep()
    status = await tank.status("probe")
    assert (status["status"], status["last_known_status"]) == ("unknown", "online")
    assert status["offline_deadline_at"] is None
    assert (await tank.ok("GET", "/aquariums/1/overview"))["link"]["link"] == "down"


async def test_the_sweep_finds_what_the_heap_lost(tank: Tank) -> None:
    await tank.read("probe")
    tank.app.watch._deadlines.drop("probe")
    await tank.passes(300)
    assert (await tank.status("probe"))["status"] == "online"
    await tank.passes(140)  # a sweep each 120 s, ± 10 %

    async def offline() -> bool:
        await tank.passes(1)  # a sweep that the database delays delays the next
        return bool((await tank.status("probe"))["status"] == "offline")

    await eventually(offline)


async def test_the_sweep_finds_a_clearing_that_the_heap_lost(tank: Tank) -> None:
    await go_offline(tank)
    await tank.read("probe")
    (pending,) = await tank.alerts(state="open")
    tank.app.watch._clears.drop(pending["id"])
    await tank.passes(30)
    await tank.read("probe")
    await tank.passes(140, step=10)  # a sweep comes once in 132 seconds at the latest
    await tank.read("probe")
    await tank.passes(61)
    assert await tank.alerts(state="open") == []


async def test_a_changed_interval_counts_at_once(tank: Tank) -> None:
    await tank.read("probe")
    await tank.ok("PATCH", "/devices/probe", {"expected_interval_seconds": 200})
    await tank.passes(499)
    assert (await tank.status("probe"))["status"] == "online"
    await tank.ok("PATCH", "/devices/probe", {"expected_interval_seconds": None})
    await tank.passes(0.1)
    assert (await tank.status("probe"))["status"] == "offline"


@pytest.mark.parametrize("step", [-3600.0, 3600.0, -86_400.0 * 20_000, 86_400.0 * 3650])
async def test_a_step_of_the_wall_clock_neither_expires_nor_revives(
    tank: Tank, step: float
) -> None:
    await tank.passes(1000, step=250)
    await tank.read("probe")
    await tank.passes(100)
    tank.clock.step_wall(step)
    await tank.passes(199)
    assert (await tank.status("probe"))["status"] == "online"
    await tank.passes(2)
    status = await tank.status("probe")
    assert status["status"] == "offline"
    await tank.read("probe")
    await tank.passes(61)
    assert (await tank.status("probe"))["status"] == "online"
    assert await tank.alerts(state="open") == []
    await tank.passes(240)
    assert (await tank.status("probe"))["status"] == "offline"


@pytest.mark.parametrize("step", [-3600.0, 3600.0])
async def test_who_speaks_right_after_a_step_is_judged_by_the_new_time(
    tank: Tank, step: float
) -> None:
    await tank.read("probe")
    await tank.passes(10)
    tank.clock.step_wall(step)
    await tank.read("probe")
    await tank.passes(299)
    assert (await tank.status("probe"))["status"] == "online"
    await tank.passes(2)
    assert (await tank.status("probe"))["status"] == "offline"


async def test_a_row_from_the_future_was_written_by_a_wrong_clock(
    database: Path, tank: Tank
) -> None:
    await tank.read("probe")
    tank.app.watch.stop()
    tank.clock.step_wall(-3600)
    async with Tank.running(database, tank.clock) as again:
        await again.passes(299)
        assert (await again.status("probe"))["status"] == "online"
        await again.passes(2)
        assert (await again.status("probe"))["status"] == "offline"


async def test_a_newer_sign_of_life_stored_by_somebody_else_wins(tank: Tank) -> None:
    """A stale owner must not declare a living device dead, and believes the row afterwards."""
    await tank.read("probe")
    await tank.passes(250)
    heard = tank.clock.now()
    async with tank.storage.write() as tx:
        await tx.execute(update(devices).values(last_seen_at=heard))
    peer = await tank.listen(1)
    await tank.passes(51)
    assert (await tank.status("probe"))["status"] == "online"
    assert peer.of_type("device_status") == peer.of_type("alert") == []
    await tank.passes(248)
    assert (await tank.status("probe"))["status"] == "online"
    await tank.passes(2)
    assert (await tank.status("probe"))["status"] == "offline"


async def test_a_row_that_somebody_else_moved_on_is_believed(tank: Tank) -> None:
    await tank.read("probe")
    async with tank.storage.write() as tx:
        values = {"status": "offline", "state_version": 7, "reason": "timeout"}
        await tx.execute(update(devices).values(**values))
    await tank.passes(301)
    status = await tank.status("probe")
    assert (status["status"], status["state_version"]) == ("offline", 7)
    assert await tank.alerts() == []
    await tank.read("probe")
    assert (await tank.status("probe"))["state_version"] == 8


async def test_no_job_is_under_way_when_the_database_closes(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub would cancel it a second time, and aiosqlite wait for ever for a connection that was
    closed twice."""
    left: set[str] = set()
    async with Tank.running(database) as tank:
        close = tank.storage.close

        async def look_and_close() -> None:
            left.update(task.get_name() for task in asyncio.all_tasks())
            await close()

        monkeypatch.setattr(tank.storage, "close", look_and_close)
        jobs = {"offline sweep", "retention of readings"}
        assert jobs <= {task.get_name() for task in asyncio.all_tasks()}
    assert "position check" in left  # of the hub, which goes on
    assert not left & jobs
