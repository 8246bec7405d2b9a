"""The in-process client where the application speaks `rooms` or `centrifuge`."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from cardume import Broadcaster, Identity
from cardume.testing import ActionError, FakeClock, Site, client, running
from tests.testing.places import make_app, make_hub


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def site(clock: FakeClock) -> AsyncIterator[Site]:
    async with running(make_app(make_hub(clock))) as site:
        yield site


# -- rooms ----------------------------------------------------------------------------------------


async def test_a_client_in_rooms_hears_events_by_their_type(site: Site) -> None:
    say = Broadcaster(site.hub)
    async with client(site, "/ws?client_id=desk", identity="ann") as ws:
        assert ws.hello is not None
        assert ws.hello["data"]["client_id"] == "desk"
        assert (await ws.action("join", room="lounge"))["members"] == 1
        await say.broadcast_custom_event("deploy_done", {"by": "bob"}, room="lounge")
        assert (await ws.expect("deploy_done"))["room"] == "lounge"
        await say.broadcast_custom_event("deploy_done", {"by": "bob"}, room="system")
        await ws.expect_nothing()
        with pytest.raises(ActionError) as refused:
            await ws.action("join", room="attic")
        assert refused.value.code == "unknown_channel"
        ws.send({"action": "ping"})
        await ws.expect("reply", where=lambda frame: frame["message"] == "pong")


async def test_a_client_in_rooms_comes_back_to_its_rooms_with_its_filter(site: Site) -> None:
    say = Broadcaster(site.hub)
    async with client(site, "/ws", identity="ann") as ws:
        for room in ("lounge", "system", "tasks"):
            await ws.action("join", room=room)
        await ws.action("leave", room="tasks")
        await ws.action("subscribe", event_types=["deploy_done"])
        await say.broadcast_custom_event("deploy_done", {"n": 1}, room="lounge")
        await ws.expect("deploy_done")
        ws.cut()
        await say.broadcast_custom_event("deploy_done", {"n": 2}, room="lounge")
        await say.broadcast_alert_triggered("info", "hidden by the filter")
        await say.broadcast_custom_event("deploy_done", {"n": 3}, room="tasks")
        await ws.reconnect()
        assert ws.recovered
        assert (await ws.expect("deploy_done"))["data"] == {"n": 2}
        await ws.expect_nothing()
        assert ws.positions.keys() == {"lounge", "system"}
        assert ws.position is None
        site.hub.close_user("ann")
        assert (await ws.expect("disconnected"))["data"]["code"] == 3503
        await ws.expect_close(3503)


async def test_a_client_learns_that_it_missed_something(site: Site, clock: FakeClock) -> None:
    say = Broadcaster(site.hub)
    async with (
        client(site, "/ws", identity="ann") as rooms,
        client(site, "/ws/room/7", identity="ann") as plain,
        client(site, "/connection/websocket", identity="ann") as centrifuge,
    ):
        await rooms.action("join", room="lounge")
        await centrifuge.action("subscribe", channel="room:7")
        for ws in (rooms, plain, centrifuge):
            ws.cut()
        await say.broadcast_custom_event("deploy_done", {}, room="lounge")
        await site.hub.publish("room:7", "message", {})
        await clock.advance(3600)  # longer than either is kept
        for ws in (rooms, plain, centrifuge):
            await ws.reconnect()
            assert not ws.recovered
            await ws.expect_nothing()
            ws.cut()
            await ws.reconnect()
            assert ws.recovered


# -- centrifuge -----------------------------------------------------------------------------------


async def test_a_centrifuge_client_subscribes_and_hears(site: Site) -> None:
    hub = site.hub
    async with client(site, "/connection/websocket", identity="ann") as ws:
        assert ws.connection.identity.sub == "ann"
        assert (await ws.action("subscribe", channel="room:7"))["recoverable"]
        await hub.publish("room:7", "message", {"text": "hi"})
        frame = await ws.expect("message")
        assert frame["push"]["pub"]["data"]["data"] == {"text": "hi"}
        ws.connection.send("hint", {})
        await ws.expect("hint")
        assert await ws.action("rename", title="den") == {"by": "ann", "title": "den"}
        await ws.expect("renamed")
        with pytest.raises(ActionError) as refused:
            await ws.action("subscribe", channel="room:13")
        assert refused.value.code == 103
        await ws.expect_nothing()


async def test_a_centrifuge_client_recovers_every_channel(site: Site) -> None:
    hub = site.hub
    async with client(site, "/connection/websocket", identity="ann") as ws:
        for channel in ("room:7", "room:8", "room:9"):
            await ws.action("subscribe", channel=channel)
        await ws.action("unsubscribe", channel="room:9")
        ws.cut()
        for channel in ("room:9", "room:8", "room:7"):
            await hub.publish(channel, "message", channel)
        await ws.reconnect()
        assert ws.recovered
        for channel in ("room:7", "room:8"):
            assert (await ws.expect("message"))["push"]["channel"] == channel
        await ws.expect_nothing()
        assert {name: place.offset for name, place in ws.positions.items()} == {
            "room:7": 1,
            "room:8": 1,
        }


async def test_a_centrifuge_client_recovers_what_its_token_put_it_on(site: Site) -> None:
    ann = Identity("ann", claims={"subs": {"room:7": {}}})
    async with client(site, "/connection/websocket", identity=ann) as ws:
        ws.cut()
        await site.hub.publish("room:7", "message", 1)
        await ws.reconnect()
        assert ws.recovered
        await ws.expect("message")
        await ws.expect_nothing()


async def test_a_centrifuge_client_answers_pings_until_it_is_frozen(
    site: Site, clock: FakeClock
) -> None:
    async with client(site, "/connection/websocket", identity="ann") as ws:
        await ws.expect_nothing(for_=300)
        ws.freeze()
        await clock.advance(60)
        assert site.hub.stats.closes[3012] == 1


async def test_a_centrifuge_client_whose_channel_ends_is_told(site: Site) -> None:
    async with client(site, "/connection/websocket", identity="ann") as ws:
        await ws.action("subscribe", channel="room:7", join_leave=True)
        async with client(site, "/connection/websocket", identity="bob") as other:
            await other.action("subscribe", channel="room:7")
            await ws.expect("join")
        site.hub.unsubscribe("ann", "room:7")
        await ws.expect("unsubscribe")
        assert ws.positions == {}
        await site.hub.publish("room:7", None, {"text": "untyped"})
        await ws.expect_nothing(for_=1)
