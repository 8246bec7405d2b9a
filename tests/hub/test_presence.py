"""Presence: who is there, who hears of it, and that a short absence is none."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from cardume.auth.identity import Identity
from cardume.errors import ConfigurationError, Refused, Unavailable
from cardume.hub.hub import Hub
from cardume.hub.namespaces import ChannelOptions
from cardume.hub.options import HubOptions
from cardume.testing import FakeClock
from cardume.testing.clock import settle
from cardume.wire import codes
from tests.hub.sdk import Client
from tests.support.engines import LateEngine
from tests.support.peers import Nobody, Peer, declare

ROOM = "room:1"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def hub(clock: FakeClock) -> AsyncIterator[Hub]:
    made = Hub(auth=Nobody(), clock=clock)
    declare(made, "room:{id}", history=50, presence=True, presence_grace=5)
    declare(made, "hall", presence=True, presence_grace=0)
    declare(made, "quiet")
    async with made:
        yield made


def users(hub: Hub, channel: str = ROOM) -> list[str]:
    return sorted(member.user for member in hub.presence(channel).values())


async def test_presence_is_who_is_there_by_connection(hub: Hub) -> None:
    anna, berta = await Peer(hub).enter(ROOM), Client(hub, "berta")
    await berta.subscribe(ROOM)
    members = hub.presence(ROOM)
    assert {id: member.user for id, member in members.items()} == {
        anna.connection.id: "anna",
        berta.connection.id: "berta",
    }
    assert all(member.connection_id == id for id, member in members.items())
    assert hub.presence("room:2") == {}


async def test_presence_that_is_off_is_said_so(hub: Hub) -> None:
    for ask in (hub.presence, hub.presence_stats):
        with pytest.raises(Refused) as caught:
            ask("quiet")
        assert caught.value.code is codes.NOT_AVAILABLE


async def test_what_others_may_know_comes_from_the_token_or_the_subscription(hub: Hub) -> None:
    anna = Peer(hub, Identity("anna", claims={"info": {"name": "Anna"}}))
    await anna.enter(ROOM)
    berta = Client(hub, "berta")
    await berta.subscribe(ROOM, info={"seat": 7})
    infos = [member.info for member in hub.presence(ROOM).values()]
    assert infos == [{"name": "Anna"}, {"seat": 7}]


async def test_coming_and_going_is_told_to_those_who_asked(hub: Hub, clock: FakeClock) -> None:
    watcher, deaf = Client(hub, "watcher"), Client(hub, "deaf")
    await watcher.subscribe(ROOM, joins=True)
    await deaf.subscribe(ROOM)
    anna = Client(hub)
    await anna.subscribe(ROOM)
    anna.leave()
    await clock.advance(5)
    mine, theirs, its = watcher.connection.id, deaf.connection.id, anna.connection.id
    assert watcher.heard() == [("join", mine), ("join", theirs), ("join", its), ("leave", its)]
    assert deaf.heard() == []


async def test_a_subscriber_is_answered_before_it_hears_of_itself(hub: Hub) -> None:
    anna = Client(hub)
    await anna.subscribe(ROOM, joins=True)
    assert "subscribe" in anna.frames[0]
    assert "join" in anna.frames[1]["push"]


async def test_a_leave_is_announced_when_its_grace_is_over(hub: Hub, clock: FakeClock) -> None:
    watcher, anna = Client(hub, "watcher"), Client(hub)
    await watcher.subscribe(ROOM, joins=True)
    await anna.subscribe(ROOM)
    anna.leave()
    await clock.advance(4.9)
    assert users(hub) == ["anna", "watcher"]
    assert ("leave", anna.connection.id) not in watcher.heard()
    await clock.advance(0.2)
    assert users(hub) == ["watcher"]
    assert watcher.heard()[-1] == ("leave", anna.connection.id)


async def test_who_comes_back_in_time_was_never_away(hub: Hub, clock: FakeClock) -> None:
    watcher, anna = Client(hub, "watcher"), Client(hub)
    await watcher.subscribe(ROOM, joins=True)
    await anna.subscribe(ROOM)
    before = watcher.heard()
    for _ in range(5):
        first = anna.connection.id
        anna.leave()
        await clock.advance(4)
        anna = Client(hub)
        await anna.subscribe(ROOM)
        assert anna.connection.id != first
    await clock.advance(100)
    assert watcher.heard() == before
    assert users(hub) == ["anna", "watcher"]


async def test_the_leave_names_the_connection_that_was_announced(
    hub: Hub, clock: FakeClock
) -> None:
    watcher, anna = Client(hub, "watcher"), Client(hub)
    await watcher.subscribe(ROOM, joins=True)
    await anna.subscribe(ROOM)
    name = anna.connection.id
    anna.leave()
    again = Client(hub)
    await again.subscribe(ROOM)
    assert set(hub.presence(ROOM)) == {watcher.connection.id, name}
    again.leave()
    await clock.advance(5)
    assert watcher.heard()[-2:] == [("join", name), ("leave", name)]


async def test_every_tab_is_somebody(hub: Hub, clock: FakeClock) -> None:
    watcher = Client(hub, "watcher")
    await watcher.subscribe(ROOM, joins=True)
    tabs = [Client(hub) for _ in range(3)]
    for tab in tabs:
        await tab.subscribe(ROOM)
    assert hub.presence_stats(ROOM) == (4, 2)
    tabs[0].leave()
    tabs[1].leave()
    again = Client(hub)
    await again.subscribe(ROOM)
    await clock.advance(5)
    assert hub.presence_stats(ROOM) == (3, 2)
    left = [id for kind, id in watcher.heard() if kind == "leave"]
    assert left == [tabs[1].connection.id], "the new tab took the place of the first"


async def test_somebody_else_does_not_take_a_place(hub: Hub, clock: FakeClock) -> None:
    watcher, anna = Client(hub, "watcher"), Client(hub)
    await watcher.subscribe(ROOM, joins=True)
    await anna.subscribe(ROOM)
    anna.leave()
    berta = Client(hub, "berta")
    await berta.subscribe(ROOM)
    assert ("join", berta.connection.id) in watcher.heard()
    await clock.advance(5)
    assert ("leave", anna.connection.id) in watcher.heard()


async def test_the_nameless_are_not_taken_for_each_other(hub: Hub, clock: FakeClock) -> None:
    watcher, one, other = Client(hub, "watcher"), Client(hub, ""), Client(hub, "")
    await watcher.subscribe(ROOM, joins=True)
    await one.subscribe(ROOM)
    one.leave()
    await other.subscribe(ROOM)
    assert ("join", other.connection.id) in watcher.heard()


async def test_unsubscribing_and_coming_back_is_no_news_either(hub: Hub, clock: FakeClock) -> None:
    watcher, anna = Client(hub, "watcher"), Client(hub)
    await watcher.subscribe(ROOM, joins=True)
    await anna.subscribe(ROOM)
    before = watcher.heard()
    anna.unsubscribe(ROOM)
    await clock.advance(4)
    await anna.subscribe(ROOM)
    await clock.advance(100)
    assert watcher.heard() == before
    anna.unsubscribe(ROOM)
    await clock.advance(5)
    assert watcher.heard() == [*before, ("leave", anna.connection.id)]


async def test_who_took_a_place_may_go_and_come_back_to_it(hub: Hub, clock: FakeClock) -> None:
    watcher, anna = Client(hub, "watcher"), Client(hub)
    await watcher.subscribe(ROOM, joins=True)
    await anna.subscribe(ROOM)
    before = watcher.heard()
    anna.leave()
    again = Client(hub)
    await again.subscribe(ROOM)
    assert again.subscription is not None
    again.connection.lose(again.subscription)
    await again.subscribe(ROOM)
    await clock.advance(100)
    assert watcher.heard() == before
    again.leave()
    await clock.advance(5)
    assert watcher.heard() == [*before, ("leave", anna.connection.id)]


async def test_who_lost_a_channel_and_then_its_link_was_never_away(
    hub: Hub, clock: FakeClock
) -> None:
    watcher, anna = Client(hub, "watcher"), Client(hub)
    await watcher.subscribe(ROOM, joins=True)
    before: list[tuple[str, str]] = []
    for _ in range(3):
        await anna.subscribe(ROOM)
        before = before or watcher.heard()
        assert anna.subscription is not None
        anna.connection.lose(anna.subscription)
        await clock.advance(1)
        anna.leave()
        await clock.advance(1)
        anna = Client(hub)
    await anna.subscribe(ROOM)
    await clock.advance(100)
    assert watcher.heard() == before
    assert users(hub) == ["anna", "watcher"]


async def test_nothing_is_kept_of_absences_that_are_over(hub: Hub, clock: FakeClock) -> None:
    watcher, back, gone = Client(hub, "watcher"), Client(hub), Client(hub, "berta")
    for client in (watcher, back, gone):
        await client.subscribe(ROOM)
    back.unsubscribe(ROOM)
    gone.unsubscribe(ROOM)
    assert len(hub._presence._away) == 2
    await back.subscribe(ROOM)
    await clock.advance(5)
    assert hub._presence._away == {}


async def test_an_absence_that_began_anew_lasts_its_time(hub: Hub, clock: FakeClock) -> None:
    watcher, anna = Client(hub, "watcher"), Client(hub)
    await watcher.subscribe(ROOM, joins=True)
    await anna.subscribe(ROOM)
    for _ in range(2):
        anna.unsubscribe(ROOM)
        await clock.advance(3)
        await anna.subscribe(ROOM)
    anna.unsubscribe(ROOM)
    # What the end of the first absence set going comes late.
    await hub._presence._expired([(ROOM, anna.connection.id)])
    await clock.advance(4.9)
    assert users(hub) == ["anna", "watcher"]
    await clock.advance(0.1)
    assert users(hub) == ["watcher"]


async def test_who_left_hears_no_more(hub: Hub) -> None:
    watcher = Client(hub, "watcher")
    await watcher.subscribe(ROOM, joins=True)
    await Client(hub).subscribe(ROOM)
    before = watcher.heard()
    watcher.unsubscribe(ROOM)
    await Client(hub).subscribe(ROOM)
    assert watcher.heard() == before


async def test_who_is_sent_away_for_good_is_gone_at_once(hub: Hub) -> None:
    watcher, anna, berta = Client(hub, "watcher"), Client(hub), Client(hub, "berta")
    for client in (watcher, anna, berta):
        await client.subscribe(ROOM, joins=client is watcher)
    hub.close_user("anna")
    hub.unsubscribe("berta", ROOM)
    await settle()
    assert users(hub) == ["watcher"]
    left = {id for kind, id in watcher.heard() if kind == "leave"}
    assert left == {anna.connection.id, berta.connection.id}


async def test_without_grace_every_leave_is_told(hub: Hub) -> None:
    watcher, anna = Client(hub, "watcher"), Client(hub)
    await watcher.subscribe("hall", joins=True)
    await anna.subscribe("hall")
    anna.leave()
    assert users(hub, "hall") == ["watcher"]
    assert watcher.heard()[-1] == ("leave", anna.connection.id)


async def test_an_absence_outlives_the_channel_that_nobody_is_on(
    hub: Hub, clock: FakeClock
) -> None:
    anna = Client(hub)
    await anna.subscribe(ROOM)
    anna.leave()
    await settle()
    assert hub.channels() == {}
    watcher = Client(hub, "watcher")
    await watcher.subscribe(ROOM, joins=True)
    assert users(hub) == ["anna", "watcher"]
    await clock.advance(5)
    assert users(hub) == ["watcher"]
    assert watcher.heard()[-1] == ("leave", anna.connection.id)


async def test_a_drain_tells_nobody_that_everybody_leaves(hub: Hub, clock: FakeClock) -> None:
    others, watcher = [Client(hub, f"user {n}") for n in range(40)], Client(hub, "watcher")
    for other in others:
        await other.subscribe(ROOM)
    await watcher.subscribe(ROOM, joins=True)
    before = watcher.heard()
    draining = asyncio.create_task(hub.drain(window=10))
    await clock.advance(1)
    assert others[0].code == 3001
    assert watcher.live
    await clock.advance(10)
    await draining
    assert watcher.heard() == before
    assert hub.presence(ROOM) == {}


async def test_the_next_life_of_a_hub_knows_nobody_of_the_last(clock: FakeClock) -> None:
    made = Hub(auth=Nobody(), clock=clock)
    declare(made, "room:{id}", presence=True)
    async with made:
        away, late = Client(made), Client(made, "late")
        for client in (away, late):
            await client.subscribe(ROOM)
        late.transport.on_close = None  # its socket outlives the hub
        away.leave()
        await made.drain(timeout=0.01)
    async with made:
        assert made.presence(ROOM) == {}
        watcher = Client(made, "watcher")
        await watcher.subscribe(ROOM, joins=True)
        late.leave()
        await clock.advance(10)
        assert watcher.heard() == [("join", watcher.connection.id)]


async def test_whoever_is_not_told_where_it_stands_is_not_present(clock: FakeClock) -> None:
    engine = LateEngine(clock)
    made = Hub(auth=Nobody(), clock=clock, engine=engine)

    async def gone(id: str) -> None:
        raise Unavailable("the disk is away")

    declare(made, "room:{id}", history=5, presence=True)
    declare(made, "broken:{id}", presence=True, snapshot=gone)
    async with made:
        watcher = Client(made, "watcher")
        await watcher.subscribe(ROOM, joins=True)
        before = watcher.heard()
        with pytest.raises(Unavailable):
            await Client(made).subscribe("broken:1")
        assert made.presence("broken:1") == {}
        engine.replay_gate.clear()
        anna = Client(made)
        subscribing = asyncio.create_task(anna.subscribe(ROOM, joins=True))
        await settle()
        assert users(made) == ["watcher"]
        anna.leave()
        engine.replay_gate.set()
        await subscribing
        assert users(made) == ["watcher"]
        assert watcher.heard() == before


async def test_who_is_told_and_waits_for_what_is_on_the_way_is_present_once(
    clock: FakeClock,
) -> None:
    engine = LateEngine(clock)
    made = Hub(auth=Nobody(), clock=clock, engine=engine)
    declare(made, "room:{id}", history=5, presence=True)
    async with made:
        watcher, late = Client(made, "watcher"), Client(made, "late")
        await watcher.subscribe(ROOM, joins=True)
        await made.publish(ROOM, "m", 1)
        await late.subscribe(ROOM, joins=True)
        assert users(made) == ["late", "watcher"]
        await Client(made, "third").subscribe(ROOM)
        engine.arrive(5)
        assert [kind for kind, _ in watcher.heard()] == ["join"] * 3
        assert [kind for kind, _ in late.heard()] == ["join"] * 2, "itself and the third"
        assert late.live


async def test_a_listener_that_does_not_read_is_cut(clock: FakeClock) -> None:
    made = Hub(auth=Nobody(), clock=clock, options=HubOptions(outbox_limit=2000))
    declare(made, "room:{id}", presence=True)
    async with made:
        slow = Client(made, "slow", stalled=True)
        await slow.subscribe(ROOM, joins=True)
        others = [Client(made, f"user {n}") for n in range(40)]
        for other in others:
            await other.subscribe(ROOM)
        assert slow.code == 3008
        assert all(other.live for other in others)


async def test_one_frame_for_all_who_listen(hub: Hub) -> None:
    listeners = [Client(hub, f"user {n}", stalled=True) for n in range(5)]
    for listener in listeners:
        await listener.subscribe("hall", joins=True)
    await Client(hub).subscribe("hall")
    last = []
    for listener in listeners:
        taken = None
        while (frame := listener.connection.outbox.take()) is not None:
            taken = frame
        last.append(taken)
    assert len({id(frame) for frame in last}) == 1


async def test_counting_ten_thousand_costs_as_much_as_counting_one(hub: Hub) -> None:
    def cost(channel: str) -> float:
        best = []
        for _ in range(5):
            began = time.thread_time()
            for _ in range(1000):
                hub.presence_stats(channel)
            best.append(time.thread_time() - began)
        return min(best)

    await Client(hub).subscribe("room:small")
    for n in range(10_000):
        await Client(hub, f"user {n % 3000}", stalled=True).subscribe("room:large")
    assert hub.presence_stats("room:large") == (10_000, 3000)
    assert cost("room:large") < 5 * cost("room:small")


def test_a_grace_is_no_negative_time() -> None:
    with pytest.raises(ConfigurationError):
        ChannelOptions(presence=True, presence_grace=-1)
