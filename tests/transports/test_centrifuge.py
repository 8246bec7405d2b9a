"""The addresses of the centrifuge dialect: the door, streams, what they are closed with."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated, Any
from urllib.parse import urlencode

import pytest
from fastapi import Depends, HTTPException
from starlette.requests import HTTPConnection

from cardume import Centrifuge, CurrentIdentity, Hub, HubOptions, Identity, Refused
from cardume.auth.tokens import build_verifier
from cardume.testing import FakeClock
from cardume.testing.clock import settle
from cardume.transports.centrifuge import CONNECT_WITHIN
from tests.support.asgi import Socket, eventually, scope_of
from tests.support.house import SECRET, token
from tests.support.streams import Request
from tests.support.waiting import until

Task = asyncio.Task[None]


def level_of(connection: HTTPConnection) -> str:
    """What the handshake says."""
    return connection.headers.get("x-level", "low")


class Door:
    """A hub with the dialect, and those who come to it."""

    def __init__(self, clock: FakeClock, **options: Any) -> None:
        self.clock = clock
        self.hub = Hub(
            auth=build_verifier(clock=clock, secret=SECRET),
            clock=clock,
            options=HubOptions(**{"max_message": 4096, **options}),
        )
        self.centrifuge = Centrifuge(self.hub)

        @self.hub.channel("room:{id}", history=20)
        async def room(id: str) -> None: ...

    async def knock(self, **more: Any) -> tuple[Socket, Task]:
        """A handshake without a token."""
        socket = Socket()
        scope = scope_of(**{"query_string": b"", **more})
        serving = self.centrifuge.serve(scope, socket.receive, socket.send)
        task = asyncio.get_running_loop().create_task(serving)
        await settle()
        return socket, task

    async def enter(self, shown: str | None = None, *rest: Any) -> tuple[Socket, Task]:
        """A handshake and its first frame."""
        socket, task = await self.knock()
        hello = {"id": 1, "connect": {"token": token() if shown is None else shown}}
        socket.says("\n".join(map(json.dumps, (hello, *rest))))
        await settle()
        return socket, task


def replies(socket: Socket) -> list[list[Any]]:
    """Each frame's."""
    texts = [message["text"] for message in socket.sent if message["type"] == "websocket.send"]
    return [[json.loads(line) for line in text.split("\n")] for text in texts]


def _answers(socket: Socket, count: int) -> bool:
    return sum(map(len, replies(socket))) == count


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(start=time.time())


@pytest.fixture
async def door(clock: FakeClock) -> AsyncIterator[Door]:
    made = Door(clock)
    async with made.hub:
        yield made
        assert made.hub.stats.active_connections == 0
        assert len(made.centrifuge.clients) == 0
        assert made.hub.strangers == 0


async def gone(socket: Socket, task: Task) -> None:
    socket.leaves()
    await eventually(task)


# -- the first message --------------------------------------------------------------------------


async def test_the_token_comes_in_the_first_message(door: Door) -> None:
    socket, task = await door.enter()
    assert replies(socket)[0][0]["connect"]["client"]
    assert door.hub.stats.active_connections == 1
    await gone(socket, task)


async def test_replies_to_one_frame_come_in_one_frame(door: Door) -> None:
    ask = {"id": 2, "subscribe": {"channel": "room:1"}}
    socket, task = await door.enter(None, ask, {"id": 3, "ping": {}})
    assert [[reply["id"] for reply in frame] for frame in replies(socket)] == [[1, 2, 3]]
    await gone(socket, task)


async def test_a_frame_of_many_replies_has_an_end(door: Door) -> None:
    socket, task = await door.enter(None, {"id": 2, "subscribe": {"channel": "room:1"}})
    for _ in range(10):
        await door.hub.publish("room:1", None, "x" * 5000)
    await settle()
    sizes = [len(frame) for frame in replies(socket)[1:]]
    assert sum(sizes) == 10
    assert max(sizes) == 4
    await gone(socket, task)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('{"id":1,"ping":{}}', 3501),
        ("{}", 3501),
        ("nonsense", 3501),
        ('{"id":1,"connect":[]}', 3501),
        ('{"id":1,"connect":{"token":"nonsense"}}', 3500),
        ('{"id":1,"connect":{}}', 3500),
        ('{"id":1,"connect":{"data":"%s"}}' % ("x" * 5000), 1009),
    ],
)
async def test_who_says_something_else(door: Door, text: str, code: int) -> None:
    socket, task = await door.knock()
    socket.says(text)
    await eventually(task)
    assert socket.code == code


