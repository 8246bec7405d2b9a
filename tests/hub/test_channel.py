"""A channel and its members: fan-out, filters, cursors, and gaps that are told."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from cardume.errors import Invalid, Refused
from cardume.hub.entry import prepare
from cardume.hub.hub import Hub
from cardume.hub.options import HubOptions
from cardume.hub.outbox import SlowPolicy
from cardume.hub.subscription import MAX_BUFFERED
from cardume.testing import FakeClock
from cardume.testing.clock import settle
from cardume.wire.dialects.plain import PlainDialect
from cardume.wire.messages import Position, Publication
from tests.support.peers import Nobody, Peer, declare


class CountingDialect(PlainDialect):
    """The plain dialect, counting what it encodes."""

    def __init__(self) -> None:
        self.encoded = 0

    def publication(self, channel: str, publication: Publication) -> bytes:
        self.encoded += 1
        return super().publication(channel, publication)


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    made = Hub(auth=Nobody(), clock=FakeClock(), options=HubOptions(outbox_limit=4096))
    declare(made, "room:{id}", history=50)
    declare(made, "tank:{id}", history=50, on_slow=SlowPolicy.CONFLATE)
    declare(made, "ticker", on_slow=SlowPolicy.DROP_OLDEST)
    async with made:
        yield made


async def test_one_encode_for_all_subscribers(hub: Hub) -> None:
    dialect = CountingDialect()
    peers = [await Peer(hub, dialect=dialect).enter("room:1") for _ in range(20)]
    await hub.publish("room:1", "m", {})
    assert dialect.encoded == 1
    assert all(peer.offsets() == [1] for peer in peers)


async def test_publications_stay_on_their_channel(hub: Hub) -> None:
    one, other = await Peer(hub).enter("room:1"), await Peer(hub).enter("room:2")
    await hub.publish("room:1", "secret", {})
    assert (one.offsets(), other.offsets()) == ([1], [])


async def test_a_filter_hides_types_and_the_cursor_counts_them(hub: Hub) -> None:
    peer = await Peer(hub).enter("room:1", types=frozenset({"alert"}))
    for type in ("reading", "alert", None, "reading"):
        await hub.publish("room:1", type, {})
    assert peer.offsets() == [2]
    pong = await peer.say({"type": "ping", "id": 1})
    assert pong is not None
    assert (pong["type"], pong["data"]) == ("pong", {"offset": 4})


async def test_the_untyped_are_updates_to_a_filter(hub: Hub) -> None:
    peer = await Peer(hub).enter("room:1", types=frozenset({"update"}))
    await hub.publish("room:1", None, [1])
    assert [frame["data"] for frame in peer.of_type("update")] == [[1]]


async def test_a_filter_holds_for_a_replay_too(hub: Hub) -> None:
    first = await hub.publish("room:1", "a", {})
    await hub.publish("room:1", "b", {})
    await hub.publish("room:1", "a", {})
    since = Position(first.epoch, 0)
    peer = await Peer(hub).enter("room:1", since, frozenset({"b"}))
    assert peer.frames[0]["data"]["recovered"]
    assert peer.offsets() == [2]


async def test_a_slow_reader_is_cut_and_the_others_see_everything(hub: Hub) -> None:
    slow = await Peer(hub, stalled=True).enter("room:1")
    peers = [await Peer(hub).enter("room:1") for _ in range(3)]
    for n in range(100):
        await hub.publish("room:1", "m", {"n": n, "filling": "x" * 100})
    assert slow.code == 3008
    assert slow.connection.outbox.size == 0, "its memory is free before its socket is"
    assert all(peer.live and peer.offsets() == list(range(1, 101)) for peer in peers)


async def test_conflate_keeps_a_slow_reader_on_the_latest_of_each_key(hub: Hub) -> None:
    slow = await Peer(hub, stalled=True).enter("tank:1")
    for n in range(200):
        await hub.publish("tank:1", "reading", {"n": n}, key=f"sensor-{n % 3}")
    assert slow.live
    slow.transport.read()
    offsets = slow.offsets()
    assert offsets == sorted(set(offsets))
    assert offsets[-3:] == [198, 199, 200]
    assert slow.connection.outbox.superseded > 100
    slow.leave()
    assert hub.stats.superseded_or_dropped == slow.connection.outbox.superseded


async def test_drop_oldest_keeps_the_newest_and_counts(hub: Hub) -> None:
    slow = await Peer(hub, stalled=True).enter("ticker")
    for n in range(200):
        await hub.publish("ticker", "tick", {"n": n})
    assert slow.live
    slow.transport.read()
    ticks = [frame["data"]["n"] for frame in slow.of_type("tick")]
    assert ticks == list(range(200 - len(ticks), 200))
    slow.leave()
    assert hub.stats.superseded_or_dropped == 200 - len(ticks) > 0


async def test_a_gap_in_delivery_is_told(hub: Hub) -> None:
    peer = await Peer(hub).enter("room:1")
    channel = peer.channel
    first = await hub.publish("room:1", "m", {})
    lost = Publication(data=b"{}", time=0.0, offset=3)
    channel.deliver(lost, Position(first.epoch, 3))
    assert peer.code == 3010
    assert peer.offsets() == [1]


async def test_another_epoch_is_told(hub: Hub) -> None:
    peer = await Peer(hub).enter("room:1")
    channel = peer.channel
    await hub.publish("room:1", "m", {})
    channel.deliver(Publication(data=b"{}", time=0.0, offset=2), Position("another", 2))
    assert peer.code == 3010


async def test_a_publication_that_comes_twice_is_seen_once(hub: Hub) -> None:
    peer = await Peer(hub).enter("room:1")
    channel = peer.channel
    for n in range(3):
        last = await hub.publish("room:1", "m", {"n": n})
    channel.deliver(Publication(data=b"{}", time=0.0, offset=2), Position(last.epoch, 2))
    channel.deliver(Publication(data=b"{}", time=0.0, offset=3), last)
    assert peer.live
    assert peer.offsets() == [1, 2, 3]


async def test_a_buffer_that_overflows_while_the_snapshot_loads_is_told(hub: Hub) -> None:
    peer = Peer(hub)
    subscription = await hub.join(peer.connection, "room:1", None)
    entry = await prepare(hub, subscription, None, {})
    for _ in range(MAX_BUFFERED + 1):
        await hub.publish("room:1", "m", {})
    assert subscription.buffer is not None
    assert len(subscription.buffer) <= MAX_BUFFERED
    assert not subscription.channel.release(subscription, entry.position)
    assert peer.offsets() == []


async def test_a_full_buffer_is_not_lost(hub: Hub) -> None:
    peer = Peer(hub)
    subscription = await hub.join(peer.connection, "ticker", None)
    for n in range(20):
        await hub.publish("ticker", "tick", {"n": n})
    assert subscription.channel.release(subscription, Position())
    assert [frame["data"]["n"] for frame in peer.frames] == list(range(20))


async def test_a_buffer_of_another_epoch_is_told(hub: Hub) -> None:
    """The engine began a new epoch while this subscriber was read the old one."""
    peer = Peer(hub)
    subscription = await hub.join(peer.connection, "room:1", None)
    subscription.channel.deliver(Publication(data=b"{}", time=0.0, offset=1), Position("new", 1))
    assert not subscription.channel.release(subscription, Position("old", 41))


async def test_a_read_that_is_older_than_the_channel_is_told(hub: Hub) -> None:
    """A replica that lags: what lies between would be missing without a word."""
    live = await Peer(hub).enter("room:1")
    for _ in range(3):
        last = await hub.publish("room:1", "m", {})
    peer = Peer(hub)
    subscription = await hub.join(peer.connection, "room:1", None)
    assert not subscription.channel.release(subscription, Position(last.epoch, 2))
    assert live.live


async def test_who_left_while_its_snapshot_loaded_is_not_put_back(hub: Hub) -> None:
    peer = Peer(hub)
    subscription = await hub.join(peer.connection, "room:1", None)
    peer.leave()
    subscription.channel.release(subscription, Position("e", 0))
    assert len(subscription.channel) == 0
    await settle()
    assert hub.audience("room:1") == 0


async def test_a_replay_fits_into_half_the_outbox(hub: Hub) -> None:
    """Many small publications weigh more on the wire than their data do."""
    first = await hub.publish("room:1", "m", {})
    for _ in range(40):
        await hub.publish("room:1", "m", {})
    peer = await Peer(hub, stalled=True).enter("room:1", Position(first.epoch, 0))
    assert peer.live
    assert peer.connection.outbox.size <= 4096 / 2 + 512


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "\ud800"},
        {"key": "\ud800"},
        {"source": "\udfff"},
        {"tags": {"a": "\ud800"}},
        {"tags": {"a": 1}},
        {"type": "x" * 256},
        {"idempotency_key": "x" * 256},
        {"data": "\ud800"},
        {"data": object()},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
async def test_a_poisoned_publication_takes_no_place(hub: Hub, wrong: dict[str, object]) -> None:
    peer = await Peer(hub).enter("room:1")
    with pytest.raises(Invalid):
        await hub.publish("room:1", **{"data": {}, **wrong})  # type: ignore[arg-type]
    position = await hub.publish("room:1", "good", {})
    assert position.offset == 1
    assert peer.offsets() == [1]


async def test_the_same_key_with_another_body_is_a_conflict(hub: Hub) -> None:
    first = await hub.publish("room:1", "m", {"a": 1}, idempotency_key="k")
    assert await hub.publish("room:1", "m", {"a": 1}, idempotency_key="k") == first
    with pytest.raises(Refused) as caught:
        await hub.publish("room:1", "m", {"a": 2}, idempotency_key="k")
    assert caught.value.code.status == 409


async def test_nobody_publishes_to_what_nobody_declared(hub: Hub) -> None:
    with pytest.raises(Refused) as caught:
        await hub.publish("nowhere", "m", {})
    assert caught.value.code.number == 102
    with pytest.raises(Invalid):
        await hub.publish("not a channel", "m", {})
