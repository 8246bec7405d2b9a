"""The hub's life: entering, leaving, draining, token ends, true counters."""

from __future__ import annotations

import asyncio
import logging
import random

import pytest

from cardume.auth.identity import Identity
from cardume.clock import Clock
from cardume.engines.base import Deliver
from cardume.engines.memory import MemoryEngine
from cardume.errors import ConfigurationError, HubNotRunning, Invalid, Refused, Unavailable
from cardume.hub.hub import Hub
from cardume.hub.options import HubOptions
from cardume.testing import FakeClock
from cardume.testing.clock import settle
from cardume.wire import codes
from cardume.wire.messages import Publication, weight
from tests.support.peers import Nobody, Peer, declare


def make(clock: Clock | None = None, **options: int) -> Hub:
    hub = Hub(auth=Nobody(), clock=clock or FakeClock(), options=HubOptions(**options))  # type: ignore[arg-type]
    declare(hub, "room:{id}", history=50, presence=True)
    declare(hub, "quiet:{id}")
    return hub


async def test_a_hub_that_was_not_entered_says_what_to_do() -> None:
    hub = make()
    with pytest.raises(HubNotRunning, match=r"hub\.router"):
        await hub.publish("room:1", "m", {})
    with pytest.raises(HubNotRunning):
        hub.check_running()


async def test_entering_twice_is_a_no_op() -> None:
    hub = make()
    async with hub, hub:
        await hub.publish("room:1", "m", {})
    assert not hub.running
    async with hub:
        async with hub:
            pass
        await hub.publish("room:1", "m", {})


async def test_a_hub_without_a_verifier_is_not_entered() -> None:
    hub = Hub(clock=FakeClock())
    for _ in range(2):
        with pytest.raises(ConfigurationError):
            await hub.__aenter__()
        assert not hub.running
        with pytest.raises(HubNotRunning):
            hub.check_running()


class BrokenEngine(MemoryEngine):
    broken = True

    async def start(self, deliver: Deliver) -> None:
        if self.broken:
            raise Unavailable("the engine is away")
        await super().start(deliver)


async def test_an_engine_that_does_not_start_is_tried_again() -> None:
    engine = BrokenEngine()
    hub = Hub(auth=Nobody(), engine=engine)
    declare(hub, "room:{id}")
    with pytest.raises(Unavailable):
        await hub.__aenter__()
    assert not hub.running
    engine.broken = False
    async with hub:
        peer = await Peer(hub).enter("room:1")
        await hub.publish("room:1", "m", {})
        assert len(peer.of_type("m")) == 1


def test_a_hub_may_be_entered_on_one_loop_after_another() -> None:
    hub = make()

    async def once() -> None:
        async with hub:
            peer = await Peer(hub).enter("room:1")
            await hub.publish("room:1", "m", {})
            assert len(peer.of_type("m")) == 1
            hub.check_running()
        assert peer.code == 3001

    for _ in range(3):
        asyncio.run(once())
    assert hub.stats.active_connections == 0
    assert (hub.stats.total_connections, hub.stats.total_disconnections) == (3, 3)


async def test_the_hub_belongs_to_one_loop() -> None:
    async with make() as hub:

        async def elsewhere() -> None:
            hub.check_running()

        with pytest.raises(HubNotRunning):
            await asyncio.to_thread(asyncio.run, elsewhere())


async def test_leases_of_the_apps_end_with_the_hub() -> None:
    clock = FakeClock()
    hub = make(clock)
    seen: list[str] = []

    async def expired(keys: list[str]) -> None:
        seen.extend(keys)

    leases = hub.leases(expired, "an app's leases")
    async with hub:
        leases.touch_in("in time", 10)
        leases.touch_in("too late", 100)
        await clock.advance(10)
    await clock.advance(1000)
    assert seen == ["in time"]


# -- tokens end -------------------------------------------------------------------------------