async def test_protobuf_is_another_protocol(door: Door) -> None:
    socket, task = await door.knock()
    socket.sends(b"\x08\x01")
    await eventually(task)
    assert socket.code == 3506


async def test_who_says_nothing_is_stale(door: Door, clock: FakeClock) -> None:
    socket, task = await door.knock()
    await clock.advance(CONNECT_WITHIN - 0.1)
    assert socket.code is None
    await clock.advance(0.2)
    await eventually(task)
    assert socket.code == 3502


async def test_who_leaves_without_a_word(door: Door) -> None:
    socket, task = await door.knock()
    assert door.hub.strangers == 1
    await gone(socket, task)
    assert socket.code is None


async def test_a_token_that_has_ended_is_an_error_and_no_close(
    door: Door, clock: FakeClock
) -> None:
    shown = token(ttl=5)
    await clock.advance(10)
    socket, task = await door.enter(shown)
    assert replies(socket) == [
        [{"id": 1, "error": {"code": 109, "message": "the token has expired"}}]
    ]
    socket.says('{"id":2,"ping":{}}')
    await gone(socket, task)
    assert socket.code is None
    socket, task = await door.enter(shown)
    await clock.advance(CONNECT_WITHIN + 0.1)
    await eventually(task)
    assert socket.code == 3502


async def test_a_token_of_the_handshake_will_do(door: Door) -> None:
    header = (b"authorization", b"Bearer " + token("bert").encode())
    socket, task = await door.knock(headers=[(b"host", b"localhost"), header])
    socket.says('{"id":1,"connect":{}}')
    await settle()
    assert replies(socket)
    assert len(door.hub.connections_of("bert")) == 1
    await gone(socket, task)


async def test_whom_the_hub_lets_in_without_one(clock: FakeClock) -> None:
    door = Door(clock, anonymous=lambda scope: Identity("guest"))
    async with door.hub:
        socket, task = await door.enter("")
        assert len(door.hub.connections_of("guest")) == 1
        await gone(socket, task)


async def test_a_foreign_page(door: Door) -> None:
    headers = [(b"host", b"localhost"), (b"origin", b"https://evil.example")]
    socket, task = await door.knock(headers=headers)
    await eventually(task)
    assert socket.sent[0]["status"] == 403


async def test_those_who_have_not_said_who_they_are_count(clock: FakeClock) -> None:
    door = Door(clock, max_connections=2)
    async with door.hub:
        first, second = await door.knock(), await door.knock()
        third, task = await door.knock()
        await eventually(task)
        assert third.sent[0]["status"] == 503, "to come again: a close code would be for good"
        await gone(*first)
        known, task = await door.enter()
        assert replies(known), "and it keeps nobody out who is inside the door"
        for socket, running in (second, (known, task)):
            await gone(socket, running)


async def test_they_count_by_their_address(clock: FakeClock) -> None:
    door = Door(clock, connections_per_address=2)
    async with door.hub:
        silent = [await door.knock() for _ in range(2)]
        refused, task = await door.knock()
        await eventually(task)
        assert refused.sent[0]["status"] == 429
        elsewhere = await door.knock(client=("192.0.2.8", 5000))
        silent[0][0].says(json.dumps({"id": 1, "connect": {"token": token()}}))
        await settle()
        assert replies(silent[0][0]), "the one of two that says who it is"
        for socket, running in (*silent, elsewhere):
            await gone(socket, running)
        assert not door.hub.is_crowded("192.0.2.7")


async def test_a_blocked_user(door: Door) -> None:
    door.hub.block_user("anna")
    socket, task = await door.enter()
    await eventually(task)
    assert socket.code == 3507
    assert door.hub.rejects.counts == {"blocked_user": 1}


async def test_a_hub_that_drains(door: Door) -> None:
    socket, task = await door.enter()
    draining = asyncio.create_task(door.hub.drain(timeout=1))
    await settle()
    assert socket.code == 3001
    await eventually(task)
    await draining
    refused, task = await door.knock()
    await eventually(task)
    assert refused.sent[0]["status"] == 503


