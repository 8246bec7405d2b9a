"""`GET /api/v1/channels/{channel}/events`: who may read, ids, what a reader comes back to."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
import pytest
import uvicorn
from fastapi import FastAPI, HTTPException

from cardume import Hub, HubOptions, Identity
from cardume.auth.tokens import build_verifier
from cardume.testing import FakeClock
from cardume.testing.clock import settle
from cardume.transports.events import ChannelEvents
from tests.support.asgi import eventually
from tests.support.house import SECRET, make_hub, token
from tests.support.stages import listening, until
from tests.support.streams import Request


def declare(hub: Hub) -> None:
    async def snapshot(id: str) -> dict[str, str]:
        return {"board": id}

    @hub.channel("room:{id}", history=20)
    async def room(id: int, identity: Identity) -> None:
        if id in (403, 404):
            raise HTTPException(id)

    @hub.channel("board:{id}", history=20, snapshot=snapshot)
    async def board(id: str) -> None: ...

    @hub.channel("quiet:{id}")
    async def quiet(id: str) -> None: ...


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(start=time.time())


@pytest.fixture
async def hub(clock: FakeClock) -> AsyncIterator[Hub]:
    made = Hub(
        auth=build_verifier(clock=clock, secret=SECRET),
        clock=clock,
        options=HubOptions(outbox_limit=4096),
    )
    declare(made)
    async with made:
        yield made
        assert made.stats.active_connections == 0


async def read(hub: Hub, channel: str, query: str = "", **headers: str) -> Request:
    """A reader with a token in the query, as an `EventSource` has to."""
    shown = f"token={token()}{query}"
    request = Request(ChannelEvents(hub), f"/api/v1/channels/{channel}/events", shown, **headers)
    request.scope["path_params"] = {"channel": channel}
    await settle()
    return request


async def test_each_event_has_its_position_as_id(hub: Hub) -> None:
    request = await read(hub, "room:1")
    position = await hub.publish("room:1", "said", {"n": 1})
    await settle()
    connected, said = request.events()
    assert connected["id"] == f"{position.epoch}:0"
    assert connected["data"]["type"] == "connected"
    assert said["id"] == str(position)
    assert said["data"]["data"] == {"n": 1}
    assert said["data"]["channel"] == "room:1"
    await request.leave()


async def test_without_history_there_are_no_ids(hub: Hub) -> None:
    request = await read(hub, "quiet:1")
    await hub.publish("quiet:1", "said", 1)
    await settle()
    assert [event.get("id") for event in request.events()] == [None, None]
    await request.leave()


async def test_a_snapshot_comes_before_what_follows(hub: Hub) -> None:
    request = await read(hub, "board:7")
    assert [event["data"]["type"] for event in request.events()] == ["connected", "snapshot"]
    await request.leave()


@pytest.mark.parametrize("way", ["header", "query"])
async def test_a_reader_that_comes_back_misses_nothing(hub: Hub, way: str) -> None:
    first = await hub.publish("board:7", "said", 1)
    await hub.publish("board:7", "said", 2)
    if way == "header":
        request = await read(hub, "board:7", last_event_id=str(first))
    else:
        request = await read(hub, "board:7", f"&since={first}")
    connected, missed = request.events()
    assert connected["data"]["data"]["recovered"] is True
    assert missed["id"] == f"{first.epoch}:2"
    await request.leave()


async def test_where_it_was_cut_counts_and_not_where_it_came_in_first(hub: Hub) -> None:
    """An `EventSource` comes back to the address that it was made with, `since` and all."""
    first = await hub.publish("board:7", "said", 1)
    second = await hub.publish("board:7", "said", 2)
    await hub.publish("board:7", "said", 3)
    request = await read(hub, "board:7", f"&since={first}", last_event_id=str(second))
    assert [event.get("id") for event in request.events()[1:]] == [f"{first.epoch}:3"]
    await request.leave()


async def test_an_id_that_is_none_starts_over(hub: Hub) -> None:
    request = await read(hub, "board:7", last_event_id="nonsense")
    assert request.events()[0]["data"]["data"]["recovered"] is False
    assert request.events()[1]["data"]["type"] == "snapshot"
    await request.leave()


async def test_only_the_types_that_it_wants(hub: Hub) -> None:
    request = await read(hub, "room:1", "&types=said,sung")
    for type in ("said", "done", "sung"):
        await hub.publish("room:1", type, 1)
    await settle()
    assert [event["data"]["type"] for event in request.events()[1:]] == ["said", "sung"]
    await request.leave()


@pytest.mark.parametrize(
    ("channel", "status"),
    [("room:403", 403), ("room:404", 404), ("room:x", 422), ("nobody:1", 404), ("a b", 422)],
)
async def test_who_may_not_read_gets_a_status(hub: Hub, channel: str, status: int) -> None:
    request = await read(hub, channel)
    await eventually(request.task)
    assert (request.status, request.ended) == (status, True)
    assert json.loads(request.body)["status"] == status


async def test_nor_who_is_nobody(hub: Hub) -> None:
    request = Request(ChannelEvents(hub), "/", "token=nonsense")
    request.scope["path_params"] = {"channel": "room:1"}
    await eventually(request.task)
    assert request.status == 401


async def test_a_claim_opens_what_the_function_does_not(hub: Hub) -> None:
    shown = token(channels=["room:403"])
    request = Request(ChannelEvents(hub), "/", f"token={shown}")
    request.scope["path_params"] = {"channel": "room:403"}
    await settle()
    assert request.status == 200
    await request.leave()


async def test_the_last_event_says_why_it_ends(hub: Hub) -> None:
    request = await read(hub, "room:1")
    hub.close_user("anna")
    await eventually(request.task)
    assert request.events()[-1] == {
        "event": "close",
        "data": {"code": 3503, "reason": "force disconnect", "reconnect": False},
    }


async def test_a_quiet_stream_stays_awake(hub: Hub, clock: FakeClock) -> None:
    request = await read(hub, "room:1")
    before = request.body
    await clock.advance(51)
    assert request.body == before + ":\n\n" * 2
    await request.leave()
    await clock.advance(100)
    assert request.body.count(":\n\n") <= 4


# -- over a socket ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    hub, listener = make_hub(), listening()
    declare(hub)
    app = FastAPI()
    app.include_router(hub.router, prefix="/rt")

    @app.post("/say")
    async def say() -> str:
        return str(await hub.publish("room:1", "said", 1))

    server = uvicorn.Server(
        uvicorn.Config(app, lifespan="on", log_config=None, timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=lambda: server.run(sockets=[listener]), daemon=True)
    thread.start()
    until(lambda: server.started)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(10)
    assert not thread.is_alive()


def data_of(lines: Iterator[str]) -> Any:
    """The data of the next event."""
    return next(json.loads(line[6:]) for line in lines if line.startswith("data: "))


def test_the_hubs_router_has_the_address(address: str) -> None:
    headers = {"Authorization": f"Bearer {token()}"}
    url = f"{address}/rt/api/v1/channels/room:1/events"
    with httpx2.stream("GET", url, headers=headers, timeout=10) as answer:
        assert answer.status_code == 200
        lines = answer.iter_lines()
        assert data_of(lines)["type"] == "connected"
        httpx2.post(f"{address}/say")
        assert data_of(lines)["data"] == 1
    assert httpx2.get(url).status_code == 401
