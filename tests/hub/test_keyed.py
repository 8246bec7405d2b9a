"""Keyed channels: the latest of each key is the snapshot, and what follows has no gap."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardume.errors import ConfigurationError, Refused, Unavailable
from cardume.hub.entry import Entry, enter
from cardume.hub.hub import Hub
from cardume.hub.namespaces import ChannelOptions
from cardume.hub.options import HubOptions
from cardume.testing import FakeClock
from cardume.testing.clock import settle
from cardume.wire import codes
from cardume.wire.dialects.centrifuge import CentrifugeDialect
from cardume.wire.dialects.events import EventsDialect
from cardume.wire.dialects.rooms import RoomsDialect
from cardume.wire.messages import Position
from tests.hub.sdk import Client
from tests.support.engines import LateEngine
from tests.support.peers import Nobody, Peer, declare


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    made = Hub(auth=Nobody(), clock=FakeClock(), options=HubOptions(outbox_limit=8192))
    declare(made, "tank:{id}", history=3, keyed=True, keys=50)
    async with made:
        yield made


def state(peer: Peer) -> dict[str, Any]:
    """What a client makes of what it was told."""
    held: dict[str, Any] = {}
    for frame in peer.frames:
        if frame["type"] == "snapshot":
            held = dict(frame["data"]["keys"])
        elif frame["type"] == "m":
            held[frame["data"]["key"]] = frame["data"]
    return held


async def test_a_fresh_subscriber_gets_the_latest_of_each_key(hub: Hub) -> None:
    for key, value in (("a", 1), ("b", 2), ("a", 3), ("c", 4), ("b", None)):
        top = await hub.publish("tank:1", "m", value, key=key)
    await hub.publish("tank:1", "m", "no key")
    peer = await Peer(hub).enter("tank:1")
    [snapshot] = peer.of_type("snapshot")
    assert snapshot["data"] == {"keys": {"a": 3, "c": 4}}
    assert snapshot["offset"] == top.offset + 1
    assert peer.offsets() == []


async def test_an_empty_state_is_a_snapshot_too(hub: Hub) -> None:
    peer = await Peer(hub).enter("tank:1")
    assert [frame["data"] for frame in peer.of_type("snapshot")] == [{"keys": {}}]


async def test_who_resumes_gets_no_snapshot(hub: Hub) -> None:
    first = await hub.publish("tank:1", "m", {"key": "a"}, key="a")
    await hub.publish("tank:1", "m", {"key": "b"}, key="b")
    peer = await Peer(hub).enter("tank:1", first)
    assert (peer.of_type("snapshot"), peer.offsets()) == ([], [2])
    late = await Peer(hub).enter("tank:1", Position("other", 1))
    assert len(late.of_type("snapshot")) == 1


async def test_a_client_of_many_channels_gets_it_too(hub: Hub) -> None:
    await hub.publish("tank:1", "m", 1, key='a "key"')
    entry = await Client(hub).subscribe("tank:1")
    assert entry.snapshot == b'{"keys":{"a \\"key\\"":1}}'


async def test_a_full_state_refuses_new_keys_and_stays_as_it_was(hub: Hub) -> None:
    for n in range(50):
        top = await hub.publish("tank:1", "m", n, key=f"k{n}")
    with pytest.raises(Refused) as caught:
        await hub.publish("tank:1", "m", 1, key="one more")
    assert caught.value.code is codes.LIMIT_EXCEEDED
    assert hub.rejects.counts["keys_full"] == 1
    assert (await hub.history("tank:1")).position == top
    await hub.publish("tank:1", "m", 1, key="k7")
    await hub.publish("tank:1", "m", None, key="k7")
    await hub.publish("tank:1", "m", 1, key="one more")


async def test_a_state_that_no_outbox_holds_is_said(hub: Hub) -> None:
    for n in range(3):
        await hub.publish("tank:1", "m", "x" * 3500, key=f"k{n}")
    with pytest.raises(Unavailable):
        await Peer(hub).enter("tank:1")


@pytest.mark.parametrize(
    "wrong", [{"history": 0}, {"snapshot": lambda: None}, {"keys": 0}], ids=["past", "two", "none"]
)
def test_what_does_not_go_with_keys(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        ChannelOptions(**{"history": 5, "keyed": True, **wrong})


STEPS = st.lists(
    st.sampled_from(["publish a", "publish b", "publish c", "arrive", "hold", "read", "subscribe"]),
    min_size=5,
    max_size=40,
)


@settings(deadline=None, max_examples=150)
@given(STEPS)
def test_snapshot_and_tail_are_one_state_whatever_overlaps(steps: list[str]) -> None:
    asyncio.run(_overlapping(steps))


async def _overlapping(steps: list[str]) -> None:
    clock = FakeClock()
    engine = LateEngine(clock)
    hub = Hub(auth=Nobody(), clock=clock, engine=engine)
    declare(hub, "tank:{id}", history=3, keyed=True)
    truth: dict[str, Any] = {}
    entering: list[tuple[Peer, asyncio.Task[Peer]]] = []
    async with hub:
        for number, step in enumerate(steps):
            word, _, key = step.partition(" ")
            if word == "publish":
                truth[key] = {"key": key, "n": number}
                await hub.publish("tank:1", "m", truth[key], key=key)
            elif word == "arrive":
                engine.arrive()
            elif word == "hold":
                engine.replay_gate.clear()
            elif word == "read":
                engine.replay_gate.set()
            else:
                peer = Peer(hub)
                entering.append((peer, asyncio.ensure_future(peer.enter("tank:1"))))
            await settle(5)
        engine.replay_gate.set()
        await settle()
        engine.arrive(len(engine.on_the_way))
        for peer, task in entering:
            await task
            if peer.live:
                assert state(peer) == truth
                [snapshot] = peer.of_type("snapshot")
                begins = snapshot["offset"]
                assert peer.offsets() == list(range(begins + 1, begins + 1 + len(peer.offsets())))


async def test_channels_that_nobody_declared_have_their_state_too() -> None:
    options = HubOptions(undeclared=ChannelOptions(history=10, keyed=True))
    async with Hub(auth=Nobody(), clock=FakeClock(), options=options) as hub:
        await hub.publish("free", "m", 1, key="a")
        told: list[Entry] = []

        async def come(dialect: Any) -> bytes | None:
            connection = Peer(hub, dialect=dialect).connection
            await enter(hub, connection, "free", greet=lambda _, entry: told.append(entry))
            return told[-1].snapshot

        assert await come(CentrifugeDialect()) == b'{"keys":{"a":1}}'
        assert await come(EventsDialect()) == b'{"keys":{"a":1}}'
        assert await come(RoomsDialect()) is None, "it has no frame for it"
        assert told[-1].position.offset == 1


async def test_who_is_told_nothing_needs_no_state(hub: Hub) -> None:
    for n in range(3):
        await hub.publish("tank:1", "m", "x" * 3500, key=f"k{n}")
    client = Client(hub)
    await client.connection.join("tank:1")
    await hub.publish("tank:1", "m", "live")
    assert [told["data"] for told in client.told()] == ["live"]


async def test_the_state_is_that_of_the_place_that_is_told() -> None:
    clock = FakeClock()
    engine = LateEngine(clock)
    async with Hub(auth=Nobody(), clock=clock, engine=engine) as hub:
        declare(hub, "tank:{id}", history=3, keyed=True)
        engine.stale = True
        engine.replay_gate.clear()
        peer = Peer(hub)
        entering = asyncio.create_task(peer.enter("tank:1"))
        await settle()
        await hub.publish("tank:1", "m", 1, key="a")
        engine.replay_gate.set()
        await entering
        engine.arrive()
        [snapshot] = peer.of_type("snapshot")
        assert (snapshot["offset"], snapshot["data"]) == (1, {"keys": {"a": 1}})
        assert (peer.live, peer.offsets()) == (True, [])
