"""What can befall a client: a cut link, a reader that stops, a token that ends."""

from __future__ import annotations

import pytest

from cardume import Identity
from cardume.testing import FakeClock, client, running, settle
from tests.testing.places import make_hub

OUTBOX = 16 * 1024
CHUNK = "x" * 1024


async def test_a_cut_link_is_noticed_by_the_hub_and_loses_what_was_on_its_way() -> None:
    hub = make_hub()
    async with running(hub), client(hub, "/ws/room/7", identity="ann") as ws:
        connection = ws.connection
        await hub.publish("room:7", "message", 1)
        ws.cut()
        await settle()
        assert hub.connection(connection.id) is None
        assert ws.of_type("message") == []
        await ws.expect_nothing()


async def test_a_link_that_nobody_knows_is_dead_stays_with_the_hub() -> None:
    hub = make_hub()
    async with running(hub), client(hub, "/ws/room/7", identity="ann") as ws:
        ws.cut(silent=True)
        await hub.publish("room:7", "message", 1)
        await settle()
        assert hub.audience("room:7") == 1
        await ws.reconnect()
        assert hub.audience("room:7") == 2
        assert (await ws.expect("message"))["data"] == 1
    assert hub.audience("room:7") == 0


async def test_a_frozen_reader_fills_its_outbox_and_reads_on_when_thawed() -> None:
    hub = make_hub()
    async with running(hub), client(hub, "/ws/room/7", identity="ann") as ws:
        ws.freeze()
        for n in range(5):
            await hub.publish("room:7", "message", {"n": n, "filling": CHUNK})
        await ws.expect_nothing()
        assert ws.connection.outbox.size > 4 * len(CHUNK)
        with pytest.raises(AssertionError, match="it is frozen and reads nothing"):
            await ws.expect("message", within=0.01)
        ws.thaw()
        for n in range(5):
            assert (await ws.expect("message"))["data"]["n"] == n
        await ws.expect_nothing()
        assert ws.connection.outbox.size == 0


async def test_a_reader_that_is_too_slow_is_cut_with_3008_and_comes_back() -> None:
    clock = FakeClock()
    hub = make_hub(clock, outbox_limit=OUTBOX)
    async with running(hub), client(hub, "/ws/room/7", identity="ann") as ws:
        ws.freeze()
        for n in range(OUTBOX // len(CHUNK)):
            await hub.publish("room:7", "message", {"n": n, "filling": CHUNK})
            await settle()
        ws.thaw()
        await ws.expect_close(3008)
        assert clock.monotonic() == 0.0
        assert len(ws.of_type("message")) == 1  # it was being written
        await ws.reconnect()
        await ws.expect_nothing()
        await hub.publish("room:7", "message", {"n": -1})
        assert (await ws.expect("message"))["data"] == {"n": -1}


async def test_one_that_never_reads_on_is_let_go_after_the_close_timeout() -> None:
    clock = FakeClock()
    hub = make_hub(clock)
    async with running(hub), client(hub, "/ws/room/7", identity="ann") as ws:
        ws.freeze()
        await hub.publish("room:7", "message", {})
        await settle()
        hub.close_user("ann")
        assert ws.closed is None
        await ws.expect_close(1006, within=10)
        assert 0 < clock.monotonic() <= 10
        assert hub.stats.active_connections == 0


@pytest.mark.parametrize("clock", [None, FakeClock()], ids=["system", "fake"])
async def test_a_token_that_ends_closes_with_3005(clock: FakeClock | None) -> None:
    hub = make_hub(clock)
    async with running(hub), client(hub, "/ws/room/7", identity="ann") as ws:
        ws.expire()
        await ws.expect_close(3005)
        await ws.reconnect(identity="ann")
        assert ws.recovered


async def test_a_token_that_is_refreshed_in_time_lives_on() -> None:
    clock = FakeClock()
    hub = make_hub(clock)
    ending = Identity("ann", expires_at=clock.now() + 60)
    async with running(hub), client(hub, "/ws/room/7", identity=ending) as ws:
        await ws.expect_nothing(for_=59)
        longer = Identity("ann", expires_at=clock.now() + 60)
        assert await ws.refresh(identity=longer) == {"expires_in": 60}
        await ws.expect_nothing(for_=59)
        assert await ws.expect_close(within=2) == 3005


async def test_a_client_that_leaves_says_so() -> None:
    hub = make_hub()
    async with running(hub), client(hub, "/ws/room/7", identity="ann") as ws:
        ws.close(1001)
        await settle()
        assert ws.closed == 1001
        assert hub.stats.active_connections == 0


async def test_presence_is_not_flapping_where_a_client_comes_back_in_time() -> None:
    clock = FakeClock()
    hub = make_hub(clock)
    async with running(hub), client(hub, "/ws/room/7", identity="ann") as ws:
        ws.cut()
        await clock.advance(4)
        assert [member.user for member in hub.presence("room:7").values()] == ["ann"]
        await ws.reconnect()
        await clock.advance(60)
        assert [member.user for member in hub.presence("room:7").values()] == ["ann"]
        ws.cut()
        await clock.advance(6)
        assert not hub.presence("room:7")
