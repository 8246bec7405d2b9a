"""The server API, call by call, as a program of another make uses it."""

from __future__ import annotations

import base64
import time
import uuid
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from cardume import Hub, ServerApi, Unavailable
from cardume.auth.tokens import build_verifier
from cardume.clock import SystemClock
from cardume.engines.memory import MemoryEngine
from tests.support.backend import API_KEY, Backend, backend
from tests.support.house import SECRET, make_hub
from tests.support.waiting import wait_for

METHODS = [
    "publish",
    "broadcast",
    "subscribe",
    "unsubscribe",
    "disconnect",
    "refresh",
    "block_user",
    "unblock_user",
    "presence",
    "presence_stats",
    "history",
    "history_remove",
    "channels",
    "info",
    "batch",
]


@pytest.fixture(scope="module")
def place() -> Iterator[Backend]:
    with backend() as made:
        yield made


def name(namespace: str = "room") -> str:
    return f"{namespace}:{uuid.uuid4().hex[:8]}"


# -- the door ------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_every_call_wants_the_key_and_json(place: Backend, method: str) -> None:
    for key in (None, "", "wrong"):
        response = place.ask(method, key, json={})
        assert response.status_code == 401
        assert response.headers["content-type"] == "application/problem+json"
    assert place.ask(method, content=b"{").status_code == 400
    assert place.ask(method, content=b"").status_code == 400
    for sent in (b"[]", b"7", b"null", b'"x"'):  # JSON, and nothing that we take
        assert place.ask(method, content=sent).json()["error"]["code"] == 107


def test_without_a_key_configured_nobody_comes_in() -> None:
    for configured in (None, ""):
        app = FastAPI()
        app.include_router(ServerApi(make_hub(), api_key=configured).router, prefix="/v2")
        with TestClient(app) as client:
            for shown in ("", "None", API_KEY):
                response = client.post("/v2/api/info", json={}, headers={"X-API-Key": shown})
                assert response.status_code == 401


def test_a_call_that_does_not_exist_is_404(place: Backend) -> None:
    assert place.ask("fly", json={}).status_code == 404


def test_while_draining_it_is_503_with_a_time_to_come_back() -> None:
    with backend() as place:
        place.hub.draining = True
        response = place.ask("publish", json={"channel": "room:1", "data": 1})
        assert response.status_code == 503
        assert response.headers["retry-after"] == "2"


def test_the_schema_names_what_is_taken_and_answered(place: Backend) -> None:
    paths = httpx2.get(f"{place.url}/openapi.json").json()["paths"]
    for method in METHODS:
        call = paths[f"/api/{method}"]["post"]
        assert call["requestBody"]["content"]["application/json"]["schema"]
        assert call["responses"]["200"]["content"]["application/json"]["schema"]
        assert call["description"]


# -- publishing ----------------------------------------------------------------------------------


def test_broadcast_answers_for_each_channel(place: Backend) -> None:
    one, two = name(), name()
    asked = {"channels": [one, "nobody:1", "no name", two], "data": {"n": 1}}
    responses = place.ok("broadcast", **asked, idempotency_key="b1")["responses"]
    assert [response["result"]["offset"] for response in (responses[0], responses[3])] == [1, 1]
    assert [response["error"]["code"] for response in responses[1:3]] == [102, 107]
    again = place.ok("broadcast", **asked, idempotency_key="b1")["responses"]
    assert again == responses
    other = place.ok("broadcast", **{**asked, "data": 2}, idempotency_key="b1")["responses"]
    assert [response["error"]["code"] for response in other] == [409, 102, 107, 409]


def test_base64_is_taken_where_it_is_json(place: Backend) -> None:
    channel = name()
    packed = base64.b64encode(b'{"a": [1, 2]}').decode()
    place.ok("publish", channel=channel, b64data=packed)
    assert place.ok("history", channel=channel, limit=1)["publications"][0]["data"] == {"a": [1, 2]}
    for bad in (
        "eA==",
        "%",
        base64.b64encode(b"\xff").decode(),
        base64.b64encode(b"1e999").decode(),
    ):
        assert place.code("publish", channel=channel, data=1, b64data=bad) == 107


