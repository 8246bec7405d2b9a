"""Whatever happens in whatever order, also at once: one owner, legal moves, one decision.

And an event for each change that is stored, and for nothing else, in the order of the changes.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter, defaultdict
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from cardume.apps.agents.quorum import decide
from cardume.apps.agents.task import HELD, RETURNS, TASK
from cardume.storage.tables import agents, proposals, tasks
from cardume.testing import FakeClock
from tests.apps.agents.work import as_agent, found, shown
from tests.support.crew import ADMIN, Crew, said
from tests.support.life import as_a_power_cut_leaves_it

NUMBERS = itertools.count(1)
CREW = 3

Json = Any
Step = tuple[str, tuple[Any, ...]]

CALLS = ["assign"] * 4 + ["claim"] * 2 + ["start"] * 4 + ["complete"] * 3 + ["vote"] * 5
CALLS += ["create", "propose", "act", "act", "fail", "retry", "cancel", "beat"]


def _walk(chance: Random) -> list[Any]:
    """Calls that are made at once, seconds that pass, restarts.

    By hand and not by strategies: drawn evenly, nearly every walk gets somewhere.
    """
    stages: list[Any] = [[_call_of(name, chance) for name in ("create", "create", "propose")]]
    for _ in range(chance.randint(5, 25)):
        names = chance.choices(CALLS, k=chance.randint(1, 5))
        calls = [_call_of(name, chance) for name in names]
        stages.append(chance.choice([calls] * 7 + [1.0, 6.0, 31.0, "restart"]))
    return stages


def _call_of(name: str, chance: Random) -> Step:
    task, agent = chance.randint(1, 3), chance.randint(1, CREW)
    match name:
        case "create":
            return name, (chance.choice([None, 5, 20]), chance.randint(1, 3))
        case "assign":
            return name, (task, chance.choice([None, None, agent]))
        case "claim":
            return name, (task, agent)
        case "act":
            return name, (agent, chance.choice(["pause", "resume", "stop", "start", "restart"]))
        case "beat":
            return "act", (agent, "heartbeat")
        case "propose":
            return name, (chance.choice([5, 20, 60]), chance.choice([0.3, 0.5, 0.9]))
        case "vote":
            return name, (chance.randint(1, 3), agent, chance.random() < 0.6)
    return "move", (task, name)


@settings(
    max_examples=6,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # a smaller seed is no smaller walk
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(seed=st.integers(0, 2**32))
async def test_one_owner_legal_moves_one_decision_and_an_event_for_each(
    tmp_path: Path, seed: int
) -> None:
    walk = _walk(Random(seed))
    path, clock = tmp_path / f"walk{next(NUMBERS)}.db", FakeClock()
    async with Crew.running(path, clock) as crew:
        for _ in range(CREW):
            await crew.agent()
    told: list[tuple[str, Json]] = []
    lives = [list(part) for restart, part in itertools.groupby(walk, "restart".__eq__)]
    for life in lives or [[]]:
        async with Crew.running(path, clock) as crew:
            rooms = [await crew.subscribe(name) for name in ("tasks", "coordination")]
            for stage in life:
                await _do(crew, stage)
                await _check_now(crew)
            told += [event for room in rooms for event in said(room)]
            path = as_a_power_cut_leaves_it(path)
    async with Crew.running(path, clock) as crew:
        await _check_tasks(crew, told)
        await _check_proposals(crew, told)


async def _do(crew: Crew, stage: Any) -> None:
    if isinstance(stage, float):
        await crew.passes(stage)
    elif stage != "restart":
        statuses = await asyncio.gather(*(_call(crew, name, *parts) for name, parts in stage))
        assert set(statuses) <= {200, 201, 403, 404, 409}, list(zip(stage, statuses, strict=True))


async def _call(crew: Crew, name: str, *parts: Any) -> int:
    who: dict[str, Any] = ADMIN
    body: Json = None
    match name, parts:
        case "create", (lease, attempts):
            path = "/coordination/tasks"
            body = {"task_type": "sweep", "lease_seconds": lease, "max_attempts": attempts}
        case "assign", (task, agent):
            path = f"{_path(task)}/assign"
            body = {"agent_id": None if agent is None else _id(agent)}
        case "claim", (task, agent):
            path, who = f"{_path(task)}/assign", as_agent(_id(agent))
        case "move", (task, "retry"):
            path, body = f"{_path(task)}/fail", {"retry": True}
        case "move", (task, move):
            path = f"{_path(task)}/{move}"
        case "act", (agent, action):
            path, body = f"/agents/{_id(agent)}/actions", {"action": action}
        case "propose", (seconds, quorum):
            path = "/coordination/consensus/propose"
            body = {"topic": "x", "deadline_seconds": seconds, "quorum": quorum}
        case "vote", (number, agent, approve):
            path, who = f"/coordination/consensus/proposal_{number:06d}/votes", as_agent(_id(agent))
            body = {"agent_id": _id(agent), "approve": approve}
    return (await crew.call("POST", path, body, **who)).status_code


def _path(task: int) -> str:
    return f"/coordination/tasks/task_{task:06d}"


def _id(agent: int) -> str:
    return f"agent_worker_{agent:03d}"


async def _check_now(crew: Crew) -> None:
    """Whoever left has nothing, and nothing is overdue."""
    gone = {
        row["agent_id"]
        for row in await crew.rows(agents)
        if row["status"] in ("inactive", "stopped")
    }
    for row in await crew.rows(tasks):
        if row["status"] in HELD:
            assert row["agent_id"] not in gone
            assert row["deadline"] is None or row["deadline"] > crew.clock.now()
        assert row["attempts"] <= row["max_attempts"]
        assert (row["finished_at"] is not None) == TASK.is_final(row["status"])


async def _check_tasks(crew: Crew, told: list[tuple[str, Json]]) -> None:
    steps = {
        (old, new)
        for table in (TASK, RETURNS)
        for move in table.moves.values()
        for old, new in move.items()
    }
    histories: defaultdict[str, list[Json]] = defaultdict(list)
    for name, data in told:
        if name.startswith("task_"):
            assert name == f"task_{data['new_status']}"
            histories[data["task_id"]].append(data)
    rows = await crew.rows(tasks)
    assert len(rows) == len(histories)
    for id, history in histories.items():
        assert [data["version"] for data in history] == list(range(1, len(history) + 1))
        assert (history[0]["old_status"], history[0]["status"]) == (None, "created")
        for before, after in itertools.pairwise(history):
            assert after["old_status"] == before["status"]
            assert (before["status"], after["status"]) in steps
            if before["status"] in HELD:
                kept = before["agent_id"] if after["status"] != "created" else None
                assert after["agent_id"] == kept
        last = {
            name: value
            for name, value in history[-1].items()
            if name not in ("old_status", "new_status", "reason")
        }
        assert await shown(crew, id) == last
        assert last["attempts"] == sum(data["status"] == "assigned" for data in history)


async def _check_proposals(crew: Crew, told: list[tuple[str, Json]]) -> None:
    proposed = [data["proposal_id"] for name, data in told if name == "consensus_proposed"]
    assert proposed == sorted(set(proposed))
    assert len(proposed) == len(await crew.rows(proposals))
    decided = Counter(data["proposal_id"] for name, data in told if name == "consensus_decided")
    assert set(decided.values()) <= {1}
    said_of = {data["proposal_id"]: data for name, data in told if name == "consensus_decided"}
    for id in proposed:
        view = await found(crew, id)
        assert (view["decision"] is not None) == (id in decided)
        assert {vote["agent_id"] for vote in view["votes"]} <= set(view["voters"])
        counts = len(view["voters"]), view["approvals"], view["rejections"]
        by_votes = decide(view["quorum"], *counts)
        # What the votes leave open is rejected at the deadline, and by nothing else.
        assert view["decision"] in ({by_votes} if by_votes else {None, "rejected"})
        if id in decided:
            assert said_of[id]["decision"] == view["decision"]
            assert said_of[id]["approval_rate"] == view["approval_rate"]
            if by_votes is None:
                assert view["decided_at"] >= view["deadline"]
