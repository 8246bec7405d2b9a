"""Any order of what can happen to agents, and any of it at once, keeps the promises of election."""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cardume.storage.tables import agents, terms
from cardume.testing import FakeClock
from tests.support.crew import ADMIN, Crew
from tests.support.life import as_a_power_cut_leaves_it

NUMBERS = itertools.count(1)

Step = tuple[str, int, list[Any]]
"""What, a number for what it is done to, and, for what is done together, the steps."""

WORDS = (
    ["create"] * 3
    + ["silence", "heartbeat", "speech", "start", "resume", "restart"] * 2
    + ["wait", "pause", "stop", "delete", "patch", "trigger"]
)
alone: st.SearchStrategy[Step] = st.tuples(
    st.sampled_from(WORDS), st.integers(0, 3), st.builds(list)
)
steps = st.lists(
    st.one_of(
        alone,
        alone,
        st.tuples(st.just("together"), st.just(0), st.lists(alone, min_size=2, max_size=5)),
        st.tuples(st.just("restart the hub"), st.just(0), st.builds(list)),
    ),
    min_size=8,
    max_size=16,
).map(lambda log: [("create", 0, []), ("create", 1, []), *log])


class Witness:
    """Looks at every commit, and remembers what was said and what was so."""

    def __init__(self) -> None:
        self.leaders: dict[int, str] = {}
        self.elected: list[tuple[int, str]] = []
        self.triggered: list[int] = []
        self.moves: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        self.crew: Crew

    def attend(self, crew: Crew) -> None:
        """Be told of each event between its commit and the next one."""
        self.crew = crew
        announcer = crew.storage._announcer
        publish = announcer._publish

        async def witness(channel: str, type: str | None, data: Any, /, **more: Any) -> object:
            await self.look()
            match type:
                case "election_triggered":
                    self.triggered.append(data["term"])
                case "leader_elected":
                    self.elected.append((data["term"], data["leader_id"]))
                case "agent_status_changed":
                    self.moves[data["agent_id"]].append(data)
            return await publish(channel, type, data, **more)

        announcer._publish = witness

    async def look(self) -> None:
        """What has to hold after any commit."""
        ruled = await self.crew.rows(terms)
        statuses = {row["agent_id"]: row["status"] for row in await self.crew.rows(agents)}
        assert [row["term"] for row in ruled] == list(range(1, len(ruled) + 1))
        for row in ruled:
            assert self.leaders.setdefault(row["term"], row["leader_id"]) == row["leader_id"]
        assert all(row["vacated_at"] is not None for row in ruled[:-1])
        leads = ruled[-1]["leader_id"] if ruled and ruled[-1]["vacated_at"] is None else None
        if leads is not None:
            assert statuses[leads] == "active"
        assert (leads is not None) == ("active" in statuses.values())

    def conclude(self) -> None:
        """Each term was announced once, in its order, and each agent's life is one chain."""
        assert self.elected == sorted(self.leaders.items())
        assert self.triggered == sorted(self.leaders)
        for moves in self.moves.values():
            versions = [move["version"] for move in moves]
            assert versions == sorted(set(versions))
            for before, after in itertools.pairwise(moves):
                assert before["new_status"] == after["old_status"]
            assert all(move["old_status"] != move["new_status"] for move in moves)


@pytest.mark.timeout(300)  # for the search of a short example, if there is one at all
@settings(
    max_examples=6,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(log=steps)
async def test_one_leader_a_term_and_always_one_where_anybody_is_active(
    tmp_path: Path, log: list[Step]
) -> None:
    path, clock = tmp_path / f"crew{next(NUMBERS)}.db", FakeClock()
    witness, made = Witness(), list[str]()
    lives = itertools.groupby(log, lambda step: step[0] == "restart the hub")
    for life in [list(part) for between, part in lives if not between] or [[]]:
        async with Crew.running(path, clock) as crew:
            witness.attend(crew)
            await witness.look()
            for step in life:
                await do(crew, made, step)
                await crew.quiet()
                await witness.look()
            path = as_a_power_cut_leaves_it(path)
    witness.conclude()


async def do(crew: Crew, made: list[str], step: Step) -> None:
    what, number, parts = step
    match what:
        case "together":
            await asyncio.gather(*(do(crew, made, part) for part in parts))
        case "wait":
            await crew.clock.advance((1.0, 15.0, 31.0)[number % 3])
        case "create":
            made.append(await crew.agent("ab"[number % 2]))
        case "trigger":
            response = await crew.call("POST", "/coordination/election/trigger", **ADMIN)
            assert response.status_code in (200, 409)
        case _ if made:
            await touch(crew, made[number % len(made)], what)


async def touch(crew: Crew, agent_id: str, what: str) -> None:
    match what:
        case "delete":
            response = await crew.call("DELETE", f"/agents/{agent_id}", **ADMIN)
        case "patch":
            body = {"status": "paused", "lease_seconds": 10}
            response = await crew.call("PATCH", f"/agents/{agent_id}", body, **ADMIN)
        case "silence":
            body = {"action": "heartbeat"}
            response = await crew.call("POST", f"/agents/{agent_id}/actions", body, **ADMIN)
            await crew.clock.advance(31)
        case "speech":
            crew.app.watch.spoke(crew.identity(agent_id))
            return
        case _:
            body = {"action": what}
            response = await crew.call("POST", f"/agents/{agent_id}/actions", body, **ADMIN)
    assert response.status_code in (200, 204, 404, 409), response.text