def test_one_publication_is_a_message_and_has_a_messages_limit(place: Backend) -> None:
    data = "x" * 70_000
    assert place.code("broadcast", channels=[name()], data=data) == 106
    replies = place.ask(
        "batch", json={"commands": [{"publish": {"channel": name(), "data": data}}]}
    )
    assert replies.json()["replies"][0]["error"]["code"] == 106
    assert place.ask("batch", content=b" " * 1_048_577).status_code == 413
    assert place.ask("publish", content=b" " * 65_537).status_code == 413


# -- what was said -------------------------------------------------------------------------------


def test_history_gives_back_what_was_put_in(place: Backend) -> None:
    channel = name()
    said = {"type": "said", "data": [1, None], "key": "k", "source": "s", "tags": {"a": "b"}}
    place.ok("publish", channel=channel, **said)
    place.ok("publish", channel=channel, data="bare")
    past = place.ok("history", channel=channel, limit=10)
    first, second = past["publications"]
    assert abs(first.pop("time") - time.time() * 1000) < 60_000
    assert first == {"offset": 1, **said}
    assert set(second) == {"offset", "data", "time"}
    assert past["offset"] == 2


def test_history_is_read_in_pages_both_ways(place: Backend) -> None:
    channel = name()
    for n in range(5):
        place.ok("publish", channel=channel, data=n)

    def page(**asked: Any) -> list[int]:
        past = place.ok("history", channel=channel, **asked)
        return [publication["data"] for publication in past["publications"]]

    epoch = place.ok("history", channel=channel)["epoch"]
    assert page() == []
    assert page(limit=2) == [0, 1]
    assert page(limit=-1) == [0, 1, 2, 3, 4]
    assert page(limit=2, since={"offset": 2, "epoch": epoch}) == [2, 3]
    assert page(limit=2, since={"offset": 2}) == [2, 3]
    assert page(limit=2, reverse=True) == [4, 3]
    assert page(limit=9, since={"offset": 3, "epoch": epoch}, reverse=True) == [1, 0]
    for since in ({"offset": 2, "epoch": "another"}, {"offset": 99, "epoch": epoch}):
        assert place.code("history", channel=channel, limit=1, since=since) == 112


def test_history_is_removed_and_offsets_go_on(place: Backend) -> None:
    channel = name()
    place.ok("publish", channel=channel, data=1)
    before = place.ok("publish", channel=channel, data=2)
    with place.listener() as live:
        live.on(channel)
        assert place.ok("history_remove", channel=channel) == {}
        assert place.ok("history", channel=channel, limit=9) == {"publications": [], **before}
        after = place.ok("publish", channel=channel, data=3)
        assert after == {"epoch": before["epoch"], "offset": 3}
        assert live.next()["push"]["pub"]["offset"] == 3  # who is live notices nothing
    since = {"offset": 1, "epoch": before["epoch"]}
    assert place.code("history", channel=channel, limit=9, since=since) == 112
    assert place.ok("history", channel=channel, limit=9)["publications"][0]["data"] == 3
    place.ok("publish", channel=channel, data=4)  # kept as ever
    assert len(place.ok("history", channel=channel, limit=9)["publications"]) == 2


@pytest.mark.parametrize("method", ["history", "history_remove", "presence", "presence_stats"])
def test_what_a_channel_does_not_have_is_not_available(place: Backend, method: str) -> None:
    assert place.code(method, channel="quiet:1") == 108
    assert place.code(method, channel="nobody:1") == 102
    assert place.code(method, channel="no name") == 107
    assert place.code(method) == 107


# -- who is there --------------------------------------------------------------------------------


def test_presence_channels_and_info_say_who_is_there(place: Backend) -> None:
    channel = name()
    with place.listener("anna") as one, place.listener("anna") as two, place.listener("bea") as bea:
        for listener in (one, two, bea):
            listener.on(channel)
        present = place.ok("presence", channel=channel)["presence"]
        assert set(present) == {one.id, two.id, bea.id}
        assert present[bea.id] == {"user": "bea", "client": bea.id}
        assert place.ok("presence_stats", channel=channel) == {"num_clients": 3, "num_users": 2}
        assert place.ok("channels")["channels"][channel] == {"num_clients": 3}
        assert channel in place.ok("channels", pattern="room:*")["channels"]
        assert channel not in place.ok("channels", pattern="rooms:?")["channels"]
        (node,) = place.ok("info")["nodes"]
        assert (node["num_clients"], node["num_users"]) == (3, 2)
        assert (node["num_channels"], node["num_subs"]) == (1, 3)
    wait_for(lambda: place.ok("info")["nodes"][0]["num_clients"] == 0)
    assert place.ok("channels")["channels"] == {}


