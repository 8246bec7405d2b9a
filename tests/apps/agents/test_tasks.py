"""Tasks over HTTP: their moves, their owners, their events."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import pytest

from cardume.storage.tables import tasks
from tests.apps.agents.work import as_agent, move, refused, shown, task
from tests.support.crew import ADMIN, Crew, said
from tests.support.databases import on_both

EMPTY: dict[str, Any] = {
    "payload": {},
    "required_capability": None,
    "lease_seconds": None,
    "agent_id": None,
    "attempts": 0,
    "max_attempts": 3,
    "deadline": None,
    "result": None,
    "error": None,
    "version": 1,
    "assigned_at": None,
    "started_at": None,
    "finished_at": None,
}


@on_both
async def test_a_new_task_waits_and_is_announced(crew: Crew) -> None:
    room = await crew.subscribe("tasks")
    body = {"task_type": "sweep", "priority": 80, "payload": {"room": [1, None]}}
    made = await crew.ok("POST", "/coordination/tasks", body, **ADMIN)
    now = made["created_at"]
    assert made == {
        **EMPTY,
        **body,
        "task_id": "task_000001",
        "status": "created",
        "created_at": now,
        "created_by": "root",
        "updated_at": now,
    }
    assert await shown(crew, "task_000001") == made
    assert said(room) == [("task_created", {**made, "old_status": None, "new_status": "created"})]


@on_both
async def test_the_way_of_a_task_with_an_event_for_each_step(crew: Crew) -> None:
    room = await crew.subscribe("tasks")
    worker = await crew.agent(capabilities=["sweep"])
    id = await task(crew, required_capability="sweep")
    answers = [
        await move(crew, id, "assign"),
        await move(crew, id, "start", **as_agent(worker)),
        await move(crew, id, "complete", {"result": {"dust": 3}}, **as_agent(worker)),
    ]
    assert [answer["status"] for answer in answers] == ["assigned", "started", "completed"]
    assert [answer["version"] for answer in answers] == [2, 3, 4]
    assert {answer["agent_id"] for answer in answers} == {worker}
    assert answers[-1]["result"] == {"dust": 3}
    assert answers[-1]["finished_at"] is not None
    steps = said(room)[1:]
    assert [name for name, _ in steps] == ["task_assigned", "task_started", "task_completed"]
    for answer, old, (_, data) in zip(
        answers, ["created", "assigned", "started"], steps, strict=True
    ):
        assert data == {**answer, "old_status": old, "new_status": answer["status"]}


LEGAL = {
    "created": ["assign", "cancel"],
    "assigned": ["cancel", "fail", "start"],
    "started": ["cancel", "complete", "fail"],
    "completed": [],
    "failed": [],
    "cancelled": [],
}
WAY = {
    "created": [],
    "assigned": ["assign"],
    "started": ["assign", "start"],
    "completed": ["assign", "start", "complete"],
    "failed": ["assign", "fail"],
    "cancelled": ["cancel"],
}


@pytest.mark.parametrize("status", LEGAL)
async def test_an_illegal_move_names_the_legal_ones_and_changes_nothing(
    crew: Crew, status: str
) -> None:
    await crew.agent()
    id = await task(crew)
    for name in WAY[status]:
        await move(crew, id, name)
    room = await crew.subscribe("tasks")
    for name in {"assign", "start", "complete", "fail", "cancel"} - set(LEGAL[status]):
        problem = await refused(crew, id, name)
        assert (problem["status"], problem["code"]) == (409, "conflict")
        assert (problem["state"], problem["legal"]) == (status, LEGAL[status])
    assert said(room) == []


@pytest.mark.parametrize("name", ["complete", "fail"])
async def test_a_worker_that_was_away_does_not_end_what_is_somebody_elses_now(
    crew: Crew, name: str
) -> None:
    slow = await crew.agent()
    id = await task(crew)
    mine = await move(crew, id, "assign")
    await move(crew, id, "start")
    await crew.act(slow, "stop")
    other = await crew.agent()
    await move(crew, id, "assign", {"agent_id": other})
    problem = await refused(crew, id, "start", {"agent_id": slow})
    assert (problem["agent_id"], problem["attempt"]) == (other, 2)
    await move(crew, id, "start", {"agent_id": other, "attempt": 2})
    for stale in ({"agent_id": slow}, {"attempt": mine["attempts"]}):
        problem = await refused(crew, id, name, stale)
        assert (problem["status"], problem["agent_id"], problem["attempt"]) == (409, other, 2)
    done = await move(crew, id, name, {"agent_id": other, "attempt": 2})
    assert done["agent_id"] == other


@on_both
async def test_of_many_that_claim_a_task_one_gets_it(crew: Crew) -> None:
    room = await crew.subscribe("tasks")
    workers = [await crew.agent() for _ in range(6)]
    ids = [await task(crew) for _ in range(4)]
    claims = [(id, worker) for id in ids for worker in workers]
    answers = await asyncio.gather(
        *(
            crew.call("POST", f"/coordination/tasks/{id}/assign", **as_agent(worker))
            for id, worker in claims
        )
    )
    assert Counter(answer.status_code for answer in answers) == {200: 4, 409: 20}
    for id in ids:
        won = [
            worker
            for (wanted, worker), answer in zip(claims, answers, strict=True)
            if wanted == id and answer.status_code == 200
        ]
        assert won == [(await shown(crew, id))["agent_id"]]
    assigned = [data["task_id"] for name, data in said(room) if name == "task_assigned"]
    assert sorted(assigned) == ids


@on_both
async def test_simultaneous_assigns_spread_by_load(crew: Crew) -> None:
    workers = [await crew.agent() for _ in range(3)]
    ids = [await task(crew) for _ in range(6)]
    given = await asyncio.gather(*(move(crew, id, "assign") for id in ids))
    assert Counter(one["agent_id"] for one in given) == dict.fromkeys(workers, 2)
    done = given[4]
    await move(crew, done["task_id"], "cancel")
    assert (await move(crew, await task(crew), "assign"))["agent_id"] == done["agent_id"]


async def test_only_an_active_agent_that_can_do_it_gets_a_task(crew: Crew) -> None:
    able, other = await crew.agent(capabilities=["cook"]), await crew.agent(capabilities=["Cook"])
    id = await task(crew, required_capability="cook")
    problem = await refused(crew, id, "assign", {"agent_id": other})
    assert (problem["status"], problem["reason"]) == (409, "not_capable")
    await crew.act(able, "pause")
    problem = await refused(crew, id, "assign", {"agent_id": able})
    assert (problem["status"], problem["reason"]) == (409, "not_active")
    problem = await refused(crew, id, "assign")
    assert (problem["status"], problem["reason"]) == (409, "no_candidate")
    problem = await refused(crew, id, "assign", {"agent_id": "agent_worker_999"})
    assert problem["status"] == 404
    await crew.act(able, "resume")
    assert (await move(crew, id, "assign"))["agent_id"] == able


async def test_who_may_do_what(crew: Crew) -> None:
    owner, other = await crew.agent(), await crew.agent()
    body = {"task_type": "sweep"}
    for who in ({"who": "ana"}, as_agent(owner)):
        assert (await crew.call("POST", "/coordination/tasks", body, **who)).status_code == 403
    made = await crew.ok("POST", "/coordination/tasks", body, who="cron", role="service")
    id = made["task_id"]
    for who in ({"who": "ana"}, as_agent(other)):
        problem = await refused(crew, id, "assign", {"agent_id": owner}, **who)
        assert problem["status"] == 403
    await move(crew, id, "assign", {"agent_id": owner}, **as_agent(owner))
    for who in ({"who": "ana"}, {"who": owner}, as_agent(other)):
        for name in ("start", "fail", "cancel"):
            assert (await refused(crew, id, name, **who))["status"] == 403
    assert (await refused(crew, id, "cancel", **as_agent(owner)))["status"] == 403
    await move(crew, id, "start", **as_agent(owner))
    assert (await refused(crew, id, "complete", **as_agent(other)))["status"] == 403
    await move(crew, id, "complete", who="cron", role="service")
    assert (await crew.call("GET", "/coordination/tasks", who=None)).status_code == 401


@pytest.mark.parametrize("word", ["low", "normal", "high", "critical"])
async def test_a_priority_may_be_a_word(crew: Crew, word: str) -> None:
    number = {"low": 25, "normal": 50, "high": 75, "critical": 100}[word]
    assert (await shown(crew, await task(crew, priority=word)))["priority"] == number


@pytest.mark.parametrize(
    "wrong",
    [
        {"task_type": ""},
        {"task_type": "x" * 65},
        {"task_type": "\ud800"},
        {"priority": 101},
        {"priority": -1},
        {"priority": True},
        {"priority": 1.5},
        {"priority": "urgent"},
        {"payload": []},
        {"payload": {"x": "y" * 17_000}},
        {"payload": {"x": "\ud800"}},
        {"payload": {"x": float("nan")}},
        {"payload": {"x": [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[0]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}},
        {"required_capability": 7},
        {"lease_seconds": 0},
        {"lease_seconds": float("inf")},
        {"lease_seconds": "30"},
        {"max_attempts": 0},
        {"max_attempts": 101},
        {"colour": "red"},
    ],
)
async def test_a_task_that_makes_no_sense_is_not_kept(crew: Crew, wrong: dict[str, Any]) -> None:
    # The client refuses to send some of it; the standard library does not.
    body = json.dumps({"task_type": "sweep", **wrong}).encode()
    headers = {
        "Authorization": f"Bearer {crew.token('root', role='admin')}",
        "Content-Type": "application/json",
    }
    response = await crew.client.post("/coordination/tasks", content=body, headers=headers)
    # What is no JSON at all is said so before any field is looked at.
    assert response.status_code in (400, 422), response.text
    assert response.json()["code"] in ("bad_request", "invalid_fields")
    assert await crew.rows(tasks) == []


@pytest.mark.parametrize("id", ["task_000009", "task_9", "task_0000009", "9", "task_99999999999999999999", "task_٠٠٠٠٠١"])  # fmt: skip # noqa: E501, RUF001
async def test_an_unknown_task_is_not_found(crew: Crew, id: str) -> None:
    await task(crew)
    assert (await crew.call("GET", f"/coordination/tasks/{id}")).status_code == 404
    for name in ("assign", "start", "complete", "fail", "cancel"):
        answer = await crew.call("POST", f"/coordination/tasks/{id}/{name}", **ADMIN)
        assert answer.status_code == 404


@on_both
async def test_lists_are_paged_the_most_urgent_first(crew: Crew) -> None:
    await crew.agent()
    priorities = [10, 90, 50, 90, 10, 50, 50]
    ids = [await task(crew, priority=priority) for priority in priorities]
    expected = [ids[index] for index in (1, 3, 2, 5, 6, 0, 4)]
    got: list[str] = []
    cursor = ""
    while True:
        page = await crew.ok("GET", f"/coordination/tasks?limit=2{cursor}")
        got += [item["task_id"] for item in page["items"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert got == expected
    await move(crew, ids[3], "assign")
    waiting = await crew.ok("GET", "/coordination/tasks?status=created&limit=1")
    assert waiting["items"][0]["task_id"] == ids[1]
    held = await crew.ok("GET", "/coordination/tasks?agent_id=agent_worker_001")
    assert [item["task_id"] for item in held["items"]] == [ids[3]]
    assert (await crew.ok("GET", "/coordination/tasks?task_type=other"))["items"] == []


@pytest.mark.parametrize(
    "query", ["status=lost", "limit=0", "cursor=x", "cursor=WzFd", "cursor=IjEi"]
)
async def test_a_list_that_cannot_be_read_says_why(crew: Crew, query: str) -> None:
    answer = await crew.call("GET", f"/coordination/tasks?{query}")
    assert answer.status_code == 422


async def test_a_cancelled_task_says_why(crew: Crew) -> None:
    room = await crew.subscribe("tasks")
    id = await task(crew)
    gone = await move(crew, id, "cancel", {"reason": "rain"})
    assert (gone["status"], gone["error"]) == ("cancelled", "rain")
    assert said(room)[-1][1]["reason"] == "rain"
