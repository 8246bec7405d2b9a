"""Attempts, time that is up, and restarts in between."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from cardume.apps.agents.task import Start
from cardume.auth.identity import Identity
from cardume.testing import FakeClock
from cardume.testing.clock import settle
from tests.apps.agents.work import as_agent, move, shown, task
from tests.support.crew import Crew, said

ROOT = Identity("root", role="admin")


async def test_a_task_that_is_not_begun_in_time_is_given_back(crew: Crew) -> None:
    room = await crew.subscribe("tasks")
    await crew.agent()
    id = await task(crew, lease_seconds=30)
    await move(crew, id, "assign")
    await crew.passes(29.9)
    assert (await shown(crew, id))["status"] == "assigned"
    await crew.passes(0.2)
    back = await shown(crew, id)
    assert (back["status"], back["agent_id"], back["attempts"]) == ("created", None, 1)
    assert (back["assigned_at"], back["started_at"]) == (None, None)
    assert (back["deadline"], back["error"]) == (None, "timeout")
    name, data = said(room)[-1]
    assert name == "task_created"
    assert data == {
        **back, "old_status": "assigned", "new_status": "created", "reason": "timeout",
    }  # fmt: skip


async def test_each_step_has_the_whole_time(crew: Crew) -> None:
    worker = await crew.agent()
    id = await task(crew, lease_seconds=30)
    await move(crew, id, "assign")
    await crew.passes(20)
    await move(crew, id, "start")
    await crew.passes(20)
    assert (await shown(crew, id))["status"] == "started"
    await crew.beat(worker)  # its life is not the task's
    await crew.passes(10.1)
    assert (await shown(crew, id))["status"] == "created"


async def test_a_step_that_comes_just_before_its_deadline_is_not_undone_by_it(
    crew: Crew,
) -> None:
    await crew.agent()
    id = await task(crew, lease_seconds=30)
    await move(crew, id, "assign")
    async with crew.storage.write():  # somebody has the writer, and the step waits in line
        step = asyncio.ensure_future(crew.app.tasks.start(ROOT, id, Start(agent_id=None)))
        await settle()
        await crew.clock.advance(30)  # the deadline, behind it
    assert (await step)["status"] == "started"
    await crew.quiet()
    assert (await shown(crew, id))["status"] == "started"
    await crew.passes(30)
    assert (await shown(crew, id))["status"] == "created"


async def test_what_is_done_in_time_is_not_taken_away(crew: Crew) -> None:
    room = await crew.subscribe("tasks")
    await crew.agent()
    id = await task(crew, lease_seconds=30)
    for name in ("assign", "start", "complete"):
        await move(crew, id, name)
    await crew.passes(100)
    assert (await shown(crew, id))["status"] == "completed"
    assert len(said(room)) == 4


async def test_the_last_attempt_that_runs_out_of_time_fails_the_task(crew: Crew) -> None:
    room = await crew.subscribe("tasks")
    await crew.agent()
    id = await task(crew, lease_seconds=5, max_attempts=2)
    for status in ("created", "failed"):
        await move(crew, id, "assign")
        await crew.passes(5)
        assert (await shown(crew, id))["status"] == status
    lost = await shown(crew, id)
    assert (lost["attempts"], lost["error"]) == (2, "timeout")
    assert lost["finished_at"] is not None
    name, data = said(room)[-1]
    assert (name, data["reason"], data["old_status"]) == ("task_failed", "timeout", "assigned")


async def test_a_failure_is_final_unless_a_retry_is_asked_for_and_left(crew: Crew) -> None:
    room = await crew.subscribe("tasks")
    worker = await crew.agent()
    id = await task(crew, max_attempts=2)
    for status in ("created", "failed"):
        await move(crew, id, "assign")
        await move(crew, id, "start")
        body = {"error": "jammed", "retry": True}
        after = await move(crew, id, "fail", body, **as_agent(worker))
        assert (after["status"], after["error"]) == (status, "jammed")
    events = [(name, data.get("reason")) for name, data in said(room)]
    assert events[3] == ("task_created", "retry")
    assert events[-1] == ("task_failed", "retry")
    final = await task(crew)
    await move(crew, final, "assign")
    assert (await move(crew, final, "fail", {"error": "no"}))["status"] == "failed"
    assert "reason" not in said(room)[-1][1]


async def test_a_second_attempt_starts_afresh(crew: Crew) -> None:
    await crew.agent()
    id = await task(crew)
    await move(crew, id, "assign")
    await move(crew, id, "start")
    await move(crew, id, "fail", {"retry": True})
    again = await move(crew, id, "assign")
    assert (again["attempts"], again["started_at"]) == (2, None)
    await move(crew, id, "start")
    done = await move(crew, id, "complete")
    assert (done["result"], done["error"]) == (None, None)


async def test_a_stopped_agent_gives_back_all_that_it_holds(crew: Crew) -> None:
    worker = await crew.agent()
    first, second, last = await task(crew), await task(crew), await task(crew, max_attempts=1)
    for id in (first, second, last):
        await move(crew, id, "assign")
    await move(crew, second, "start")
    room = await crew.subscribe("tasks")
    await crew.act(worker, "stop")
    assert [(await shown(crew, id))["status"] for id in (first, second, last)] == [
        "created",
        "created",
        "failed",
    ]
    assert [(name, data["task_id"]) for name, data in said(room)] == [
        ("task_created", first),
        ("task_created", second),
        ("task_failed", last),
    ]


async def test_deadlines_survive_a_restart(tmp_path: Path) -> None:
    path, clock = tmp_path / "crew.db", FakeClock()
    async with Crew.running(path, clock) as crew:
        await crew.agent()
        soon, late, none = [await task(crew, lease_seconds=lease) for lease in (30, 100, None)]
        for id in (soon, late, none):
            await move(crew, id, "assign")
        await crew.passes(10)
    await clock.advance(40)  # nobody is there to see the first deadline pass
    async with Crew.running(path, clock) as crew:
        await crew.passes(0.1)
        assert (await shown(crew, soon))["status"] == "created"
        assert (await shown(crew, late))["status"] == "assigned"
        await crew.passes(49)
        assert (await shown(crew, late))["status"] == "assigned"
        await crew.passes(1)
        assert (await shown(crew, late))["status"] == "created"
        assert (await shown(crew, none))["status"] == "assigned"


async def test_more_than_one_batch_of_tasks_is_given_back(
    crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cardume.apps.agents.tasks.BATCH", 3)
    await crew.agent()
    ids = [await task(crew, lease_seconds=5) for _ in range(7)]
    for id in ids:
        await move(crew, id, "assign")
    await crew.passes(5)
    assert {(await shown(crew, id))["status"] for id in ids} == {"created"}
