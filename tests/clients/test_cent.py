"""PyPI `cent`, Centrifugo's own client of the server API: every method of ours that it has."""

from __future__ import annotations

import importlib
import inspect
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

import cardume
from tests.support.backend import API_KEY, Backend, backend

pytest.importorskip("cent", reason="cent is not installed")
cent: Any = importlib.import_module("cent")

Call = Callable[[Any], Awaitable[Any]]


@pytest.fixture(scope="module")
def place() -> Iterator[Backend]:
    with backend() as made:
        yield made


@pytest.fixture(params=["blocking", "async"])
async def call(place: Backend, request: pytest.FixtureRequest) -> Any:
    """Sends a request by either of its two clients."""
    url = f"{place.url}/api"
    client = (cent.Client if request.param == "blocking" else cent.AsyncClient)(url, API_KEY)

    async def send(asked: Any) -> Any:
        answer = getattr(client, asked.api_method)(asked)
        return await answer if inspect.isawaitable(answer) else answer

    yield send
    if request.param == "blocking":
        client._session.close()
    else:
        await client.close()


def name(namespace: str = "room") -> str:
    return f"{namespace}:{uuid.uuid4().hex[:8]}"


async def test_it_publishes_once_however_often_it_asks(call: Call) -> None:
    channel = name()
    asked = {"channel": channel, "data": {"n": 1}, "tags": {"a": "b"}, "idempotency_key": "k"}
    first = await call(cent.PublishRequest(**asked))
    assert (first.offset, len(first.epoch) > 0) == (1, True)
    assert await call(cent.PublishRequest(**asked)) == first
    assert (await call(cent.PublishRequest(channel=channel, data=0))).offset == 2


async def test_it_broadcasts(call: Call) -> None:
    channels = [name(), name()]
    answer = await call(cent.BroadcastRequest(channels=[*channels, "nobody:1"], data="all"))
    assert [response.result.offset for response in answer.responses[:2]] == [1, 1]
    assert answer.responses[2].error.code == 102


async def test_it_reads_and_removes_history(call: Call) -> None:
    channel = name()
    for n in range(3):
        last = await call(cent.PublishRequest(channel=channel, data={"n": n}, tags={"n": str(n)}))
    past = await call(cent.HistoryRequest(channel=channel, limit=2, reverse=True))
    assert [(pub.offset, pub.data, pub.tags) for pub in past.publications] == [
        (3, {"n": 2}, {"n": "2"}),
        (2, {"n": 1}, {"n": "1"}),
    ]
    assert (past.offset, past.epoch) == (3, last.epoch)
    since = cent.StreamPosition(offset=2, epoch=past.epoch)
    rest = await call(cent.HistoryRequest(channel=channel, limit=9, since=since))
    assert [pub.offset for pub in rest.publications] == [3]
    await call(cent.HistoryRemoveRequest(channel=channel))
    assert (await call(cent.HistoryRequest(channel=channel, limit=9))).publications == []


async def test_it_sees_who_is_there(call: Call, place: Backend) -> None:
    channel = name()
    with place.listener("anna") as anna:
        anna.on(channel)
        present = (await call(cent.PresenceRequest(channel=channel))).presence
        assert {id: one.user for id, one in present.items()} == {anna.id: "anna"}
        stats = await call(cent.PresenceStatsRequest(channel=channel))
        assert (stats.num_clients, stats.num_users) == (1, 1)
        found = (await call(cent.ChannelsRequest(pattern="room:*"))).channels
        assert found[channel].num_clients == 1
        (node,) = (await call(cent.InfoRequest())).nodes
        assert (node.num_clients, node.num_subs, node.version) == (1, 1, cardume.__version__)


async def test_it_moves_users_and_sends_them_away(call: Call, place: Backend) -> None:
    channel = name("vault")
    with place.listener("cent") as one, place.listener("cent") as two:
        await call(cent.SubscribeRequest(user="cent", channel=channel, client=one.id))
        assert one.next()["push"]["channel"] == channel
        await call(cent.UnsubscribeRequest(user="cent", channel=channel))
        assert one.next()["push"]["unsubscribe"]["code"] == 2000
        later = int(time.time()) + 3600
        await call(cent.RefreshRequest(user="cent", expire_at=later))
        (live,) = [c for c in place.hub.connections_of("cent") if c.id == one.id]
        assert live.identity.expires_at == later
        gone = cent.Disconnect(code=4000, reason="moved")
        await call(cent.DisconnectRequest(user="cent", client=one.id, disconnect=gone))
        assert one.closed() == (4000, "moved")
        await call(cent.BlockUserRequest(user="cent"))
        assert two.closed()[0] == 3507
        await call(cent.UnblockUserRequest(user="cent"))
        with place.listener("cent"):
            pass


@pytest.mark.parametrize("parallel", [False, True])
async def test_it_sends_batches(call: Call, parallel: bool) -> None:
    channel = name()
    asked = [cent.PublishRequest(channel=channel, data=n) for n in range(3)]
    batch = cent.BatchRequest(
        requests=[*asked, cent.PresenceStatsRequest(channel=channel)], parallel=parallel
    )
    *published, stats = (await call(batch)).replies
    assert [reply.offset for reply in published] == [1, 2, 3]
    assert stats.num_clients == 0


async def test_it_understands_our_errors(call: Call, place: Backend) -> None:
    with pytest.raises(cent.CentApiResponseError) as unknown:
        await call(cent.PublishRequest(channel="nobody:1", data=1))
    assert unknown.value.code == 102
    since = cent.StreamPosition(offset=7, epoch="nope")
    with pytest.raises(cent.CentApiResponseError) as lost:
        await call(cent.HistoryRequest(channel=name(), limit=1, since=since))
    assert lost.value.code == 112
    asked = {"channel": name(), "idempotency_key": "k"}
    await call(cent.PublishRequest(**asked, data=1))
    with pytest.raises(cent.CentTransportError) as conflict:
        await call(cent.PublishRequest(**asked, data=2))
    assert conflict.value.status_code == 409


def test_it_is_told_that_its_key_is_wrong(place: Backend) -> None:
    client = cent.Client(f"{place.url}/api", "wrong")
    with pytest.raises(cent.CentUnauthorizedError):
        client.publish(cent.PublishRequest(channel="room:1", data=1))
    client._session.close()