async def test_a_token_that_ends_closes_its_connection() -> None:
    clock = FakeClock()
    async with make(clock) as hub:
        peer = await Peer(hub, Identity("anna", expires_at=clock.now() + 60)).enter("room:1")
        forever = await Peer(hub, Identity("svc")).enter("room:1")
        await clock.advance(59.9)
        assert peer.live
        clock.step_wall(3600)
        await clock.advance(0.05)
        assert peer.live, "an NTP step expires nobody"
        await clock.advance(0.1)
        assert peer.code == 3005
        await clock.advance(100_000)
        assert forever.live


async def test_nothing_is_delivered_after_the_token_ended() -> None:
    clock = FakeClock()
    async with make(clock) as hub:
        peer = await Peer(hub, Identity("anna", expires_at=clock.now() + 1)).enter("room:1")
        await clock.advance(2)
        await hub.publish("room:1", "m", {})
        assert peer.of_type("m") == []


async def test_who_left_is_forgotten_by_the_expiry_too() -> None:
    clock = FakeClock()
    async with make(clock) as hub:
        peer = await Peer(hub, Identity("anna", expires_at=clock.now() + 1)).enter("room:1")
        peer.leave()
        await clock.advance(2)
        assert peer.live, "it was gone before"
        assert hub.stats.closes == {}


# -- joining ----------------------------------------------------------------------------------


async def test_joining_twice_unknown_and_too_many() -> None:
    async with make(channels_per_connection=2) as hub:
        peer = await Peer(hub).enter("room:1")
        for channel, code in (("room:1", 105), ("nowhere", 102)):
            with pytest.raises(Refused) as caught:
                await hub.join(peer.connection, channel, None)
            assert caught.value.code.number == code
        await hub.join(peer.connection, "room:2", None)
        with pytest.raises(Refused) as caught:
            await hub.join(peer.connection, "room:3", None)
        assert caught.value.code is codes.LIMIT_EXCEEDED
        assert set(peer.connection.subscriptions) == {"room:1", "room:2"}


async def test_closing_a_channel_sends_away_whom_it_names() -> None:
    async with make() as hub:
        anna = await Peer(hub).enter("room:1")
        berta = await Peer(hub, Identity("berta")).enter("room:1")
        elsewhere = await Peer(hub).enter("room:2")
        left = hub.close_channel(
            "room:1", codes.PERMISSION_DENIED_CLOSE, where=lambda identity: identity.sub == "anna"
        )
        assert (left, anna.code, berta.code) == (1, 3507, None)
        assert hub.close_channel("room:1", codes.FORCE_DISCONNECT) >= 1
        assert (berta.code, elsewhere.code) == (3503, None)


# -- going ------------------------------------------------------------------------------------


async def test_drain_writes_what_is_queued_and_says_shutdown() -> None:
    async with make() as hub:
        peers = [await Peer(hub).enter("room:1") for _ in range(5)]
        await hub.publish("room:1", "m", {})
        await hub.drain()
        assert [peer.code for peer in peers] == [3001] * 5
        assert all(len(peer.of_type("m")) == 1 for peer in peers)
        assert hub.stats.active_connections == 0
        assert hub.stats.closes == {3001: 5}


async def test_a_drain_is_spread_over_its_window() -> None:
    clock = FakeClock()
    async with make(clock) as hub:
        peers = [await Peer(hub).enter("room:1") for _ in range(200)]
        draining = asyncio.create_task(hub.drain(window=10))
        gone = []
        for _ in range(10):
            await clock.advance(1)
            gone.append(sum(not peer.live for peer in peers))
        await draining
        bins = [later - earlier for earlier, later in zip([0, *gone], gone, strict=False)]
        assert sum(bins) == 200
        assert max(bins) <= 2 * 20


async def test_who_was_at_the_door_when_the_goodbyes_were_said_is_sent_away() -> None:
    async with make() as hub:
        await hub.drain()
        late = Peer(hub)
        assert late.code == 3001
        late.leave()


