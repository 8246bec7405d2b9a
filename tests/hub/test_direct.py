"""Delivery straight to transports: one write a turn, in slices, and in order when one is full."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardume.hub import fanout
from cardume.hub.hub import Hub
from cardume.hub.options import HubOptions
from cardume.hub.rooms import DIALECT as LOBBY
from cardume.testing import FakeClock
from cardume.wire import codes
from cardume.wire.messages import Pong, Position
from tests.support.direct import DirectPeer, DirectTransport, SocketTransport, turns, unframed
from tests.support.peers import ANNA, Nobody, Peer, declare

ROOM = "room:1"


def make() -> Hub:
    made = Hub(auth=Nobody(), clock=FakeClock(), options=HubOptions(outbox_limit=64 * 1024))
    declare(made, "room:{id}", history=1000)
    return made


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    async with make() as made:
        yield made


@pytest.fixture(params=[DirectTransport, SocketTransport])
def both(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Once through transports, once through sockets that are small."""
    monkeypatch.setattr(DirectPeer, "kind", request.param)
    yield
    SocketTransport.close_all()


@pytest.fixture
def slices_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout, "SLICE", 2)


async def test_publications_of_one_turn_are_one_write(hub: Hub) -> None:
    peer = await DirectPeer(hub).enter(ROOM)
    before = len(peer.transport.writes)
    for n in range(5):
        await hub.publish(ROOM, "m", {"n": n})
    await turns()
    assert len(peer.transport.writes) == before + 1
    assert peer.offsets() == [1, 2, 3, 4, 5]


async def test_all_get_the_same_bytes(hub: Hub) -> None:
    peers = [await DirectPeer(hub).enter(ROOM) for _ in range(3)]
    await hub.publish(ROOM, "m", {})
    await turns()
    assert len({id(peer.transport.writes[-1]) for peer in peers}) == 1


@pytest.mark.usefixtures("both")
async def test_a_reply_comes_after_what_was_published_before_it(hub: Hub) -> None:
    peer = await DirectPeer(hub).enter(ROOM)
    await hub.publish(ROOM, "before", {})
    peer.connection.reply(Pong(Position()), 1)
    await hub.publish(ROOM, "after", {})
    await turns()
    assert [frame["type"] for frame in peer.frames[1:]] == ["before", "pong", "after"]


@pytest.mark.usefixtures("both")
async def test_a_goodbye_comes_after_what_was_published_before_it(hub: Hub) -> None:
    peer = await DirectPeer(hub).enter(ROOM)
    await hub.publish(ROOM, "m", {})
    peer.connection.close(codes.FORCE_RECONNECT)
    assert peer.offsets() == [1]
    assert peer.transport.code is codes.FORCE_RECONNECT


@pytest.mark.usefixtures("both")
async def test_who_comes_in_the_same_turn_is_not_told_twice(hub: Hub) -> None:
    first = await DirectPeer(hub).enter(ROOM)
    position = await hub.publish(ROOM, "m", {})
    second = await DirectPeer(hub).enter(ROOM, Position(position.epoch, 0))
    await turns()
    assert first.offsets() == second.offsets() == [1]


@pytest.mark.usefixtures("both")
async def test_what_waits_for_a_full_transport_waits_in_its_outbox(hub: Hub) -> None:
    peer = await DirectPeer(hub).enter(ROOM)
    await hub.publish(ROOM, "m", {})
    peer.transport.fill()
    await hub.publish(ROOM, "m", {})
    await turns()
    assert peer.offsets() == []
    assert len(peer.connection.outbox) == 2
    peer.transport.free()
    await hub.publish(ROOM, "m", {})
    await turns()
    assert peer.offsets() == [1, 2, 3]
    assert len(peer.connection.outbox) == 0


