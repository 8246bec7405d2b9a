"""Heartbeats, silence, and what one commit does about it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from cardume.apps.agents import leases
from cardume.auth.identity import Identity
from cardume.errors import Refused
from cardume.storage.tables import agents
from cardume.testing import FakeClock
from cardume.wire.messages import rfc3339
from tests.support.crew import ADMIN, Crew, said
from tests.support.peers import Peer

agent = Crew.identity


async def status(crew: Crew, agent_id: str) -> str:
    found: str = (await crew.ok("GET", f"/agents/{agent_id}"))["status"]
    return found


async def stored(crew: Crew, agent_id: str) -> Any:
    return {row["agent_id"]: row for row in await crew.rows(agents)}[agent_id]["heartbeat_at"]


async def test_an_agent_that_never_spoke_does_not_lapse(crew: Crew) -> None:
    agent_id = await crew.agent(lease_seconds=1)
    await crew.passes(3600)
    found = await crew.ok("GET", f"/agents/{agent_id}")
    assert (found["status"], found["lease_expires_at"]) == ("active", None)


async def test_heartbeats_keep_an_agent_and_silence_ends_it(crew: Crew) -> None:
    agent_id = await crew.agent()
    for _ in range(5):
        now = crew.clock.now()
        found = await crew.beat(agent_id)
        assert found["last_heartbeat_at"] == rfc3339(now)
        assert found["lease_expires_at"] == rfc3339(now + 30)
        assert found["version"] == 1
        await crew.passes(29)
    assert await status(crew, agent_id) == "active"
    await crew.passes(1)
    found = await crew.ok("GET", f"/agents/{agent_id}")
    assert (found["status"], found["lease_expires_at"]) == ("inactive", None)
    assert found["last_heartbeat_at"] == rfc3339(now)


async def test_the_next_heartbeat_brings_it_back(crew: Crew) -> None:
    agent_id = await crew.agent(lease_seconds=5)
    await crew.beat(agent_id)
    await crew.passes(5)
    assert await status(crew, agent_id) == "inactive"
    peers = await crew.listen()
    found = await crew.beat(agent_id)
    assert (found["status"], found["version"], found["is_leader"]) == ("active", 3, True)
    assert said(peers["agents"]) == [
        (
            "agent_status_changed",
            {"agent_id": agent_id, "old_status": "inactive", "new_status": "active", "version": 3},
        )
    ]
    await crew.passes(5)
    assert await status(crew, agent_id) == "inactive"


async def test_a_paused_agent_has_to_speak_too_and_a_stopped_one_has_not(crew: Crew) -> None:
    paused, stopped = await crew.agent(), await crew.agent()
    for agent_id, action in ((paused, "pause"), (stopped, "stop")):
        await crew.beat(agent_id)
        await crew.act(agent_id, action)
    found = await crew.ok("GET", f"/agents/{stopped}")
    assert found["lease_expires_at"] is None
    await crew.passes(31)
    assert await status(crew, paused) == "inactive"
    assert await status(crew, stopped) == "stopped"
    # Whoever is started again has a whole lease to speak in.
    assert (await crew.act(stopped, "start"))["status"] == "active"
    await crew.passes(29)
    assert await status(crew, stopped) == "active"
    await crew.passes(1)
    assert await status(crew, stopped) == "inactive"


async def test_a_new_length_counts_from_its_patch(crew: Crew) -> None:
    agent_id = await crew.agent()
    await crew.beat(agent_id)
    await crew.passes(20)
    body = {"lease_seconds": 5}
    found = await crew.ok("PATCH", f"/agents/{agent_id}", body, **ADMIN)
    assert found["lease_expires_at"] == rfc3339(crew.clock.now() + 5)
    assert found["lease_seconds"] == 5
    await crew.passes(5)
    assert await status(crew, agent_id) == "inactive"


async def test_another_default(database: Path) -> None:
    async with Crew.running(database, lease=7.0) as crew:
        agent_id = await crew.agent()
        assert (await crew.beat(agent_id))["lease_seconds"] == 7
        await crew.passes(7)
        assert await status(crew, agent_id) == "inactive"


async def test_the_wall_clock_neither_ends_nor_prolongs_a_lease(crew: Crew) -> None:
    agent_id = await crew.agent()
    await crew.beat(agent_id)
    crew.clock.step_wall(3600)
    await crew.passes(29)
    assert await status(crew, agent_id) == "active"
    crew.clock.step_wall(-7200)
    await crew.passes(1)
    assert await status(crew, agent_id) == "inactive"


async def test_a_lapse_is_one_commit_and_its_events_are_in_order(crew: Crew) -> None:
    leader, next_one = await crew.agent(), await crew.agent()
    await crew.beat(leader)
    made = await crew.ok("POST", "/coordination/tasks", {"task_type": "chase"}, **ADMIN)
    task = f"/coordination/tasks/{made['task_id']}"
    await crew.ok("POST", f"{task}/assign", {"agent_id": leader}, **ADMIN)
    await crew.ok("POST", f"{task}/start", **ADMIN)
    peers = await crew.listen()
    log: list[tuple[str, str]] = []
    for room, peer in peers.items():
        note(peer, room, log)
    await crew.passes(30)
    assert log == [
        ("agents", "agent_status_changed"),
        ("tasks", "task_created"),
        ("coordination", "election_triggered"),
        ("coordination", "leader_elected"),
    ]
    given_back = said(peers["tasks"])[0][1]
    assert (given_back["status"], given_back["reason"]) == ("created", "agent_lapsed")
    election = await crew.election()
    assert (election["leader_id"], election["reason"]) == (next_one, "leader_lapsed")


def note(peer: Peer, room: str, log: list[tuple[str, str]]) -> None:
    """Write down the events of a peer as they come."""
    read, seen = peer.transport.read, 0

    def reading() -> None:
        nonlocal seen
        read()
        log.extend((room, type) for type, _ in said(peer)[seen:])
        seen = len(said(peer))

    peer.transport.read = reading  # type: ignore[method-assign]


async def test_what_cannot_be_kept_did_not_happen_and_is_tried_again(crew: Crew) -> None:
    agent_id = await crew.agent()
    await crew.beat(agent_id)
    peers = await crew.listen()
    refuse = "CREATE TRIGGER full BEFORE UPDATE ON agents BEGIN SELECT RAISE(FAIL, 'full'); END"
    async with crew.storage.write() as tx:
        await tx.execute(text(refuse))
    await crew.passes(30)
    assert await status(crew, agent_id) == "active"
    assert said(peers["agents"]) == []
    async with crew.storage.write() as tx:
        await tx.execute(text("DROP TRIGGER full"))
    await crew.passes(5)
    assert await status(crew, agent_id) == "inactive"


async def test_who_speaks_after_a_lapse_that_was_not_kept_stays(crew: Crew) -> None:
    agent_id = await crew.agent()
    await crew.beat(agent_id)
    refuse = "CREATE TRIGGER full BEFORE UPDATE ON agents BEGIN SELECT RAISE(FAIL, 'full'); END"
    async with crew.storage.write() as tx:
        await tx.execute(text(refuse))
    await crew.passes(30)
    await crew.beat(agent_id)
    async with crew.storage.write() as tx:
        await tx.execute(text("DROP TRIGGER full"))
    await crew.passes(29)
    assert await status(crew, agent_id) == "active"


async def test_a_heartbeat_before_the_decision_counts(crew: Crew) -> None:
    agent_id = await crew.agent()
    await crew.beat(agent_id)
    async with crew.storage.write():  # the lapse has to wait for its turn
        await crew.clock.advance(31)
        await crew.app.watch.heartbeat(agent(agent_id), agent_id)
    await crew.quiet()
    found = await crew.ok("GET", f"/agents/{agent_id}")
    assert (found["status"], found["version"]) == ("active", 1)


async def test_a_heartbeat_during_a_lapse_is_not_lost(
    crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent_id = await crew.agent()
    await crew.beat(agent_id)
    answers: list[asyncio.Task[Any]] = []
    take_due = crew.app.watch.leases.take_due

    def and_then_it_speaks(agent_ids: list[str]) -> list[str]:
        due = take_due(agent_ids)
        beat = crew.app.watch.heartbeat(agent(agent_id), agent_id)
        answers.append(asyncio.ensure_future(beat))
        return due

    monkeypatch.setattr(crew.app.watch.leases, "take_due", and_then_it_speaks)
    peers = await crew.listen()
    await crew.passes(30)
    assert [(await answer)["status"] for answer in answers] == ["active"]
    assert [data["new_status"] for _, data in said(peers["agents"])] == ["inactive", "active"]
    assert await status(crew, agent_id) == "active"


async def test_many_lapse_at_once(crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cardume.apps.agents.watch.BATCH", 8)
    quiet = [await crew.agent() for _ in range(20)]
    loud = await crew.agent()
    for agent_id in quiet:
        await crew.app.watch.heartbeat(agent(agent_id), agent_id)
    await crew.passes(30)
    found = await crew.ok("GET", "/agents?status=inactive&limit=1000")
    assert [each["agent_id"] for each in found["items"]] == quiet
    election = await crew.election()
    # Each commit that took a leader elected the next: none was leader and inactive.
    assert (election["leader_id"], election["term"]) == (loud, 4)


# -- what the database knows --------------------------------------------------------------------


async def test_the_first_heartbeat_is_stored_at_once_and_later_ones_now_and_then(
    crew: Crew,
) -> None:
    agent_id = await crew.agent()
    await crew.beat(agent_id)
    first = crew.clock.now()
    assert await stored(crew, agent_id) == first
    writes = 0
    for _ in range(60):
        before = await stored(crew, agent_id)
        await crew.passes(1)
        await crew.beat(agent_id)
        writes += await stored(crew, agent_id) != before
    assert 3 <= writes <= 6  # a minute, a lease of 30 s
    assert crew.clock.now() - await stored(crew, agent_id) < 30 / 3 + 2 * leases.STORE_EVERY


async def test_a_restart_gives_a_whole_lease_to_whoever_ever_spoke(database: Path) -> None:
    clock = FakeClock()
    async with Crew.running(database, clock) as crew:
        spoke, mute, stopped = [await crew.agent() for _ in range(3)]
        await crew.beat(spoke)
        await crew.beat(stopped)
        await crew.act(stopped, "stop")
        await crew.passes(25)
        await crew.beat(spoke)
        last = clock.now()  # to be stored at the end of this life
    await clock.advance(3600)
    async with Crew.running(database, clock) as crew:
        found = await crew.ok("GET", f"/agents/{spoke}")
        assert found["last_heartbeat_at"] == rfc3339(last)
        assert found["lease_expires_at"] == rfc3339(clock.now() + 30)
        await crew.passes(29)
        assert [await status(crew, id) for id in (spoke, mute)] == ["active", "active"]
        await crew.passes(1)
        assert await status(crew, spoke) == "inactive"
        await crew.passes(600)
        assert await status(crew, mute) == "active"
        assert await status(crew, stopped) == "stopped"


async def test_an_agent_that_lapsed_is_inactive_after_a_restart(database: Path) -> None:
    clock = FakeClock()
    async with Crew.running(database, clock) as crew:
        agent_id = await crew.agent()
        await crew.beat(agent_id)
        await crew.passes(30)
    async with Crew.running(database, clock) as crew:
        assert await status(crew, agent_id) == "inactive"
        assert (await crew.beat(agent_id))["status"] == "active"


# -- by connection ------------------------------------------------------------------------------


async def test_an_agents_own_connection_renews_by_speaking(crew: Crew) -> None:
    agent_id = await crew.agent()
    own = await Peer(crew.hub, agent(agent_id)).enter("agents")
    await crew.passes(60)
    assert await status(crew, agent_id) == "active"  # to be there is not to speak
    assert await stored(crew, agent_id) is None
    for _ in range(3):
        await own.say({"type": "ping"})
        await crew.passes(29)
    assert await status(crew, agent_id) == "active"
    await crew.passes(1)
    assert await status(crew, agent_id) == "inactive"
    await own.say({"type": "ping"})
    await crew.quiet()
    assert await status(crew, agent_id) == "active"


async def test_what_others_say_is_no_sign_of_life(crew: Crew) -> None:
    agent_id = await crew.agent()
    await crew.beat(agent_id)
    speakers = [Identity(agent_id), Identity("root", role="admin"), agent("agent_x_001")]
    await crew.passes(20)
    for speaker in speakers:
        await (await Peer(crew.hub, speaker).enter("agents")).say({"type": "ping"})
    await crew.passes(10)
    assert await status(crew, agent_id) == "inactive"


async def test_a_stopped_agent_that_speaks_stays_stopped(crew: Crew) -> None:
    agent_id = await crew.agent()
    own = await Peer(crew.hub, agent(agent_id)).enter("agents")
    await own.say({"type": "ping"})
    await crew.quiet()
    await crew.act(agent_id, "stop")
    await own.say({"type": "ping"})
    await crew.quiet()
    assert await status(crew, agent_id) == "stopped"


async def test_a_deleted_agent_is_forgotten(crew: Crew) -> None:
    agent_id = await crew.agent()
    await crew.beat(agent_id)
    await crew.call("DELETE", f"/agents/{agent_id}", **ADMIN)
    with pytest.raises(Refused, match="no agent"):
        await crew.hub.actions.run(agent(agent_id), "heartbeat", {"agent_id": agent_id})
    crew.app.watch.spoke(agent(agent_id))
    await crew.passes(60)
    assert await crew.rows(agents) == []


async def test_a_burst_of_speech_is_one_transaction(crew: Crew) -> None:
    agent_id = await crew.agent()
    await crew.beat(agent_id)
    await crew.passes(30)
    peers = await crew.listen()
    for _ in range(50):
        crew.app.watch.spoke(agent(agent_id))
    names = [task.get_name() for task in asyncio.all_tasks()]
    assert names.count("agent speaks") == 1
    await crew.quiet()
    assert [name for name, _ in said(peers["agents"])] == ["agent_status_changed"]


async def test_the_action_is_the_twin_of_the_call(crew: Crew) -> None:
    agent_id = await crew.agent(who="meter", role="service")
    run = crew.hub.actions.run
    for who in (Identity("meter"), agent(agent_id), Identity("root", role="admin")):
        answer = await run(who, "heartbeat", {"agent_id": agent_id})
        assert answer == {
            "agent_id": agent_id,
            "status": "active",
            "lease_expires_at": rfc3339(crew.clock.now() + 30),
        }
        await crew.passes(1)
    refusals: list[tuple[Identity, dict[str, Any], int]] = [
        (Identity("eva"), {"agent_id": agent_id}, 403),
        (agent("agent_x_001"), {"agent_id": agent_id}, 403),
        (Identity("other", role="service"), {"agent_id": agent_id}, 403),
        (Identity("root", role="admin"), {"agent_id": "agent_x_001"}, 404),
        (Identity("root", role="admin"), {}, 422),
        (Identity("root", role="admin"), {"agent_id": 1}, 422),
        (Identity("root", role="admin"), {"agent_id": agent_id, "more": 1}, 422),
    ]
    before = await crew.ok("GET", f"/agents/{agent_id}")
    for identity, body, expected in refusals:
        with pytest.raises(Refused) as refusal:
            await run(identity, "heartbeat", body)
        assert refusal.value.code.status == expected
    assert await crew.ok("GET", f"/agents/{agent_id}") == before