async def test_no_token_is_ever_in_a_log(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    shown = token()
    socket, task = await door.enter(shown, {"id": 2, "refresh": {"token": shown}})
    await gone(socket, task)
    assert shown not in caplog.text


async def test_a_channel_whose_function_has_dependencies(door: Door) -> None:
    @door.hub.channel("vault:{name}")
    async def vault(
        name: str, identity: CurrentIdentity, level: Annotated[str, Depends(level_of)]
    ) -> None:
        if (identity.sub, level) != ("anna", "high"):
            raise HTTPException(403)

    for shown, answer in (("low", "error"), ("high", "subscribe")):
        headers = [(b"host", b"localhost"), (b"x-level", shown.encode())]
        socket, task = await door.knock(headers=headers, state={"cardume_hub": door.hub})
        socket.says(json.dumps({"id": 1, "connect": {"token": token()}}))
        socket.says('{"id":2,"subscribe":{"channel":"vault:x"}}')
        await until(partial(_answers, socket, 2), "both answers")
        assert list(replies(socket)[-1][-1]) == ["id", answer]
        await gone(socket, task)


# -- event streams ------------------------------------------------------------------------------


def stream(door: Door, first: Any) -> Request:
    """A client of `/connection/sse`."""
    query = urlencode({"cf_connect": json.dumps(first)}) if first is not None else ""
    return Request(door.centrifuge.stream, "/connection/sse", query)


async def test_a_stream_of_replies(door: Door) -> None:
    request = stream(door, {"id": 1, "connect": {"token": token()}})
    await settle()
    assert request.status == 200
    headers = dict(request.sent[0]["headers"])
    assert headers[b"content-type"] == b"text/event-stream; charset=utf-8"
    (hello,) = request.events()
    session = hello["data"]["connect"]["session"]
    said = '{"id":2,"subscribe":{"channel":"room:1"}}\n{"id":3,"ping":{}}'
    door.centrifuge.emulate({"session": session, "node": "", "data": said})
    await settle()
    assert [event["data"]["id"] for event in request.events()] == [1, 2, 3]
    await door.hub.publish("room:1", None, 1)
    await settle()
    assert request.events()[-1]["data"]["push"]["pub"]["data"] == 1
    await request.leave()
    with pytest.raises(Refused, match="no event stream"):
        door.centrifuge.emulate({"session": session, "data": "{}"})


async def test_a_stream_ends_with_a_disconnect(door: Door) -> None:
    request = stream(door, {"id": 1, "connect": {"token": "nonsense"}})
    await eventually(request.task)
    assert (request.status, request.ended) == (200, True)
    assert request.events()[-1]["data"]["push"]["disconnect"] == {
        "code": 3500,
        "reason": "invalid token",
        "reconnect": False,
    }
    other = stream(door, {"id": 1, "connect": {"token": token()}})
    await settle()
    door.hub.close_user("anna")
    await eventually(other.task)
    assert other.events()[-1]["data"]["push"]["disconnect"]["code"] == 3503


async def test_a_stream_without_a_first_command(door: Door) -> None:
    request = stream(door, None)
    await eventually(request.task)
    assert request.status == 400


async def test_a_stream_for_a_foreign_page(door: Door) -> None:
    request = Request(
        door.centrifuge.stream, "/connection/sse", "cf_connect={}", origin="https://evil.example"
    )
    await eventually(request.task)
    assert request.status == 403


async def test_who_speaks_faster_than_it_is_answered(clock: FakeClock) -> None:
    door = Door(clock)
    gate = asyncio.Event()

    @door.hub.action("wait")
    async def wait(identity: Identity, body: dict[str, Any]) -> None:
        await gate.wait()

    async with door.hub:
        request = stream(door, {"id": 1, "connect": {"token": token()}})
        await settle()
        session = request.events()[0]["data"]["connect"]["session"]
        said = {"session": session, "data": '{"id":2,"rpc":{"method":"wait"}}'}
        door.centrifuge.emulate(said)
        await settle()
        for _ in range(16):
            door.centrifuge.emulate(said)
        with pytest.raises(Refused) as refused:
            door.centrifuge.emulate(said)
        assert refused.value.code.status == 429
        gate.set()
        await settle()
        await request.leave()


@pytest.mark.parametrize("sent", [[], {}, {"session": "s"}, {"session": 1, "data": ""}, "x"])
async def test_emulation_of_nothing(door: Door, sent: Any) -> None:
    with pytest.raises(Refused) as refused:
        door.centrifuge.emulate(sent)
    assert refused.value.code.status == 422
