"""One leader a term, and a term for as long as its leader is active."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from cardume.storage.tables import agents, terms
from cardume.testing import FakeClock
from tests.support.crew import ADMIN, Crew, said


async def trigger(crew: Crew) -> Any:
    return await crew.ok("POST", "/coordination/election/trigger", **ADMIN)


async def history(crew: Crew) -> list[tuple[int, str, str, bool]]:
    """Term, leader, reason, and whether it is over."""
    return [
        (row["term"], row["leader_id"], row["reason"], row["vacated_at"] is not None)
        for row in await crew.rows(terms)
    ]


async def test_nobody_leads_before_there_is_anybody(crew: Crew) -> None:
    assert await crew.election() == {
        "leader_id": None,
        "term": 0,
        "elected_at": None,
        "reason": None,
        "candidates": 0,
    }
    response = await crew.call("POST", "/coordination/election/trigger", **ADMIN)
    assert (response.status_code, response.json()["code"]) == (409, "no_candidates")
    assert await crew.rows(terms) == []


async def test_the_first_agent_leads_and_those_after_it_change_nothing(crew: Crew) -> None:
    peers = await crew.listen()
    first, *_ = [await crew.agent() for _ in range(3)]
    assert said(peers["coordination"]) == [
        ("election_triggered", {"term": 1, "reason": "first_agent"}),
        ("leader_elected", {"leader_id": first, "term": 1}),
    ]
    assert await crew.election() == {
        "leader_id": first,
        "term": 1,
        "elected_at": "2026-11-18T11:06:40.000Z",
        "reason": "first_agent",
        "candidates": 3,
    }


async def test_a_triggered_election_takes_the_next_term_even_for_the_same_winner(
    crew: Crew,
) -> None:
    agent_id = await crew.agent()
    peers = await crew.listen()
    answer = await trigger(crew)
    assert (answer["leader_id"], answer["term"], answer["reason"]) == (agent_id, 2, "requested")
    assert answer == await crew.election()
    assert said(peers["coordination"]) == [
        ("election_triggered", {"term": 2, "reason": "requested"}),
        ("leader_elected", {"leader_id": agent_id, "term": 2}),
    ]
    assert await history(crew) == [
        (1, agent_id, "first_agent", True),
        (2, agent_id, "requested", False),
    ]


async def test_the_oldest_active_agent_wins_and_ids_break_ties(crew: Crew) -> None:
    late, early = await crew.agent("z"), await crew.agent("a")  # at the same moment
    await crew.passes(1)
    await crew.agent("a")
    assert (await crew.election())["leader_id"] == late
    assert (await trigger(crew))["leader_id"] == early
    await crew.act(early, "pause")
    assert (await crew.election())["leader_id"] == late


LEAVES: dict[str, str] = {
    "pause": "leader_left",
    "stop": "leader_left",
    "delete": "leader_left",
    "patch": "leader_left",
    "lapse": "leader_lapsed",
}


async def leave(crew: Crew, agent_id: str, how: str) -> None:
    match how:
        case "delete":
            await crew.call("DELETE", f"/agents/{agent_id}", **ADMIN)
        case "patch":
            await crew.ok("PATCH", f"/agents/{agent_id}", {"status": "paused"}, **ADMIN)
        case "lapse":
            await crew.beat(agent_id)
            await crew.passes(30)
        case _:
            await crew.act(agent_id, how)


@pytest.mark.parametrize("how", LEAVES)
async def test_a_leader_that_leaves_is_replaced(crew: Crew, how: str) -> None:
    first, second = await crew.agent(), await crew.agent()
    await leave(crew, first, how)
    election = await crew.election()
    assert (election["leader_id"], election["term"]) == (second, 2)
    assert election["reason"] == LEAVES[how]
    assert (await crew.ok("GET", f"/agents/{second}"))["is_leader"]


@pytest.mark.parametrize("how", LEAVES)
async def test_the_last_leader_leaves_the_term_vacant_until_somebody_is_active(
    crew: Crew, how: str
) -> None:
    first = await crew.agent()
    asleep = await crew.agent()
    await crew.act(asleep, "pause")
    peers = await crew.listen()
    await leave(crew, first, how)
    assert await history(crew) == [(1, first, "first_agent", True)]
    election = await crew.election()
    assert (election["leader_id"], election["term"], election["candidates"]) == (None, 1, 0)
    assert said(peers["coordination"]) == []
    await crew.act(asleep, "resume")
    assert await history(crew) == [
        (1, first, "first_agent", True),
        (2, asleep, "no_leader", False),
    ]


async def test_somebody_elses_leaving_is_no_reason(crew: Crew) -> None:
    first, second = await crew.agent(), await crew.agent()
    await crew.act(second, "stop")
    await crew.call("DELETE", f"/agents/{second}", **ADMIN)
    await crew.act(first, "restart")
    assert (await crew.election())["term"] == 1


async def test_leader_and_term_survive_a_restart(database: Path) -> None:
    clock = FakeClock()
    async with Crew.running(database, clock) as crew:
        first = await crew.agent()
        await trigger(crew)
        before = await crew.election()
    async with Crew.running(database, clock) as crew:
        assert await crew.election() == before
        await crew.act(first, "pause")
    async with Crew.running(database, clock) as crew:
        assert (await crew.election())["leader_id"] is None
        second = await crew.agent()
        assert (await crew.election())["leader_id"] == second
        assert (await crew.election())["term"] == 3


async def test_an_older_life_that_left_nobody_leading_is_mended_at_the_start(
    database: Path,
) -> None:
    async with Crew.running(database) as crew:
        first, second = await crew.agent(), await crew.agent()
        async with crew.storage.write() as tx:
            gone = update(agents).where(agents.c.agent_id == first)
            await tx.execute(gone.values(status="stopped"))
    async with Crew.running(database) as crew:
        election = await crew.election()
        assert (election["leader_id"], election["term"]) == (second, 2)


async def test_elections_at_once_are_one_after_the_other(crew: Crew) -> None:
    await crew.agent()
    answers = await asyncio.gather(*(trigger(crew) for _ in range(20)))
    assert sorted(answer["term"] for answer in answers) == list(range(2, 22))