def test_a_user_is_put_on_a_channel_and_taken_off(place: Backend) -> None:
    channel = name("vault")  # its function lets nobody in
    position = place.ok("publish", channel=channel, data="before")
    with place.listener("anna") as one, place.listener("anna") as two, place.listener("bea"):
        assert place.ok("subscribe", user="anna", channel=channel) == {}
        for listener in (one, two):
            push = listener.next()["push"]
            assert push["channel"] == channel
            assert push["subscribe"]["offset"] == 1
        assert place.ok("channels", pattern=channel)["channels"][channel]["num_clients"] == 2
        assert place.ok("subscribe", user="anna", channel=channel) == {}  # it is there
        assert place.ok("unsubscribe", user="anna", channel=channel, client=one.id) == {}
        assert one.next()["push"]["unsubscribe"]["code"] == 2000
        assert place.ok("unsubscribe", user="bea", channel=channel, client=two.id) == {}  # not hers
        assert place.ok("channels", pattern=channel)["channels"][channel]["num_clients"] == 1
        since = {**position, "offset": 0}
        again = {"user": "anna", "channel": channel, "client": one.id, "recover_since": since}
        place.ok("subscribe", **again)
        assert one.next()["push"]["subscribe"]["recovered"] is True
        assert one.next()["push"]["pub"]["data"] == "before"
        assert place.ok("unsubscribe", user="anna", channel=channel) == {}
        assert {who.next()["push"]["unsubscribe"]["code"] for who in (one, two)} == {2000}
        assert place.ok("channels", pattern=channel)["channels"] == {}


def test_what_a_subscription_comes_with_is_seen_by_others(place: Backend) -> None:
    channel = name()
    with place.listener("anna") as anna:
        place.ok("subscribe", user="anna", channel=channel, info={"seat": 7})
        anna.next()
        present = place.ok("presence", channel=channel)["presence"]
        assert present[anna.id]["conn_info"] == {"seat": 7}


def test_a_connection_of_one_channel_is_not_moved_but_closed(place: Backend) -> None:
    with place.plain("one") as socket:
        place.ok("subscribe", user="anna", channel="room:two")
        assert place.ok("channels", pattern="room:two")["channels"] == {}
        (client,) = place.ok("presence", channel="room:one")["presence"]
        place.ok("unsubscribe", user="anna", channel="room:one", client=client)
        with pytest.raises(Exception, match="3503"):
            socket.recv(timeout=10)


def test_disconnect_by_user_by_client_and_but_for_some(place: Backend) -> None:
    with place.listener("cut") as one, place.listener("cut") as two, place.listener("cut") as three:
        place.ok("disconnect", user="else", client=one.id)  # somebody else's
        place.ok("disconnect", user="cut", client=one.id, disconnect={"code": 4321, "reason": "x"})
        assert one.closed() == (4321, "x")
        place.ok("disconnect", user="cut", whitelist=[three.id], disconnect={"code": 3011})
        assert two.closed() == (3011, "force reconnect")
        place.ok("disconnect", user="cut")
        assert three.closed() == (3503, "force disconnect")
    for code, reason in ((1000, ""), (2999, ""), (5000, ""), (4000, "é" * 62)):
        asked = {"code": code, "reason": reason}
        assert place.code("disconnect", user="cut", disconnect=asked) == 107


def test_refresh_moves_the_end_of_a_connection(place: Backend) -> None:
    with place.listener("brief") as one, place.listener("brief") as two:
        place.ok("refresh", user="brief", client=one.id, expired=True)
        assert one.closed()[0] == 3005
        place.ok("refresh", user="brief", client=two.id, expire_at=int(time.time()) + 1)
        assert two.closed()[0] == 3005
    assert place.code("refresh", user="brief") == 107


def test_a_user_is_shut_out_and_let_in_again(place: Backend) -> None:
    with place.listener("bad") as bad:
        place.ok("block_user", user="bad", expire_at=int(time.time()) + 60)
        assert bad.closed()[0] == 3507
    with pytest.raises(Exception, match="3507"), place.listener("bad"):
        pass
    place.ok("unblock_user", user="bad")
    with place.listener("bad"):
        pass
    assert place.code("block_user", user="bad", expire_at=1) == 107


