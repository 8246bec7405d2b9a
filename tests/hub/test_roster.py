"""Joins and leaves on one channel, and what the engine hears of them."""

from __future__ import annotations

import asyncio
import gc
import random

import pytest

from cardume.errors import Unavailable
from cardume.hub.channel import Channel
from cardume.hub.hub import Hub
from cardume.testing import FakeClock
from cardume.testing.clock import settle
from tests.support.engines import RecordingEngine
from tests.support.peers import Nobody, Peer, declare


def make() -> tuple[Hub, RecordingEngine]:
    clock = FakeClock()
    engine = RecordingEngine(clock)
    hub = Hub(auth=Nobody(), engine=engine, clock=clock)
    declare(hub, "room:{id}", history=50)
    return hub, engine


async def test_the_first_subscribes_and_the_last_unsubscribes() -> None:
    hub, engine = make()
    async with hub:
        peers = [await Peer(hub).enter("room:1") for _ in range(3)]
        for peer in peers:
            peer.leave()
        await settle()
        assert engine.calls == [("subscribe", "room:1"), ("unsubscribe", "room:1")]


async def test_many_joins_and_leaves_stay_balanced() -> None:
    hub, engine = make()
    seeded = random.Random(11)
    stable_frames = []

    async def come_and_go() -> None:
        for _ in range(10):
            engine.turns = seeded.randrange(4)
            peer = await Peer(hub).enter("room:1")
            for _ in range(seeded.randrange(6)):
                await asyncio.sleep(0)
            peer.leave()
            for _ in range(seeded.randrange(6)):
                await asyncio.sleep(0)

    async with hub:
        await asyncio.gather(*(come_and_go() for _ in range(20)))
        await settle(40)
        assert engine.held["room:1"] == 0
        verbs = [verb for verb, _ in engine.calls]
        assert verbs == ["subscribe", "unsubscribe"] * (len(verbs) // 2), "in turns, never over"
        peer = await Peer(hub).enter("room:1")
        await hub.publish("room:1", "m", {})
        stable_frames = peer.of_type("m")
        assert engine.held["room:1"] == 1
    assert len(stable_frames) == 1


async def test_who_comes_while_the_last_one_leaves_is_subscribed() -> None:
    hub, engine = make()
    async with hub:
        first = await Peer(hub).enter("room:1")
        engine.gate.clear()
        first.leave()
        await settle()
        assert engine.calls[-1] == ("unsubscribe", "room:1")
        coming = asyncio.create_task(Peer(hub).enter("room:1"))
        await settle()
        assert not coming.done()
        engine.gate.set()
        peer = await coming
        assert engine.held["room:1"] == 1
        await hub.publish("room:1", "m", {})
        assert peer.offsets() == [1]


async def test_an_engine_out_of_reach_leaves_nothing_behind() -> None:
    hub, engine = make()
    async with hub:
        engine.fails = True
        peer = Peer(hub)
        for n in range(5):
            with pytest.raises(Unavailable):
                await hub.join(peer.connection, f"room:{n}", None)
        await settle(40)
        assert peer.connection.subscriptions == {}
        assert channels_in_memory() == 0
        engine.fails = False
        engine.calls.clear()
        await peer.enter("room:1")
        assert engine.calls == [("subscribe", "room:1")]
        await hub.publish("room:1", "m", {})
        assert peer.offsets() == [1]


async def test_a_join_that_is_cancelled_half_way_is_undone() -> None:
    hub, engine = make()
    async with hub:
        engine.gate.clear()
        joining = asyncio.create_task(Peer(hub).enter("room:1"))
        await settle()
        joining.cancel()
        with pytest.raises(asyncio.CancelledError):
            await joining
        engine.gate.set()
        await settle(40)
        assert engine.calls == [("subscribe", "room:1"), ("unsubscribe", "room:1")]
        assert hub.audience("room:1") == 0


async def test_who_waited_behind_a_cancelled_join_gets_in() -> None:
    hub, engine = make()
    async with hub:
        engine.gate.clear()
        first = asyncio.create_task(Peer(hub).enter("room:1"))
        await settle()
        second = asyncio.create_task(Peer(hub).enter("room:1"))
        await settle()
        first.cancel()
        await settle()
        engine.gate.set()
        peer = await second
        await settle(40)
        assert hub.audience("room:1") == 1
        await hub.publish("room:1", "m", {})
        assert peer.offsets() == [1]


async def test_who_left_while_the_engine_answered_is_not_on_the_channel() -> None:
    hub, engine = make()
    async with hub:
        engine.gate.clear()
        peer = Peer(hub)
        joining = asyncio.create_task(hub.join(peer.connection, "room:1", None))
        await settle()
        peer.leave()
        engine.gate.set()
        await joining
        await settle(40)
        assert hub.audience("room:1") == 0
        assert engine.held["room:1"] == 0


async def test_channels_nobody_is_on_take_no_memory() -> None:
    hub, engine = make()
    async with hub:
        for n in range(300):
            peer = await Peer(hub).enter(f"room:{n}")
            peer.leave()
        del peer
        await settle(40)
        assert sum(engine.held.values()) == 0
        assert channels_in_memory() == 0


def channels_in_memory() -> int:
    gc.collect()
    return sum(isinstance(thing, Channel) for thing in gc.get_objects())