async def test_a_drain_does_not_wait_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    async with make() as hub:
        peer = await Peer(hub).enter("room:1")
        peer.transport.on_close = None
        await hub.drain(timeout=0.01)
        assert "did not leave in time" in caplog.text
        peer.leave()


async def test_who_did_not_leave_in_time_does_not_count_in_the_next_life(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cardume.hub.hub.LEAVE_WITHIN", 0.01)
    hub = make()
    async with hub:
        peer = await Peer(hub).enter("room:1")
        peer.transport.on_close = None
    async with hub:
        assert (hub.connections(), hub.stats.active_connections) == ([], 0)
        assert hub.audience("room:1") == 0


# -- numbers ----------------------------------------------------------------------------------


async def test_counters_are_true_after_a_storm() -> None:
    seeded = random.Random(7)
    async with make() as hub:
        here: list[Peer] = []
        for _ in range(500):
            choice = seeded.random()
            if choice < 0.5 or not here:
                here.append(await Peer(hub).enter(f"room:{seeded.randrange(5)}"))
            elif choice < 0.8:
                peer = here.pop(seeded.randrange(len(here)))
                peer.leave()
                peer.leave()
            else:
                here.pop(seeded.randrange(len(here))).connection.close(codes.FORCE_DISCONNECT)
                await settle(3)
        stats = hub.stats
        assert stats.active_connections == len(here)
        assert stats.total_connections - stats.total_disconnections == len(here)
        audience = sum(hub.audience(f"room:{n}") for n in range(5))
        assert audience == len(here)
        for peer in here:
            peer.leave()
        assert stats.active_connections == 0
        assert sum(hub.audience(f"room:{n}") for n in range(5)) == 0


async def test_logs_name_connections_and_neither_payloads_nor_raw_names(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "cardume")
    async with make() as hub:
        peer = await Peer(hub, Identity("evil\n\x1b[31mname")).enter("room:1")
        await hub.publish("room:1", "m", {"password": "SECRET"})
        peer.connection.close(codes.SLOW)
        await settle()
    assert "SECRET" not in caplog.text
    assert "\x1b" not in caplog.text
    messages = [record.getMessage() for record in caplog.records]
    assert any(f"{peer.connection.id} connected" in message for message in messages)
    assert f"{peer.connection.id} disconnected: 3008" in messages


async def test_the_first_reason_to_close_counts() -> None:
    async with make() as hub:
        peer = await Peer(hub).enter("room:1")
        peer.connection.close(codes.EXPIRED)
        peer.connection.close(codes.SLOW)
        assert peer.code == 3005


@pytest.mark.parametrize("type", ["connected", "snapshot", "pong", "error", "result"])
async def test_a_publication_cannot_speak_for_the_hub(type: str) -> None:
    async with make() as hub:
        with pytest.raises(Invalid, match="the hub's own"):
            await hub.publish("room:1", type, {})


async def test_a_publication_that_no_reader_could_take_is_refused_and_cuts_nobody() -> None:
    hub = make(outbox_limit=20_000)
    async with hub:
        peers = [await Peer(hub).enter("room:1") for _ in range(3)]
        most = 10_000 - weight(Publication(data=b'""', time=0.0, type="m"))
        top = await hub.publish("room:1", "m", "x" * most)
        for channel, data, tags in (
            ("room:1", "x" * (most + 1), None),
            ("quiet:1", "x" * (most + 1), None),
            ("room:1", "", {f"tag {n}": "\x00" * 250 for n in range(9)}),
        ):
            with pytest.raises(Refused, match="at most 10000 bytes") as caught:
                await hub.publish(channel, "m", data, tags=tags)
            assert caught.value.code is codes.LIMIT_EXCEEDED
        assert hub.rejects.counts["publication_too_large"] == 3
        assert (await hub.history("room:1")).position == top
        assert all(peer.live and peer.offsets() == [1] for peer in peers)