@pytest.mark.parametrize("method", ["subscribe", "unsubscribe", "disconnect", "refresh"])
def test_a_narrowing_that_we_cannot_honour_is_refused(place: Backend, method: str) -> None:
    asked = {"user": "anna", "channel": "room:1", "session": "s", "expired": True}
    with place.listener("anna"):
        assert place.code(method, **asked) == 108
        assert place.ok("info")["nodes"][0]["num_clients"] == 1


def test_what_would_be_lost_silently_is_refused(place: Backend) -> None:
    asked = {"user": "anna", "channel": "room:1"}
    assert place.code("subscribe", **asked, expire_at=2_000_000_000) == 108
    assert place.code("subscribe", **asked, data={"hello": 1}) == 108


# -- batches -------------------------------------------------------------------------------------


@pytest.mark.parametrize("parallel", [False, True])
def test_a_batch_has_a_reply_for_each_command(place: Backend, parallel: bool) -> None:
    channel = name()
    commands: list[Any] = [
        {"publish": {"channel": channel, "data": 1}},
        {"publish": {"channel": "nobody:1", "data": 1}},
        {"fly": {}},
        {},
        {"publish": {}, "info": {}},
        {"publish": None},
        {"batch": {"commands": []}},
        {"presence_stats": {"channel": channel}},
        {"publish": {"channel": channel, "data": 2}},
    ]
    response = place.ask("batch", json={"commands": commands, "parallel": parallel})
    replies = response.json()["replies"]
    assert [reply["error"]["code"] for reply in replies[1:7]] == [102, 104, 107, 107, 107, 104]
    assert replies[0]["publish"]["offset"] == 1
    assert replies[7]["presence_stats"] == {"num_clients": 0, "num_users": 0}
    assert replies[8]["publish"]["offset"] == 2


@pytest.mark.parametrize("parallel", [False, True])
def test_a_batch_of_a_thousand_is_said_in_one_frame(place: Backend, parallel: bool) -> None:
    channel = name()
    commands = [{"publish": {"channel": channel, "data": n}} for n in range(1000)]
    with place.listener() as live:
        live.on(channel)
        place.ask("batch", json={"commands": commands, "parallel": parallel})
        first = str(live.socket.recv(timeout=10))
        # As many as fit into a frame: nothing was written before all were published.
        assert first.count('"pub"') > 100
        seen = [line for line in first.split("\n") if line]
        while len(seen) < 1000:
            seen += [line for line in str(live.socket.recv(timeout=10)).split("\n") if line]
    commands.append({"info": {}})
    assert place.ask("batch", json={"commands": commands}).json()["error"]["code"] == 107


# -- an engine out of reach ----------------------------------------------------------------------


class Gone(MemoryEngine):
    """Keeps nothing, or fails as nobody expected."""

    error: Exception = Unavailable("the engine is out of reach")

    async def publish(self, *_: Any) -> Any:
        raise self.error


def test_what_was_not_kept_is_said_so_that_it_can_be_repeated() -> None:
    engine = Gone()
    hub = Hub(auth=build_verifier(clock=SystemClock(), secret=SECRET), engine=engine)
    hub.channel("room:{id}", history=10)(lambda id: None)
    app = FastAPI()
    app.include_router(ServerApi(hub, api_key=API_KEY).router)
    said = {"channel": "room:1", "data": 1}
    with TestClient(app, headers={"X-API-Key": API_KEY}) as client:
        single = client.post("/api/publish", json=said)
        assert (single.status_code, single.headers["retry-after"]) == (503, "2")
        batch = {"commands": [{"publish": said}, {"info": {}}]}
        for error in (engine.error, ZeroDivisionError("a bug")):
            engine.error = error
            failed, fine = client.post("/api/batch", json=batch).json()["replies"]
            assert failed["error"]["code"] == 100
            assert fine["info"]["nodes"]
            many = {"channels": ["room:1"], "data": 1}
            answer = client.post("/api/broadcast", json=many).json()
            assert answer["result"]["responses"][0]["error"]["code"] == 100
        bug = client.post("/api/publish", json=said)
        assert bug.json() == {"error": {"code": 100, "message": "internal server error"}}
        assert "a bug" not in bug.text
