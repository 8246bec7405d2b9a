"""Gaps on live connections: noticed by asking the engine, healed by coming back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardume.engines.base import Replay, Retention
from cardume.errors import Unavailable
from cardume.hub.hub import Hub
from cardume.hub.watch import EVERY, PATIENCE, is_lost, is_suspect
from cardume.testing import FakeClock
from cardume.testing.clock import settle
from cardume.wire.messages import Position
from tests.hub.sdk import Client
from tests.support.engines import LateEngine
from tests.support.peers import Nobody, Peer, declare

ROOM = "room:1"
ROUND = 1.1 * EVERY
"""Within this time there is a round."""


class FaultyEngine(LateEngine):
    """Loses announcements, says it went back, or is out of reach; counts its reads."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.prompt = True
        self.reads = 0
        self.shift = 0
        self.away = False

    async def replay(
        self, channel: str, since: Position | None, retention: Retention, limit: int
    ) -> Replay:
        self.reads += 1
        if self.away:
            raise Unavailable("the engine is away")
        replay = await super().replay(channel, since, retention, limit)
        if not self.shift:
            return replay
        top = Position(replay.top.epoch, replay.top.offset + self.shift)
        return Replay(top, replay.publications)

    def go_back(self, count: int) -> None:
        """Forget the newest, as a store that restarts from an older file."""
        stream, _ = self._inner._streams[ROOM]
        stream.top -= count
        for _ in range(count):
            stream._log.pop()
            stream._times.pop()

    async def publish_unheard(self, hub: Hub) -> None:
        """Accept a publication whose announcement gets lost."""
        self.prompt = False
        await hub.publish(ROOM, "m", {})
        self.on_the_way.pop()
        self.prompt = True


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def engine(clock: FakeClock) -> FaultyEngine:
    return FaultyEngine(clock)


@pytest.fixture
async def hub(clock: FakeClock, engine: FaultyEngine) -> AsyncIterator[Hub]:
    made = Hub(auth=Nobody(), clock=clock, engine=engine)
    declare(made, "room:{id}", history=50)
    declare(made, "quiet")
    async with made:
        yield made


async def test_a_lost_announcement_is_noticed_without_a_next_one(
    hub: Hub, clock: FakeClock, engine: FaultyEngine
) -> None:
    peer = await Peer(hub).enter(ROOM)
    first = await hub.publish(ROOM, "m", {})
    await engine.publish_unheard(hub)
    await clock.advance(ROUND + PATIENCE)
    assert peer.code == 3010
    assert hub.rejects.counts["position_lost"] == 1
    again = await Peer(hub).enter(ROOM, first)
    assert again.frames[0]["data"]["recovered"]
    assert again.offsets() == [2]
    await hub.publish(ROOM, "m", {})
    await clock.advance(3 * ROUND)
    assert (again.live, again.offsets()) == (True, [2, 3])


async def test_a_quiet_channel_is_left_alone(
    hub: Hub, clock: FakeClock, engine: FaultyEngine
) -> None:
    peers = [await Peer(hub).enter(ROOM) for _ in range(5)]
    await Peer(hub).enter("quiet")
    await hub.publish(ROOM, "m", {})
    engine.reads = 0
    await clock.advance(10 * EVERY)
    assert 8 <= engine.reads <= 12, "one read a channel and round, whoever is on it"
    assert all(peer.live for peer in peers)


async def test_what_is_on_the_way_is_given_time(
    hub: Hub, clock: FakeClock, engine: FaultyEngine
) -> None:
    peer = await Peer(hub).enter(ROOM)
    engine.prompt = False
    for _ in range(50):
        await hub.publish(ROOM, "m", {})
        await clock.advance(PATIENCE - 1)
        engine.arrive()
    assert (peer.live, len(peer.offsets())) == (True, 50)


async def test_an_engine_that_went_back_is_noticed(
    hub: Hub, clock: FakeClock, engine: FaultyEngine
) -> None:
    peer = await Peer(hub).enter(ROOM)
    for _ in range(5):
        await hub.publish(ROOM, "m", {})
    engine.shift = -2
    await clock.advance(ROUND + PATIENCE)
    assert peer.code == 3010


