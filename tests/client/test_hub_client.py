"""`HubClient` against a real hub in another thread, and against servers that fail."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from cardume import (
    ConfigurationError,
    HubClient,
    Invalid,
    Position,
    Refused,
    Unavailable,
)
from cardume.client import Unreachable
from cardume.wire import codes
from tests.client.faulty import Reply, faulty
from tests.support.backend import API_KEY, Backend, backend


@pytest.fixture(scope="module")
def place() -> Iterator[Backend]:
    with backend() as made:
        yield made


@pytest.fixture
async def hub(place: Backend) -> AsyncIterator[HubClient]:
    async with HubClient(place.url, API_KEY) as client:
        yield client


def name(namespace: str = "room") -> str:
    return f"{namespace}:{uuid.uuid4().hex[:8]}"


# -- what it does --------------------------------------------------------------------------------


async def test_what_is_published_is_heard_and_read_again(hub: HubClient, place: Backend) -> None:
    channel = name()
    with place.listener() as live:
        live.on(channel)
        first = await hub.publish(channel, "said", {"n": 1}, key="k", tags={"a": "b"}, source="w")
        second = await hub.publish(channel)
        pub = live.next()["push"]["pub"]
        assert (pub["data"]["type"], pub["data"]["data"], pub["offset"]) == ("said", {"n": 1}, 1)
    assert second == Position(first.epoch, 2)
    past = await hub.history(channel, limit=10)
    assert past.position == second
    said, bare = past.publications
    assert (said.data, said.type, said.key, said.source) == (b'{"n":1}', "said", "k", "w")
    assert (said.tags, said.offset) == ({"a": "b"}, 1)
    assert abs(said.time - time.time()) < 60
    assert (bare.data, bare.type, bare.tags) == (b"null", None, None)
    assert (await hub.history(channel, first, 9)).publications == (bare,)
    assert (await hub.history(channel, limit=1, reverse=True)).publications == (bare,)
    await hub.history_remove(channel)
    assert (await hub.history(channel, limit=9)).publications == ()


async def test_a_key_of_ones_own_adds_nothing_twice(hub: HubClient) -> None:
    channel = name()
    first = await hub.publish(channel, data=1, idempotency_key="k")
    assert await hub.publish(channel, data=1, idempotency_key="k") == first
    with pytest.raises(Refused) as refused:
        await hub.publish(channel, data=2, idempotency_key="k")
    assert refused.value.code is codes.CONFLICT


async def test_a_broadcast_answers_for_each_channel(hub: HubClient) -> None:
    good, unknown, wrong = await hub.broadcast([name(), "nobody:1", "no name"], "said", 1)
    assert isinstance(good, Position)
    assert isinstance(unknown, Refused)
    assert unknown.code is codes.UNKNOWN_CHANNEL
    assert isinstance(wrong, Invalid)


async def test_who_is_there(hub: HubClient, place: Backend) -> None:
    channel = name()
    with place.listener("anna") as anna:
        await hub.subscribe("anna", channel, info={"seat": 1})
        anna.next()
        (member,) = (await hub.presence(channel)).values()
        assert (member.user, member.connection_id, member.info) == ("anna", anna.id, {"seat": 1})
        assert await hub.presence_stats(channel) == (1, 1)
        assert await hub.channels("room:*") == {channel: 1}
        assert (await hub.info())[0]["num_clients"] == 1
        await hub.unsubscribe("anna", channel)
        assert await hub.channels() == {}


async def test_users_are_sent_away(hub: HubClient, place: Backend) -> None:
    with place.listener("u") as one, place.listener("u") as two, place.listener("u") as three:
        await hub.disconnect("u", code=4001, reason="why", except_=[two.id, three.id])
        assert one.closed() == (4001, "why")
        await hub.refresh("u", client=two.id, expired=True)
        assert two.closed()[0] == 3005
        await hub.refresh("u", expire_at=time.time() + 3600)
        await hub.block_user("u", 60)
        assert three.closed()[0] == 3507
        await hub.unblock_user("u")
        with place.listener("u") as four:
            await hub.disconnect("u", client=four.id)
            assert four.closed()[0] == 3503


async def test_a_batch_gives_results_and_exceptions(hub: HubClient) -> None:
    channel = name()
    commands: list[dict[str, Any]] = [
        {"publish": {"channel": channel, "data": 1}},
        {"publish": {"channel": "nobody:1", "data": 1}},
        {"presence_stats": {"channel": channel}},
    ]
    for parallel in (False, True):
        published, refused, stats = await hub.batch(commands, parallel=parallel)
        assert published["offset"] == 1 + parallel
        assert isinstance(refused, Refused)
        assert stats == {"num_clients": 0, "num_users": 0}
    with pytest.raises(Invalid):
        await hub.batch([{"info": {}}] * 1001)


def test_a_script_needs_no_loop(place: Backend) -> None:
    channel = name()
    with HubClient(place.url, API_KEY) as hub:
        position = hub.publish_sync(channel, "said", {"n": 1}, idempotency_key="k")
        assert hub.publish_sync(channel, "said", {"n": 1}, idempotency_key="k") == position
        assert hub.call_sync("history", channel=channel)["offset"] == 1
        with pytest.raises(Refused):
            hub.call_sync("history", channel="quiet:1")


async def test_many_calls_at_once_share_a_few_connections(place: Backend) -> None:
    channel = name()
    async with HubClient(place.url, API_KEY, connections=3) as hub:
        found = await asyncio.gather(*(hub.publish(channel, data=n) for n in range(50)))
    assert sorted(position.offset for position in found) == list(range(1, 51))


def test_it_is_a_light_import() -> None:
    code = "import sys, cardume.client; print('requests' in sys.modules, 'httpx' in sys.modules)"
    found = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert found.split() == ["False", "False"]


# -- what is wrong -------------------------------------------------------------------------------


async def test_errors_are_those_of_the_hub(hub: HubClient, place: Backend) -> None:
    with pytest.raises(Refused) as unknown:
        await hub.publish("nobody:1", data=1)
    assert unknown.value.code is codes.UNKNOWN_CHANNEL
    with pytest.raises(Refused) as off:
        await hub.presence("quiet:1")
    assert off.value.code is codes.NOT_AVAILABLE
    with pytest.raises(Refused) as lost:
        await hub.history(name(), Position("old", 3), 9)
    assert lost.value.code is codes.UNRECOVERABLE_POSITION
    with pytest.raises(Invalid):
        await hub.publish("no name", data=1)
    with pytest.raises(Invalid):
        await hub.publish(name(), data=object())
    with pytest.raises(Refused) as large:
        await hub.publish(name(), data="x" * 70_000)
    assert large.value.code is codes.LIMIT_EXCEEDED
    async with HubClient(place.url, "wrong") as stranger:
        with pytest.raises(Refused) as nobody:
            await stranger.info()
    assert nobody.value.code is codes.UNAUTHORIZED


@pytest.mark.parametrize("first", [Reply(None), Reply(500, b"oops"), Reply(503), Reply(502, b"<>")])
async def test_a_call_that_failed_is_repeated_with_the_same_key(first: Reply) -> None:
    with faulty(first, first, Reply()) as server:
        async with HubClient(server.url + "/behind/", API_KEY) as hub:
            assert await hub.publish("room:1", data=1) == Position("e", 1)
    assert server.paths == ["/behind/api/publish"] * 3
    assert len({asked["idempotency_key"] for asked in server.asked}) == 1


async def test_the_publications_of_a_batch_have_keys_too() -> None:
    with faulty(Reply(None), Reply(200, b'{"replies":[{"publish":{}},{"info":{}}]}')) as server:
        async with HubClient(server.url, API_KEY) as hub:
            await hub.batch([{"publish": {"channel": "c", "data": 1}}, {"info": {}}])
    first, second = (asked["commands"] for asked in server.asked)
    assert first == second
    assert first[0]["publish"]["idempotency_key"]
    assert first[1] == {"info": {}}


async def test_without_retries_it_asks_once_and_without_a_key() -> None:
    with faulty(Reply(None)) as server:
        async with HubClient(server.url, API_KEY, retries=0) as hub:
            with pytest.raises(Unavailable):
                await hub.publish("room:1", data=1)
    assert len(server.asked) == 1
    assert "idempotency_key" not in server.asked[0]


async def test_it_gives_up_and_says_so() -> None:
    with faulty(Reply(503, b'{"detail":"shutting down"}')) as server:
        async with HubClient(server.url, API_KEY) as hub:
            with pytest.raises(Unavailable, match="shutting down"):
                await hub.info()
    assert len(server.asked) == 3


async def test_a_server_that_never_answers_costs_the_timeout_and_no_more() -> None:
    with faulty(Reply(heard_only=True)) as server:
        client = HubClient(server.url, API_KEY, timeout=0.3, retries=5)
        with pytest.raises(Unavailable):
            await client.publish("room:1", data=1)
        assert len(server.asked) <= 1  # there was no time for another
        server.gone.set()
        await client.aclose()


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-name.invalid", "a..b"])
async def test_nobody_there_is_not_an_open_question(host: str) -> None:
    with faulty() as server:
        url = server.url.replace("127.0.0.1", host)
    async with HubClient(url, API_KEY, retries=1) as hub:
        with pytest.raises(Unreachable, match=f"no server at {url} .*nothing was sent") as nobody:
            await hub.publish("room:1", data=1)
    assert isinstance(nobody.value, Unavailable)
    assert isinstance(nobody.value.__cause__, OSError)


async def test_a_call_that_was_sent_once_stays_open() -> None:
    """The server reads it, and is gone when it is asked again."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hear_once() -> None:
            connection, _address = server.accept()
            server.close()
            connection.recv(65536)
            connection.close()

        thread = threading.Thread(target=hear_once)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        async with HubClient(url, API_KEY) as hub:
            with pytest.raises(Unavailable, match="is open") as unavailable:
                await hub.publish("room:1", data=1)
        thread.join(10)
    assert not isinstance(unavailable.value, Unreachable)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, b""),
        Reply(200, b"<html>"),
        Reply(200, b"[]"),
        Reply(200, b"{}"),
        Reply(200, b'{"result":{"epoch":7}}'),
        Reply(200, b"\xff"),
        Reply(404, b"no"),
        Reply(301, b""),
        Reply(405, b"{}"),
    ],
)
async def test_somebody_elses_server_is_called_that(reply: Reply) -> None:
    with faulty(reply) as server:
        async with HubClient(server.url, API_KEY) as hub:
            with pytest.raises(ConfigurationError):
                await hub.publish("room:1", data=1)
            with pytest.raises(ConfigurationError):
                await hub.batch([])
    assert len(server.asked) == 2