async def test_a_full_transport_without_room_behind_it_is_cut(hub: Hub) -> None:
    slow = await DirectPeer(hub).enter(ROOM)
    other = await DirectPeer(hub).enter(ROOM)
    slow.transport.fill()
    for _ in range(20):
        await hub.publish(ROOM, "m", {"filling": "x" * 4000})
    await turns()
    assert slow.transport.code is codes.SLOW
    assert other.offsets() == list(range(1, 21))


async def test_a_pile_that_has_no_room_when_the_transport_fills_is_cut(hub: Hub) -> None:
    """What is due on all channels is for the outbox at once."""
    hub_options = hub.namespaces
    assert hub_options is not None
    transport = DirectTransport()
    connection = hub.connect(ANNA, LOBBY, transport)
    for room in ("room:1", "room:2"):
        await connection.join(room)
    transport.start(connection)
    for n in range(20):
        await hub.publish(f"room:{1 + n % 2}", "m", {"filling": "x" * 4000})
    transport.fill()
    assert transport.code is codes.SLOW
    hub.disconnect(connection)


async def test_a_write_that_fails_keeps_nobody_else_from_it(hub: Hub) -> None:
    peers = [await DirectPeer(hub).enter(ROOM) for _ in range(3)]

    def broken(_data: bytes) -> None:
        raise OSError("gone")

    peers[1].connection.stall()
    peers[1].connection.resume(broken)
    await hub.publish(ROOM, "m", {})
    await turns()
    assert peers[0].offsets() == peers[2].offsets() == [1]


@pytest.mark.usefixtures("both")
async def test_every_message_is_counted_where_it_went(hub: Hub) -> None:
    peer = await DirectPeer(hub).enter(ROOM)
    before = hub.stats.messages_sent
    for _ in range(3):
        await hub.publish(ROOM, "m", {})
    await turns()
    assert hub.stats.messages_sent - before == 3
    greeting = 1  # written by the test's transport, which counts nothing
    assert peer.connection.messages_sent == 3
    peer.leave()
    assert peer.connection.messages_sent == 3
    assert len(peer.frames) == 3 + greeting


@pytest.mark.usefixtures("both", "slices_of_two")
async def test_a_large_audience_is_written_to_in_slices(hub: Hub) -> None:
    peers = [await DirectPeer(hub).enter(ROOM) for _ in range(7)]
    await hub.publish(ROOM, "m", {})

    def told() -> int:
        return sum(peer.offsets() == [1] for peer in peers)

    seen = [told()]
    while told() < 7:
        await turns(1)
        seen.append(told())
    assert max(after - before for before, after in pairwise(seen)) == 2


@pytest.mark.usefixtures("both", "slices_of_two")
async def test_one_that_fills_between_two_slices_loses_nothing(hub: Hub) -> None:
    peers = [await DirectPeer(hub).enter(ROOM) for _ in range(7)]
    await hub.publish(ROOM, "m", {})
    await turns(1)
    late = next(peer for peer in peers if not peer.offsets())
    late.transport.fill()
    await hub.publish(ROOM, "m", {})
    await turns(20)
    late.transport.free()
    assert all(peer.offsets() == [1, 2] for peer in peers)


async def test_who_is_closed_twice_at_once_has_one_reason() -> None:
    """Catching up before a goodbye may fill the transport, and what is left has no room."""
    async with make() as hub:
        rooms = ("room:1", "room:2", "room:3")
        transport = DirectTransport()
        connection = hub.connect(ANNA, LOBBY, transport)
        for room in rooms:
            await connection.join(room)
        transport.start(connection)
        writes = transport.write

        def write(data: bytes) -> None:
            writes(data)
            transport.fill()

        connection.stall()
        connection.resume(write)
        await hub.publish(rooms[0], "m", {})
        for n in range(20):
            await hub.publish(rooms[1 + n % 2], "m", {"filling": "x" * 4000})
        connection.close(codes.FORCE_RECONNECT)
        assert transport.code is codes.SLOW
        assert connection.close_code is codes.SLOW
        hub.disconnect(connection)


