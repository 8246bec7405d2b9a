"""A runner that falls silent is lost; one that speaks, however little, is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cardume.auth.identity import Identity
from cardume.testing import FakeClock
from tests.apps.executions.works import Works, lines

KEEPALIVES: list[tuple[str, Any]] = [
    ("log", {"lines": []}),
    ("progress", {"done": 1, "total": 9}),
]


async def test_a_silent_runner_fails_its_execution_as_lost(works: Works) -> None:
    id = await works.begin()
    peer = await works.watch(id)
    await works.passes(59)
    assert (await works.get(id))["status"] == "running"
    await works.passes(2)
    lost = await works.get(id)
    assert (lost["status"], lost["reason"]) == ("failed", "lost")
    assert lost["finished_at"] is not None
    assert [event["data"] for event in peer.of_type("execution_failed")] == [lost]
    assert len(works.app.lives) == 0


async def test_a_lost_execution_stays_so_when_its_runner_comes_back(works: Works) -> None:
    id = await works.begin()
    await works.passes(61)
    for path, body in (
        ("log", {"lines": lines(1, 1)}),
        ("log", {"lines": []}),
        ("progress", {"done": 1, "total": 1}),
        ("complete", {}),
        ("fail", {}),
        ("cancel", None),
    ):
        answer = await works.call("POST", f"/executions/{id}/{path}", body)
        assert answer.status_code == 409, path
        assert (answer.json()["state"], answer.json()["reason"]) == ("failed", "lost")


async def test_what_was_said_of_an_ended_execution_is_forgotten_after_a_while(
    works: Works,
) -> None:
    ended, running = await works.begin(), await works.begin()
    for id in (ended, running):
        await works.write(id, lines(1, 100, 1000))
    await works.ok("POST", f"/executions/{ended}/complete")
    top = await works.hub.history(f"execution:{ended}", limit=1)
    await works.passes(50)
    await works.ok("POST", f"/executions/{running}/log", {"lines": []})
    assert (await works.hub.history(f"execution:{ended}", limit=1)).publications
    await works.passes(11)
    assert await works.hub.history(f"execution:{ended}", limit=1) == (top.position, ())
    assert (await works.hub.history(f"execution:{running}", limit=1)).publications
    late = await works.watch(ended)  # the database remembers
    assert len(late.of_type("snapshot")[0]["data"]["lines"]) == 100


@pytest.mark.parametrize(("path", "body"), KEEPALIVES)
async def test_any_call_of_the_runner_renews_the_lease(works: Works, path: str, body: Any) -> None:
    id = await works.begin()
    for _ in range(5):
        await works.passes(50)
        await works.ok("POST", f"/executions/{id}/{path}", body)
    assert (await works.get(id))["status"] == "running"
    await works.passes(61)
    assert (await works.get(id))["reason"] == "lost"


async def test_a_call_of_somebody_else_renews_nothing(works: Works) -> None:
    id = await works.begin()
    await works.passes(50)
    answer = await works.call("POST", f"/executions/{id}/log", {"lines": []}, who="ben")
    assert answer.status_code == 403
    await works.get(id)
    await works.passes(11)
    assert (await works.get(id))["reason"] == "lost"


async def test_what_has_ended_is_not_lost_later(works: Works) -> None:
    id = await works.begin()
    await works.ok("POST", f"/executions/{id}/complete")
    assert len(works.app.lives) == 0
    await works.passes(120)
    assert (await works.get(id))["status"] == "completed"


async def test_after_a_restart_a_runner_has_a_whole_lease(database: Path) -> None:
    clock = FakeClock()
    async with Works.running(database, clock) as works:
        id, ended = await works.begin(), await works.begin()
        await works.ok("POST", f"/executions/{ended}/complete")
    await clock.advance(600)
    async with Works.running(database, clock) as works:
        assert len(works.app.lives) == 1
        await works.passes(59)
        assert (await works.write(id, lines(1, 1)))["last_seq"] == 1
        await works.passes(59)
        assert (await works.get(id))["status"] == "running"
        await works.passes(2)
        assert (await works.get(id))["reason"] == "lost"
        assert (await works.get(ended))["status"] == "completed"


async def test_a_runner_that_we_could_not_listen_to_is_not_lost(works: Works) -> None:
    id = await works.begin()
    await works.passes(50)
    await works.storage.close()  # as a lost disk: the call comes, and is not kept
    answer = await works.call("POST", f"/executions/{id}/log", {"lines": lines(1, 1)})
    assert answer.status_code == 503
    await works.storage.open()
    await works.passes(20)
    assert (await works.get(id))["status"] == "running"
    assert (await works.write(id, lines(1, 1)))["last_seq"] == 1


async def test_a_call_that_comes_with_the_deadline_is_heard(works: Works) -> None:
    id = await works.begin()
    async with works.storage.write():
        # The writer is busy when the lease ends: the runner speaks before we could fail it.
        await works.clock.advance(61)
        works.app.lives.hear(Identity("ana"), id)
    await works.quiet()
    assert (await works.get(id))["status"] == "running"
    await works.passes(61)
    assert (await works.get(id))["reason"] == "lost"