@pytest.mark.parametrize("fault", [b"7", b"null", b"{}", b'{"code":"102"}', b'{"code":1e999}'])
async def test_a_batch_with_an_error_that_is_none_is_somebody_elses(fault: bytes) -> None:
    body = b'{"replies":[{"publish":{}},{"error":' + fault + b"}]}"
    with faulty(Reply(200, body)) as server:
        async with HubClient(server.url, API_KEY) as hub:
            with pytest.raises(ConfigurationError, match="no server API of ours"):
                await hub.batch([{"info": {}}, {"info": {}}])


async def test_a_connection_is_kept_until_the_server_closes_it() -> None:
    with faulty() as server:
        async with HubClient(server.url, API_KEY, retries=0) as hub:
            for _ in range(3):
                await hub.publish("room:1", data=1)
            assert server.connections == 1
            server.replies = [Reply(), Reply(None), Reply()]
            await hub.publish("room:1", data=1)
            with pytest.raises(Unavailable):
                await hub.publish("room:1", data=1)
            await hub.publish("room:1", data=1)
    assert server.connections == 2


def test_a_server_that_let_go_of_an_idle_connection_is_asked_on_a_new_one(place: Backend) -> None:
    with HubClient(place.url, API_KEY, retries=0) as hub:
        hub.call_sync("info")
        time.sleep(1.3)  # it keeps them for a second
        hub.call_sync("info")


@pytest.mark.parametrize(
    "url",
    ["", "localhost:8000", "ftp://x", "http://", "http://x:y", "http://u:p@x", "http://x?a=1"],
)
def test_what_is_no_address_is_said_at_once(url: str) -> None:
    with pytest.raises(ConfigurationError):
        HubClient(url, API_KEY)


@pytest.mark.parametrize("key", ["", "é", "a\r\nX-Evil: 1"])
def test_what_is_no_key_is_said_at_once(key: str) -> None:
    with pytest.raises(ConfigurationError):
        HubClient("http://localhost", key)


def test_less_than_no_retries_are_said_at_once() -> None:
    with pytest.raises(ConfigurationError, match="retries"):
        HubClient("http://localhost", API_KEY, retries=-1)