@pytest.mark.usefixtures("both", "slices_of_two")
async def test_what_was_never_written_is_not_counted(hub: Hub) -> None:
    peers = [await DirectPeer(hub).enter(ROOM) for _ in range(7)]
    before = hub.stats.messages_sent
    await hub.publish(ROOM, "m", {})
    await turns(1)
    late, gone, *_ = [peer for peer in peers if not peer.offsets()]
    late.transport.fill()
    gone.leave()
    await turns(20)
    for peer in peers:
        told = len(peer.offsets())
        assert peer.connection.messages_sent == told
    assert hub.stats.messages_sent - before == 5


@pytest.mark.usefixtures("both")
async def test_a_wider_filter_begins_where_it_was_asked_for(hub: Hub) -> None:
    peer = await DirectPeer(hub).enter(ROOM)
    other = await DirectPeer(hub).enter(ROOM)
    peer.connection.narrow(frozenset({"few"}))
    await hub.publish(ROOM, "many", {})
    peer.connection.narrow(None)
    await hub.publish(ROOM, "many", {})
    await turns()
    assert peer.offsets() == [2]
    assert other.offsets() == [1, 2]


async def test_a_pile_of_one_turn_is_written_in_parts(hub: Hub) -> None:
    """A transport shall say that it is full before it holds more than an outbox may."""
    peer = await DirectPeer(hub).enter(ROOM)
    before = len(peer.transport.writes)
    for _ in range(40):
        await hub.publish(ROOM, "m", {"filling": "x" * 10_000})
    await turns()
    written = peer.transport.writes[before:]
    assert max(map(len, written)) < 64 * 1024 + 11_000
    assert len(written) <= 7
    assert peer.offsets() == list(range(1, 41))


Step = tuple[str, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["publish", "publish", "turn", "come", "leave", "fill", "free", "reply", "narrow"]
        ),
        st.integers(0, 5),
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(STEPS, st.booleans(), st.sampled_from([DirectTransport, SocketTransport]))
def test_nobody_misses_anything_or_sees_it_twice(
    steps: list[Step], sliced: bool, kind: type[DirectTransport]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DirectPeer, "kind", kind)
        if sliced:
            patch.setattr(fanout, "SLICE", 1)
        asyncio.run(_play(steps))
        SocketTransport.close_all()


async def _play(steps: list[Step]) -> None:
    async with make() as hub:
        peers: dict[int, DirectPeer] = {}
        since: dict[int, int] = {}
        queued = await Peer(hub).enter(ROOM)
        top = 0
        for what, who in steps:
            peer = peers.get(who)
            if what == "publish":
                top = (await hub.publish(ROOM, "m", {"filling": "x" * 500})).offset
            elif what == "turn":
                await turns(1)
            elif what == "come" and peer is None:
                peers[who] = await DirectPeer(hub).enter(ROOM)
                since[who] = top
            elif peer is not None:
                _do(what, peer)
                if what == "leave":
                    del peers[who]
        await turns(80)
        while any(peer.transport.full for peer in peers.values()):
            for peer in peers.values():
                peer.transport.free()
            await turns(80)
        for who, peer in peers.items():
            assert peer.offsets() == list(range(since[who] + 1, top + 1))
        assert queued.offsets() == list(range(1, top + 1))


def _do(what: str, peer: DirectPeer) -> None:
    match what:
        case "leave":
            peer.leave()
        case "fill":
            peer.transport.fill()
        case "free":
            peer.transport.free()
        case "reply":
            peer.connection.reply(Pong(Position()), 1)
        case "narrow":
            peer.connection.narrow(frozenset({"m"}) if peer.connection.types is None else None)


def test_frames_are_read_as_they_were_written() -> None:
    assert unframed(b"\x81\x02{}\x81\x7e\x00\x80" + b"x" * 128) == [b"{}", b"x" * 128]
