"""Proposals and votes over HTTP, deadlines and restarts."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from cardume.apps.agents import consensus
from cardume.apps.agents.proposal import NewVote
from cardume.auth.identity import Identity
from cardume.storage.tables import proposals, votes
from cardume.testing import FakeClock
from cardume.testing.clock import settle
from tests.apps.agents.work import as_agent, found, proposal, vote
from tests.support.crew import ADMIN, Crew, said
from tests.support.databases import on_both


async def test_the_voters_are_the_agents_that_are_active_then(crew: Crew) -> None:
    room = await crew.subscribe("coordination")
    first, second, paused = [await crew.agent() for _ in range(3)]
    await crew.act(paused, "pause")
    before = len(said(room))
    made = await proposal(crew, value={"x": 1}, quorum=0.6, deadline_seconds=10)
    assert made == {
        "proposal_id": "proposal_000001",
        "topic": "move on",
        "value": {"x": 1},
        "quorum": 0.6,
        "voters": [first, second],
        "votes": [],
        "approvals": 0,
        "rejections": 0,
        "decision": None,
        "approval_rate": 0.0,
        "proposed_by": "root",
        "created_at": made["created_at"],
        "deadline": made["deadline"],
        "decided_at": None,
    }
    assert said(room)[before:] == [("consensus_proposed", made)]
    await crew.act(paused, "resume")
    late = await crew.agent()
    for stranger in (paused, late):
        assert (await vote(crew, "proposal_000001", stranger))[0] == 403
    assert await found(crew, "proposal_000001") == made


@on_both
async def test_it_is_approved_when_the_votes_say_so_and_only_once(crew: Crew) -> None:
    room = await crew.subscribe("coordination")
    a, b, c = [await crew.agent() for _ in range(3)]
    id = (await proposal(crew))["proposal_id"]
    status, after = await vote(crew, id, b)
    assert (status, after["decision"], after["approvals"]) == (200, None, 1)
    status, problem = await vote(crew, id, b, approve=False)
    assert (status, problem["code"]) == (409, "conflict")
    await crew.passes(1)
    status, after = await vote(crew, id, a)
    assert (status, after["decision"], after["approval_rate"]) == (200, "approved", 2 / 3)
    assert after["votes"] == [{"agent_id": b, "approve": True}, {"agent_id": a, "approve": True}]
    status, problem = await vote(crew, id, c, approve=False)
    assert (status, problem["decision"]) == (409, "approved")
    await crew.passes(61)
    assert await found(crew, id) == after
    decided = [data for name, data in said(room) if name == "consensus_decided"]
    assert decided == [{"proposal_id": id, "decision": "approved", "approval_rate": 2 / 3}]


async def test_it_is_rejected_as_soon_as_it_is_out_of_reach(crew: Crew) -> None:
    a, b, _ = [await crew.agent() for _ in range(3)]
    id = (await proposal(crew))["proposal_id"]
    assert (await vote(crew, id, a, approve=False))[1]["decision"] is None
    assert (await vote(crew, id, b, approve=False))[1]["decision"] == "rejected"


async def test_it_is_rejected_at_the_deadline(crew: Crew) -> None:
    room = await crew.subscribe("coordination")
    a, _ = [await crew.agent() for _ in range(2)]
    id = (await proposal(crew, deadline_seconds=10))["proposal_id"]
    await vote(crew, id, a)
    await crew.passes(9.9)
    assert (await found(crew, id))["decision"] is None
    await crew.passes(0.2)
    late = await found(crew, id)
    assert (late["decision"], late["approval_rate"]) == ("rejected", 0.5)
    assert late["decided_at"] is not None
    assert said(room)[-1] == (
        "consensus_decided",
        {"proposal_id": id, "decision": "rejected", "approval_rate": 0.5},
    )


async def test_a_vote_that_comes_when_the_timer_is_late_does_not_count(crew: Crew) -> None:
    a, _ = [await crew.agent() for _ in range(2)]
    id = (await proposal(crew, deadline_seconds=10, quorum=0.4))["proposal_id"]
    crew.clock.step_wall(10)  # timers go by the other clock
    assert (await vote(crew, id, a))[0] == 409
    after = await found(crew, id)
    assert (after["decision"], after["votes"]) == ("rejected", [])


async def test_a_vote_that_decides_just_before_the_deadline_is_not_undone_by_it(
    crew: Crew,
) -> None:
    room = await crew.subscribe("coordination")
    a = await crew.agent()
    id = (await proposal(crew, deadline_seconds=10))["proposal_id"]
    await crew.clock.advance(9)
    async with crew.storage.write():  # somebody has the writer, and the vote waits in line
        body = NewVote(agent_id=a, approve=True)
        voting = asyncio.ensure_future(
            crew.app.consensus.vote(Identity("root", role="admin"), id, body)
        )
        await settle()
        await crew.clock.advance(1)  # the deadline, behind it
        crew.clock.step_wall(-1)
    assert (await voting)["decision"] == "approved"
    await crew.quiet()
    assert (await found(crew, id))["decision"] == "approved"
    assert [name for name, _ in said(room)].count("consensus_decided") == 1


async def test_without_voters_it_is_rejected_at_once(crew: Crew) -> None:
    room = await crew.subscribe("coordination")
    made = await proposal(crew)
    assert (made["decision"], made["approval_rate"], made["voters"]) == ("rejected", 0.0, [])
    assert [name for name, _ in said(room)] == ["consensus_proposed", "consensus_decided"]
    assert said(room)[0][1] == {**made, "decision": None, "decided_at": None}


@on_both
async def test_open_proposals_survive_a_restart(tmp_path: Path) -> None:
    path, clock = tmp_path / "crew.db", FakeClock()
    async with Crew.running(path, clock) as crew:
        a, b = [await crew.agent() for _ in range(2)]
        soon, late = [
            (await proposal(crew, deadline_seconds=seconds))["proposal_id"] for seconds in (30, 100)
        ]
        await vote(crew, late, a)
    await clock.advance(40)
    async with Crew.running(path, clock) as crew:
        await crew.passes(0.1)
        assert (await found(crew, soon))["decision"] == "rejected"
        assert (await found(crew, late))["decision"] is None
        assert (await vote(crew, late, a))[0] == 409
        assert (await vote(crew, late, b))[1]["decision"] == "approved"
        third = (await proposal(crew, deadline_seconds=5))["proposal_id"]
    async with Crew.running(path, clock) as crew:
        await crew.passes(5)
        assert (await found(crew, third))["decision"] == "rejected"


async def test_who_speaks_for_a_voter(crew: Crew) -> None:
    a, b = await crew.agent(who="ina", role="service"), await crew.agent()
    id = (await proposal(crew))["proposal_id"]
    cron = {"who": "cron", "role": "service"}
    for stranger in ({"who": "ana"}, as_agent(b), {"who": a}, cron):
        assert (await vote(crew, id, a, True, **stranger))[0] == 403
    assert (await found(crew, id))["votes"] == []
    assert (await vote(crew, id, a, who="ina"))[0] == 200
    assert (await vote(crew, id, b, **ADMIN))[0] == 200
    rows = await crew.rows(votes)
    assert [row["voted_by"] for row in rows] == ["ina", "root"]


async def test_who_may_propose(crew: Crew) -> None:
    path, body = "/coordination/consensus/propose", {"topic": "x"}
    agent = await crew.agent()
    assert (await crew.call("POST", path, body, **as_agent(agent))).status_code == 201
    await crew.act(agent, "pause")
    for who in ({"who": "ana"}, as_agent(agent), as_agent("agent_worker_999"), {"who": agent}):
        assert (await crew.call("POST", path, body, **who)).status_code == 403
    assert (await crew.call("POST", path, body, who="x", role="service")).status_code == 201


@on_both
async def test_votes_at_once_decide_once(crew: Crew) -> None:
    room = await crew.subscribe("coordination")
    voters = [await crew.agent() for _ in range(5)]
    id = (await proposal(crew))["proposal_id"]
    answers = await asyncio.gather(*(vote(crew, id, v) for v in voters for _ in range(2)))
    assert Counter(status for status, _ in answers) == {200: 3, 409: 7}
    assert [name for name, _ in said(room)].count("consensus_decided") == 1


async def test_a_deleted_voter_keeps_its_place(crew: Crew) -> None:
    a, b = [await crew.agent() for _ in range(2)]
    id = (await proposal(crew))["proposal_id"]
    await crew.ok("DELETE", f"/agents/{b}", **ADMIN)
    assert (await vote(crew, id, b))[0] == 404
    status, after = await vote(crew, id, a)
    assert (status, after["voters"], after["decision"]) == (200, [a, b], None)


async def test_nobody_asks_more_agents_than_a_room_can_be_told(
    crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consensus, "MAX_VOTERS", 2)
    for _ in range(3):
        await crew.agent()
    response = await crew.call("POST", "/coordination/consensus/propose", {"topic": "x"}, **ADMIN)
    assert (response.status_code, response.json()["code"]) == (409, "conflict")
    assert (await crew.ok("GET", "/coordination/consensus"))["items"] == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"topic": ""},
        {"topic": "x" * 201},
        {"quorum": 0},
        {"quorum": 1},
        {"quorum": 1.01},
        {"quorum": True},
        {"quorum": "0.5"},
        {"deadline_seconds": 0},
        {"deadline_seconds": 7 * 86_400 + 1},
        {"value": "y" * 17_000},
        {"voters": []},
    ],
)
async def test_a_proposal_that_makes_no_sense_is_not_kept(
    crew: Crew, wrong: dict[str, Any]
) -> None:
    path, body = "/coordination/consensus/propose", {"topic": "x", **wrong}
    assert (await crew.call("POST", path, body, **ADMIN)).status_code == 422
    assert await crew.rows(proposals) == []


@pytest.mark.parametrize(
    "body", [{}, {"agent_id": "a", "approve": 1}, {"agent_id": 1, "approve": True}]
)
async def test_a_vote_that_makes_no_sense_is_none(crew: Crew, body: dict[str, Any]) -> None:
    await crew.agent()
    id = (await proposal(crew))["proposal_id"]
    answer = await crew.call("POST", f"/coordination/consensus/{id}/votes", body, **ADMIN)
    assert answer.status_code == 422


@pytest.mark.parametrize("id", ["proposal_000009", "proposal_1", "x"])
async def test_an_unknown_proposal_is_not_found(crew: Crew, id: str) -> None:
    agent = await crew.agent()
    await proposal(crew)
    assert (await crew.call("GET", f"/coordination/consensus/{id}")).status_code == 404
    assert (await vote(crew, id, agent))[0] == 404


@on_both
async def test_lists_are_paged_the_newest_first(crew: Crew) -> None:
    a = await crew.agent()
    ids = [(await proposal(crew))["proposal_id"] for _ in range(5)]
    await vote(crew, ids[1], a)
    await vote(crew, ids[2], a, approve=False)
    first = await crew.ok("GET", "/coordination/consensus?limit=3")
    rest = await crew.ok("GET", f"/coordination/consensus?limit=3&cursor={first['next']}")
    assert [item["proposal_id"] for item in first["items"] + rest["items"]] == ids[::-1]
    assert rest["next"] is None
    for decision, expected in (
        ("open", [ids[4], ids[3], ids[0]]),
        ("approved", [ids[1]]),
        ("rejected", [ids[2]]),
    ):
        some = await crew.ok("GET", f"/coordination/consensus?decision={decision}")
        assert [item["proposal_id"] for item in some["items"]] == expected
    assert [v["approve"] for v in first["items"][2]["votes"]] == [False]
