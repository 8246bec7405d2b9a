"""Users: their connections counted, limited, closed, blocked, put on channels and taken off."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardume.auth.identity import Identity
from cardume.errors import Refused
from cardume.hub.census import Blocks, Index
from cardume.hub.hub import Hub
from cardume.hub.options import HubOptions
from cardume.testing import FakeClock
from cardume.testing.clock import settle
from cardume.wire import codes
from tests.hub.sdk import Client
from tests.support.peers import ANNA, PLAIN, MemoryTransport, Nobody, Peer, declare

BERTA = Identity("berta")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def make(clock: FakeClock, **options: int) -> Hub:
    made = Hub(auth=Nobody(), clock=clock, options=HubOptions(**options))  # type: ignore[arg-type]
    declare(made, "room:{id}", history=50, presence=True)
    return made


@pytest.fixture
async def hub(clock: FakeClock) -> AsyncIterator[Hub]:
    async with make(clock) as made:
        yield made


# -- who is connected -------------------------------------------------------------------------


async def test_the_connections_of_a_user(hub: Hub) -> None:
    one, two, other = Peer(hub), Peer(hub), Peer(hub, BERTA)
    assert {c.id for c in hub.connections_of("anna")} == {one.connection.id, two.connection.id}
    assert hub.connections_of("berta") == [other.connection]
    one.leave()
    other.leave()
    assert hub.connections_of("anna") == [two.connection]
    assert hub.connections_of("berta") == hub.connections_of("nobody") == []


async def test_channels_with_their_subscriptions(hub: Hub) -> None:
    assert hub.channels() == {}
    peers = [await Peer(hub).enter("room:1") for _ in range(3)]
    await Peer(hub).enter("room:2")
    assert hub.channels() == {"room:1": 3, "room:2": 1}
    for peer in peers:
        peer.leave()
    assert hub.channels() == {"room:2": 1}


STEPS = st.lists(st.tuples(st.booleans(), st.sampled_from("ab"), st.integers(0, 4)))


@given(STEPS)
def test_the_index_is_a_set_by_key(steps: list[tuple[bool, str, int]]) -> None:
    index: Index[int] = Index()
    model: dict[str, set[int]] = {"a": set(), "b": set()}
    for add, key, value in steps:
        if add:
            index.add(key, value)
            model[key].add(value)
        else:
            index.discard(key, value)
            model[key].discard(value)
        for name, held in model.items():
            assert sorted(index.of(name)) == sorted(held)
            assert index.count(name) == len(held)
        assert len(index) == sum(1 for held in model.values() if held)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["block", "for ever", "lift", "wait"]),
            st.sampled_from("ab"),
            st.integers(0, 9),
        )
    )
)
def test_blocks_hold_until_their_time(steps: list[tuple[str, str, int]]) -> None:
    blocks, now = Blocks(), 0.0
    model: dict[str, float] = {}
    for step, sub, seconds in steps:
        if step == "block":
            blocks.add(sub, seconds, now)
            model[sub] = now + seconds
        elif step == "for ever":
            blocks.add(sub, None, now)
            model[sub] = float("inf")
        elif step == "lift":
            blocks.lift(sub)
            model.pop(sub, None)
        else:
            now += seconds
        assert [blocks.holds(s, now) for s in "ab"] == [model.get(s, 0.0) > now for s in "ab"]


def test_blocks_that_are_over_take_no_room() -> None:
    blocks = Blocks()
    for n in range(1000):
        blocks.add(f"user {n}", 1.0, float(n))
    assert len(blocks) <= 2


# -- limits -----------------------------------------------------------------------------------


async def test_connections_per_user(clock: FakeClock) -> None:
    async with make(clock, connections_per_user=2) as hub:
        peers = [Peer(hub), Peer(hub)]
        assert hub.refusal(ANNA) is codes.CONNECTION_LIMIT
        assert hub.refusal(BERTA) is None
        assert hub.rejects.counts == {"user_connection_limit": 1}
        peers[0].leave()
        assert hub.refusal(ANNA) is None


async def test_connections_per_address(clock: FakeClock) -> None:
    async with make(clock, connections_per_address=2) as hub:
        here = "192.0.2.7"
        held = [
            hub.connect(Identity(f"user {n}"), PLAIN, MemoryTransport(), address=here)
            for n in range(2)
        ]
        assert hub.is_crowded(here)
        assert hub.refusal(ANNA, here) is codes.CONNECTION_LIMIT
        assert hub.rejects.counts == {"address_connection_limit": 1}
        assert hub.refusal(ANNA, "192.0.2.8") is None
        assert hub.refusal(ANNA) is None, "an address that the server does not know"
        hub.disconnect(held[0])
        assert not hub.is_crowded(here)
        hub.disconnect(held[1])


async def test_connections_of_the_whole_hub(clock: FakeClock) -> None:
    async with make(clock, max_connections=1) as hub:
        Peer(hub)
        assert hub.refusal(BERTA) is codes.CONNECTION_LIMIT
        assert hub.rejects.counts == {"connection_limit": 1}


async def test_limits_are_off_unless_they_are_set(hub: Hub) -> None:
    peers = [Peer(hub) for _ in range(200)]
    assert hub.refusal(ANNA, "192.0.2.7") is None
    assert len(hub.connections_of("anna")) == len(peers)


async def test_too_many_channels_are_counted(clock: FakeClock) -> None:
    async with make(clock, channels_per_connection=1) as hub:
        client = Client(hub)
        await client.subscribe("room:1")
        with pytest.raises(Refused) as caught:
            await client.subscribe("room:2")
        assert caught.value.code is codes.LIMIT_EXCEEDED
        assert hub.rejects.counts == {"channel_limit": 1}


# -- sent away --------------------------------------------------------------------------------


async def test_closing_a_user_everywhere_but_here(hub: Hub) -> None:
    one, here, other = Peer(hub), Peer(hub), Peer(hub, BERTA)
    assert hub.close_user("anna", except_=[here.connection.id]) == 1
    assert (one.code, here.code, other.code) == (3503, None, None)
    assert hub.close_user("anna", codes.FORCE_RECONNECT) >= 1
    assert here.code == 3011
    assert hub.close_user("nobody") == 0


async def test_a_blocked_user_is_closed_and_stays_out(hub: Hub, clock: FakeClock) -> None:
    anna, berta = await Peer(hub).enter("room:1"), await Peer(hub, BERTA).enter("room:1")
    assert hub.block_user("anna", 60) == 1
    assert (anna.code, berta.code) == (3507, None)
    assert hub.refusal(ANNA) is codes.PERMISSION_DENIED_CLOSE
    assert hub.rejects.counts == {"blocked_user": 1}
    assert hub.refusal(BERTA) is None
    await clock.advance(59)
    assert hub.refusal(ANNA) is not None
    await clock.advance(1)
    assert hub.refusal(ANNA) is None


async def test_a_block_without_an_end_is_lifted_by_hand(hub: Hub, clock: FakeClock) -> None:
    hub.block_user("anna")
    await clock.advance(10_000)
    assert hub.refusal(ANNA) is codes.PERMISSION_DENIED_CLOSE
    assert hub.unblock_user("anna")
    assert hub.refusal(ANNA) is None
    assert not hub.unblock_user("anna")


# -- put and taken ----------------------------------------------------------------------------


async def test_a_user_is_put_on_a_channel_and_told(hub: Hub) -> None:
    clients, berta = [Client(hub), Client(hub)], Client(hub, "berta")
    top = await hub.publish("room:1", None, "before")
    assert await hub.subscribe("anna", "room:1") == 2
    assert await hub.subscribe("anna", "room:1") == 0, "they are there"
    await hub.publish("room:1", None, "after")
    for client in clients:
        [told] = client.pushes("subscribe")
        assert (told["epoch"], told["offset"], told["recoverable"]) == (top.epoch, 1, True)
        assert client.told() == ["after"]
    assert berta.frames == []


async def test_a_connection_of_one_channel_is_put_nowhere(hub: Hub) -> None:
    peer = await Peer(hub).enter("room:1")
    assert await hub.subscribe("anna", "room:2") == 0
    assert set(peer.connection.subscriptions) == {"room:1"}
    with pytest.raises(Refused):
        await hub.subscribe("anna", "nowhere")


async def test_a_user_is_taken_off_a_channel_and_told(hub: Hub) -> None:
    client, plain, berta = Client(hub), await Peer(hub).enter("room:1"), Client(hub, "berta")
    for one in (client, berta):
        await one.subscribe("room:1")
        await one.subscribe("room:2")
    assert hub.unsubscribe("anna", "room:1") == 2
    assert hub.unsubscribe("anna", "room:1") <= 1
    await hub.publish("room:1", None, "later")
    assert client.pushes("unsubscribe") == [{"code": 2000, "reason": "server unsubscribe"}]
    assert (client.live, client.told(), berta.told()) == (True, [], ["later"])
    assert plain.code == 3503
    await settle()
    assert hub.channels() == {"room:1": 1, "room:2": 2}


async def test_a_full_connection_is_no_reason_to_leave_the_others_out(clock: FakeClock) -> None:
    async with make(clock, channels_per_connection=1) as hub:
        full, free = Client(hub), Client(hub)
        await full.subscribe("room:1")
        assert await hub.subscribe("anna", "room:2") == 1
        assert set(free.connection.subscriptions) == {"room:2"}