async def test_who_comes_after_that_goes_on_from_where_the_engine_is(
    hub: Hub, clock: FakeClock, engine: FaultyEngine
) -> None:
    old = await Peer(hub).enter(ROOM)
    old.transport.on_close = None  # its socket takes its time to go
    for _ in range(5):
        top = await hub.publish(ROOM, "m", {})
    engine.go_back(2)
    await clock.advance(ROUND + PATIENCE)
    assert old.code == 3010
    new = await Peer(hub).enter(ROOM, top)
    assert not new.frames[0]["data"]["recovered"]
    await hub.publish(ROOM, "m", {})
    assert (new.live, new.offsets(), old.offsets()) == (True, [4], [1, 2, 3, 4, 5])
    old.leave()


async def test_a_replica_that_lagged_for_a_moment_is_forgiven(
    hub: Hub, clock: FakeClock, engine: FaultyEngine
) -> None:
    peer = await Peer(hub).enter(ROOM)
    for _ in range(5):
        await hub.publish(ROOM, "m", {})
    engine.shift, engine.reads = -2, 0
    while engine.reads == 0:
        await clock.advance(1)
    engine.shift = 0
    await clock.advance(PATIENCE + 1)
    assert peer.live


async def test_an_engine_out_of_reach_proves_nothing(
    hub: Hub, clock: FakeClock, engine: FaultyEngine
) -> None:
    peer = await Peer(hub).enter(ROOM)
    await engine.publish_unheard(hub)
    engine.away = True
    await clock.advance(5 * EVERY)
    assert peer.live
    engine.away = False
    await clock.advance(ROUND + PATIENCE)
    assert peer.code == 3010


async def test_a_client_of_many_channels_loses_one_of_them(
    hub: Hub, clock: FakeClock, engine: FaultyEngine
) -> None:
    client, pinned = Client(hub), Client(hub, "berta")
    await client.subscribe(ROOM)
    await client.subscribe("room:2")
    await hub.subscribe("berta", ROOM)
    await engine.publish_unheard(hub)
    await clock.advance(ROUND + PATIENCE)
    assert client.live
    assert set(client.connection.subscriptions) == {"room:2"}
    assert client.pushes("unsubscribe") == [{"code": 2500, "reason": "insufficient state"}]
    assert pinned.code == 3010, "its client would not come back to the channel by itself"
    await client.subscribe(ROOM)
    await hub.publish(ROOM, None, "after")
    assert client.told() == ["after"]


async def test_a_gap_between_two_deliveries_costs_one_channel(
    hub: Hub, engine: FaultyEngine
) -> None:
    client = Client(hub)
    await client.subscribe(ROOM)
    await client.subscribe("room:2")
    await engine.publish_unheard(hub)
    await hub.publish(ROOM, None, "beyond the gap")
    assert (client.live, client.told()) == (True, [])
    assert [gone["code"] for gone in client.pushes("unsubscribe")] == [2500]
    await settle()
    assert set(hub.channels()) == {"room:2"}


async def test_the_check_ends_with_the_hub(hub: Hub, clock: FakeClock) -> None:
    await Peer(hub).enter(ROOM)
    names = {task.get_name() for task in asyncio.all_tasks()}
    assert "position check" in names
    await hub.__aexit__(None, None, None)
    assert "position check" not in {task.get_name() for task in asyncio.all_tasks()}
    await hub.__aenter__()


OFFSETS = st.integers(0, 30)


@given(before=OFFSETS, more=OFFSETS, read_after=OFFSETS, later=OFFSETS, patience=OFFSETS)
def test_in_order_delivery_is_never_cut(
    before: int, more: int, read_after: int, later: int, patience: int
) -> None:
    """However far delivery is behind, if all that was read first has arrived by the second look."""
    engine_top = before + more
    first = Position("e", engine_top)
    after = Position("e", min(engine_top, before + read_after))
    assert is_suspect(Position("e", before), after, first) is (after.offset < engine_top)
    then = Position("e", engine_top + min(later, patience))
    assert not is_lost(then, then, first, Position("e", engine_top + later))


@given(position=OFFSETS, missing=st.integers(1, 30), more=OFFSETS)
def test_a_loss_is_always_cut(position: int, missing: int, more: int) -> None:
    here, first = Position("e", position), Position("e", position + missing)
    assert is_suspect(here, here, first)
    assert is_lost(here, here, first, Position("e", position + missing + more))


@given(position=OFFSETS, top=OFFSETS)
def test_another_epoch_is_always_cut(position: int, top: int) -> None:
    here, there = Position("old", position), Position("new", top)
    assert is_suspect(here, here, there)
    assert is_lost(here, here, there, there)
