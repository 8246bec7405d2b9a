"""The in-process client in the `plain` dialect: what it expects, says and resumes."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator

import httpx2
import pytest

from cardume import Hub, HubNotRunning, Identity, Position
from cardume.testing import ActionError, Denied, FakeClock, Site, client, running
from tests.support.house import token
from tests.support.waiting import PATIENCE
from tests.testing.places import make_app, make_hub


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with running(make_app(make_hub())) as site:
        yield site


async def test_a_frame_that_came_is_expected_and_returned(site: Site) -> None:
    async with client(site, "/ws/room/7", identity="ann") as ws:
        assert ws.hello is not None
        assert ws.hello["data"]["channel"] == "room:7"
        await site.hub.publish("room:7", "message", {"text": "hi"})
        frame = await ws.expect("message")
        assert (frame["data"], frame["offset"]) == ({"text": "hi"}, 1)
        await ws.expect_nothing()


async def test_frames_are_expected_in_their_order(site: Site) -> None:
    async with client(site, "/ws/room/7", identity="ann") as ws:
        for n in range(3):
            await site.hub.publish("room:7", "a" if n != 1 else "b", n)
        assert (await ws.expect("a", where=lambda frame: frame["data"] > 0))["data"] == 2
        await ws.expect_nothing()  # what was passed over is not asked for again
        with pytest.raises(AssertionError, match=r"no 'b' within 0.01 s"):
            await ws.expect("b", within=0.01)
        assert [frame["data"] for frame in ws.of_type("a")] == [0, 2]


async def test_a_failure_shows_what_did_arrive(site: Site) -> None:
    async with client(site, "/ws/room/7", identity="ann") as ws:
        await site.hub.publish("room:7", "typing", {"who": "bob"})
        with pytest.raises(AssertionError) as failure:
            await ws.expect("message", within=0.01)
        assert "no 'message' within 0.01 s; it is open" in str(failure.value)
        assert '"type": "typing", "data": {"who": "bob"}' in str(failure.value)
        with pytest.raises(AssertionError, match=r"nothing was expected(.|\n)*typing"):
            await ws.expect_nothing()
        await ws.expect("typing")
        with pytest.raises(AssertionError, match=r"last expected frame:\n  nothing"):
            await ws.expect("message", where=lambda _: True, within=0.01)


async def test_what_is_late_within_the_time_is_waited_for(site: Site) -> None:
    async with client(site, "/ws/room/7", identity="ann") as ws:
        hub = site.hub
        hub.clock.call_later(0.02, lambda: hub.tasks.spawn(_publish(hub), "late"))
        began = time.monotonic()
        await ws.expect("late", within=PATIENCE)
        assert time.monotonic() - began < PATIENCE / 2
        hub.clock.call_later(0.02, lambda: hub.tasks.spawn(_publish(hub), "late"))
        with pytest.raises(AssertionError, match="nothing was expected"):
            await ws.expect_nothing(for_=5)


async def _publish(hub: Hub) -> None:
    await hub.publish("room:7", "late", {})


async def test_an_action_answers_and_its_event_can_still_be_expected(site: Site) -> None:
    async with client(site, "/ws/room/7", identity="ann") as ws:
        assert await ws.action("rename", title="den") == {"by": "ann", "title": "den"}
        assert (await ws.expect("renamed"))["data"] == {"title": "den"}
        with pytest.raises(ActionError, match="a room has a title") as refused:
            await ws.action("rename", title="")
        assert refused.value.code == "permission_denied"
        with pytest.raises(TypeError, match="name"):
            await ws.action("rename", **{"name": "den"})
        assert (await ws.ask({"type": "ping"}))["data"] == {"offset": 1}
        await ws.expect_nothing()


async def test_what_is_sent_is_answered_as_to_any_client(site: Site) -> None:
    async with client(site, "/ws/room/7?types=message", token=token("ann")) as ws:
        await site.hub.publish("room:7", "typing", {})
        ws.send({"type": "ping", "id": "p"})
        assert (await ws.expect("pong"))["id"] == "p"
        ws.send("no JSON")
        assert (await ws.expect("error"))["data"]["code"] == "bad_request"
        ws.close()
        with pytest.raises(ConnectionError, match="1000"):
            ws.send({"type": "ping"})


async def test_a_client_that_is_sent_away_sees_the_code(site: Site) -> None:
    async with client(site, "/ws/room/13", identity="ann") as ws:
        assert (ws.closed, ws.hello) == (3507, None)
        with pytest.raises(AssertionError, match="closed with 3507 permission denied"):
            await ws.expect("connected")
        with pytest.raises(LookupError):
            _ = ws.connection
    async with client(site, "/ws/room/13", identity=Identity("ann", role="admin")) as ws:
        assert ws.closed is None
        site.hub.close_user("ann")
        with pytest.raises(AssertionError, match="nothing was expected; it was closed with 3503"):
            await ws.expect_nothing()
        with pytest.raises(AssertionError, match="3000 was expected; it was closed with 3503"):
            await ws.expect_close(3000)
        assert await ws.expect_close(3503) == 3503
        await ws.expect_nothing()
    async with client(site, "/ws/room/7", token="nobody's") as ws:
        assert ws.closed == 3500
    async with client(site, "/ws/room/7") as ws:
        assert ws.closed == 3500


async def test_a_refused_handshake_is_denied(site: Site) -> None:
    foreign = client(site, "/ws/room/7", identity="ann", headers={"Origin": "https://evil"})
    with pytest.raises(Denied) as denied:
        async with foreign:
            pass
    assert (denied.value.status, denied.value.reason) == (403, "foreign_origin")


async def test_it_resumes_from_where_it_is(site: Site) -> None:
    hub = site.hub
    async with client(site, "/ws/room/7", identity="ann") as ws:
        await hub.publish("room:7", "message", 1)
        await ws.expect("message")
        ws.cut()
        assert ws.closed == 1006
        await hub.publish("room:7", "message", 2)
        await ws.reconnect()
        assert ws.recovered
        assert (await ws.expect("message"))["data"] == 2
        await ws.expect_nothing()
        assert ws.position is not None
        assert ws.position.offset == 2
        since = Position(ws.position.epoch, 1)
    async with client(site, "/ws/room/7", identity="bob", since=since) as ws:
        assert (await ws.expect("message"))["data"] == 2
    async with client(site, "/ws/room/7", identity="bob", since="gone:5") as ws:
        assert not ws.recovered
        await ws.expect_nothing()


async def test_a_snapshot_is_a_frame_like_others(site: Site) -> None:
    async with client(site, "/ws/board/plan", identity="ann") as ws:
        assert (await ws.expect("snapshot"))["data"] == {"name": "plan"}


async def test_http_and_websocket_share_one_loop_and_one_identity(site: Site) -> None:
    ann = Identity("ann")
    transport = httpx2.ASGITransport(site)
    async with (
        httpx2.AsyncClient(transport=transport, base_url="http://testserver") as http,
        client(site, "/ws/room/7", identity=ann) as ws,
    ):
        headers = {"Authorization": f"Bearer {site.token(ann)}"}
        answer = await http.post("/say/7", headers=headers)
        assert answer.status_code == 200
        assert (await ws.expect("said"))["data"] == {"by": "ann"}
        assert answer.json() == {"position": str(ws.position)}
        refused = await http.post("/say/7", headers={"Authorization": "Bearer test-made-up"})
        assert refused.status_code == 401


async def test_an_app_that_runs_is_found_and_one_that_does_not_is_not() -> None:
    app = make_app(make_hub())
    with pytest.raises(HubNotRunning):
        async with client(app, "/ws/room/7", identity="ann"):
            pass
    async with running(app), client(app, "/ws/room/7", identity="ann") as ws:
        assert ws.closed is None
    with pytest.raises(HubNotRunning):
        async with client(app, "/ws/room/7", identity="ann"):
            pass


async def test_a_hub_alone_is_enough() -> None:
    hub = make_hub()
    with pytest.raises(HubNotRunning):
        async with client(hub, "/ws/room/7", identity="ann"):
            pass
    async with hub, client(hub, "/ws/board/plan", identity="ann") as ws:
        await ws.expect("snapshot")
    async with running(make_hub()) as site, client(site, "/ws/room/7", identity="ann") as ws:
        assert ws.closed is None


async def test_identities_end_when_they_say(site: Site) -> None:
    past = Identity("ann", expires_at=site.hub.clock.now() - 1)
    async with client(site, "/ws/room/7", identity=past) as ws:
        assert ws.closed == 3500
    with pytest.raises(TypeError, match="not both"):
        client(site, "/ws/room/7", identity=past, token="t")


async def test_a_clock_moved_by_hand_moves_only_as_far_as_it_must() -> None:
    clock = FakeClock()
    hub = make_hub(clock)
    async with running(hub) as site, client(site, "/ws/room/7", identity="ann") as ws:
        clock.call_later(30.0, lambda: hub.tasks.spawn(_publish(hub), "late"))
        await hub.publish("room:7", "message", {})
        await ws.expect("message", within=60)
        assert clock.monotonic() == 0.0
        await ws.expect_nothing(for_=29.0)
        assert clock.monotonic() == 29.0
        await ws.expect("late", within=60)
        assert clock.monotonic() == 30.0


async def test_an_expectation_in_vain_lets_all_its_time_pass_at_once() -> None:
    clock = FakeClock()
    async with running(make_hub(clock)) as site, client(site, "/ws/room/7", identity="ann") as ws:
        began = time.monotonic()
        with pytest.raises(AssertionError, match="no 'message' within 3600 s"):
            await ws.expect("message", within=3600)
        assert clock.monotonic() == 3600.0
        assert time.monotonic() - began < PATIENCE


async def test_a_long_frame_is_shown_in_part(site: Site) -> None:
    async with client(site, "/ws/room/7", identity="ann") as ws:
        for _ in range(30):
            await site.hub.publish("room:7", "message", {"text": "x" * 1000})
        with pytest.raises(AssertionError) as failure:
            await ws.expect("other", within=0.01)
    lines = str(failure.value).splitlines()
    assert re.fullmatch(r"  … and \d+ more", lines[-1])
    assert max(map(len, lines)) < 200
