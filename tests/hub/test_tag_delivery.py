"""Filters by tags on live channels: what comes through, and that equal ones cost as one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from cardume.hub.hub import Hub
from cardume.hub.tags import Tags, parse
from cardume.testing import FakeClock
from cardume.testing.clock import settle
from cardume.wire.messages import Position
from tests.hub.sdk import Client
from tests.support.engines import LateEngine
from tests.support.peers import Nobody, Peer, declare

ROOM = "room:1"
LISBON = parse({"key": "city", "cmp": "eq", "val": "lisbon"})


@pytest.fixture
def engine() -> LateEngine:
    made = LateEngine(FakeClock())
    made.prompt = True
    return made


@pytest.fixture
async def hub(engine: LateEngine) -> AsyncIterator[Hub]:
    made = Hub(auth=Nobody(), clock=FakeClock(), engine=engine)
    declare(made, "room:{id}", history=50)
    async with made:
        yield made


async def speak(hub: Hub) -> None:
    """Three publications, of which the second is of another city."""
    for number, city in enumerate(("lisbon", "porto", "lisbon"), 1):
        await hub.publish(ROOM, None, number, tags={"city": city})


async def test_only_what_the_filter_lets_through(hub: Hub) -> None:
    some, all_of_it = Client(hub), Client(hub)
    await some.subscribe(ROOM, tags=LISBON)
    await all_of_it.subscribe(ROOM)
    await speak(hub)
    await hub.publish(ROOM, None, "untagged")
    assert some.told() == [1, 3]
    assert all_of_it.told() == [1, 2, 3, "untagged"]
    assert some.subscription is not None
    assert some.subscription.cursor.offset == 4, "what is filtered out is no gap"
    assert some.live


async def test_a_replay_goes_through_the_filter(hub: Hub) -> None:
    empty = (await hub.history(ROOM)).position
    await speak(hub)
    client = Client(hub)
    entry = await client.subscribe(ROOM, Position(empty.epoch, 0), tags=LISBON)
    assert entry.recovered
    assert client.told() == [1, 3]


async def test_what_comes_while_history_is_read_goes_through_it_too(
    hub: Hub, engine: LateEngine
) -> None:
    engine.replay_gate.clear()
    engine.stale = True
    client = Client(hub)
    subscribing = asyncio.ensure_future(client.subscribe(ROOM, tags=LISBON))
    await settle()
    await speak(hub)
    engine.replay_gate.set()
    await subscribing
    await speak(hub)
    assert client.told() == [1, 3, 1, 3]


async def test_a_filter_may_ask_for_the_type(hub: Hub) -> None:
    client = Client(hub)
    await client.subscribe(ROOM, tags=parse({"key": "type", "cmp": "in", "vals": ["alert"]}))
    for type in ("alert", "reading", None):
        await hub.publish(ROOM, type, {}, tags={"type": "spoofed"})
    assert [data["type"] for data in client.told()] == ["alert"]


async def test_types_and_tags_are_both_asked(hub: Hub) -> None:
    peer = Peer(hub)
    await peer.enter(ROOM, types=frozenset({"a"}))
    assert peer.subscription is not None
    both = Client(hub)
    both.connection.types = frozenset({"a"})
    await both.subscribe(ROOM, tags=parse({"key": "city", "cmp": "eq", "val": "lisbon"}))
    for type, city in (("a", "lisbon"), ("a", "porto"), ("b", "lisbon")):
        await hub.publish(ROOM, type, {}, tags={"city": city})
    assert peer.offsets() == [1, 2]
    assert [pub["offset"] for pub in both.pushes("pub")] == [1]
    both.connection.narrow(None)
    await hub.publish(ROOM, "b", {}, tags={"city": "lisbon"})
    assert [pub["offset"] for pub in both.pushes("pub")] == [1, 4]


class Counting:
    """A filter that counts how often it is asked; all of them are the same filter."""

    asked = 0

    def matches(self, tags: Tags) -> bool:
        Counting.asked += 1
        return "city" in tags

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, Counting)

    def __hash__(self) -> int:
        return 7


async def test_equal_filters_are_asked_once_a_publication(hub: Hub) -> None:
    clients = [Client(hub) for _ in range(20)]
    for client in clients:
        await client.subscribe(ROOM, tags=Counting())
    await speak(hub)
    assert Counting.asked == 3
    assert all(client.told() == [1, 2, 3] for client in clients)
    for client in clients:
        client.leave()
    await speak(hub)
    assert Counting.asked == 3
