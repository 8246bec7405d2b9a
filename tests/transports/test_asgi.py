"""What an ASGI server and its peer may do to us, by hand: stall, fail, cancel, vanish."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
import weakref
from collections.abc import AsyncIterator
from typing import Any

import pytest

from cardume.auth.identity import Identity
from cardume.auth.tokens import build_verifier
from cardume.errors import HubNotRunning
from cardume.hub.hub import Hub
from cardume.hub.namespaces import ChannelOptions, ChannelTemplate, Namespace
from cardume.hub.options import HubOptions
from cardume.testing import FakeClock
from cardume.testing.clock import settle
from cardume.transports.entrance import serve
from cardume.transports.plain import PlainAddress
from cardume.transports.stay import CLOSE_TIMEOUT
from cardume.wire import codes
from tests.support.asgi import Socket, eventually, scope_of
from tests.support.house import SECRET
from tests.support.peers import OpenGuard, declare


class WallClock(FakeClock):
    """Tokens of the house are minted by the machine's own clock."""

    def __init__(self) -> None:
        super().__init__(start=time.time())


class Loading:
    """A snapshot that loads until it is told to end."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self, id: str) -> dict[str, str]:
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return {"id": id}


class SlowGuard(OpenGuard):
    """Lets everybody in, when it is told to."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()

    async def check(self, identity: Identity, parameters: Any, scope: Any) -> None:
        await self.gate.wait()


@pytest.fixture
def clock() -> FakeClock:
    return WallClock()


@pytest.fixture
def loading() -> Loading:
    return Loading()


@pytest.fixture
async def hub(clock: FakeClock, loading: Loading) -> AsyncIterator[Hub]:
    made = Hub(
        auth=build_verifier(clock=clock, secret=SECRET),
        clock=clock,
        options=HubOptions(outbox_limit=4096, max_connections=3),
    )
    declare(made, "room:{id}", history=50)
    declare(made, "board:{id}", history=50, snapshot=loading)
    async with made:
        yield made


def visit(hub: Hub, socket: Socket, channel: str = "room:1", **scope: Any) -> asyncio.Task[None]:
    found = hub.namespaces.find(channel)
    assert found is not None
    namespace, parameters = found
    handshake = scope_of(parameters, **scope)
    serving = serve(hub, PlainAddress(namespace), handshake, socket.receive, socket.send)
    return asyncio.create_task(serving)


async def test_a_visit(hub: Hub) -> None:
    socket = Socket()
    app = visit(hub, socket)
    await settle()
    await hub.publish("room:1", "m", {})
    await settle()
    assert [frame["type"] for frame in socket.frames] == ["connected", "m"]
    assert hub.stats.messages_sent == 2
    socket.leaves()
    await eventually(app)
    assert socket.code is None
    assert hub.stats.active_connections == 0
    assert hub.audience("room:1") == 0


async def test_a_connection_that_ended_is_freed_without_the_garbage_collector(hub: Hub) -> None:
    socket = Socket()
    app = visit(hub, socket)
    await settle()
    (connection,) = hub.connections_of("anna")
    trace = weakref.ref(connection.transport)
    gc.disable()
    try:
        socket.leaves()
        await eventually(app)
        del connection, app
        await settle()
        assert trace() is None
    finally:
        gc.enable()


async def test_who_stops_reading_is_cut_and_given_up(hub: Hub, clock: FakeClock) -> None:
    socket = Socket()
    app = visit(hub, socket)
    await settle()
    socket.reading.clear()
    for _ in range(60):
        await hub.publish("room:1", "m", {"filling": "x" * 100})
    await settle()
    assert hub.stats.active_connections == 1
    await clock.advance(CLOSE_TIMEOUT)
    await eventually(app)
    assert hub.stats.active_connections == 0
    assert hub.stats.closes == {codes.SLOW.number: 1}


async def test_who_reads_again_in_time_learns_why(hub: Hub, clock: FakeClock) -> None:
    socket = Socket()
    app = visit(hub, socket)
    await settle()
    socket.reading.clear()
    for _ in range(60):
        await hub.publish("room:1", "m", {"filling": "x" * 100})
    await clock.advance(CLOSE_TIMEOUT / 2)
    socket.reading.set()
    await eventually(app)
    assert socket.code == 3008
    assert len(socket.frames) <= 2, "what was queued is forgotten, not sent late"


@pytest.mark.parametrize("error", [OSError("gone"), RuntimeError("closed"), ValueError("odd")])
async def test_a_write_that_fails_ends_the_visit(hub: Hub, error: Exception) -> None:
    socket = Socket()
    app = visit(hub, socket)
    await settle()
    socket.broken = error
    await hub.publish("room:1", "m", {})
    await eventually(app)
    assert hub.stats.active_connections == 0
    assert hub.stats.closes == {codes.WRITE_ERROR.number: 1}


async def test_a_read_that_fails_is_our_fault_and_ends_with_3004(
    hub: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    socket = Socket()
    app = visit(hub, socket)
    await settle()
    socket.explodes(ZeroDivisionError("a bug"))
    await eventually(app)
    assert socket.code == 3004
    assert "a connection failed" in caplog.text


async def test_a_server_that_fails_twice_ends_the_visit_all_the_same(hub: Hub) -> None:
    socket = Socket()
    app = visit(hub, socket)
    await settle()
    socket.explodes(OSError("once"))
    socket.explodes(OSError("twice"))
    await eventually(app)
    assert hub.stats.active_connections == 0


async def test_what_breaks_outside_of_a_command_is_our_fault(hub: Hub) -> None:
    @hub.on_speech
    def broken(_identity: Identity) -> None:
        raise ZeroDivisionError

    socket = Socket()
    app = visit(hub, socket)
    await settle()
    socket.says('{"type":"ping"}')
    await eventually(app)
    assert socket.code == 3004


async def test_a_cancelled_visit_is_forgotten_at_once(hub: Hub) -> None:
    socket = Socket()
    app = visit(hub, socket)
    await settle()
    app.cancel()
    with pytest.raises(asyncio.CancelledError):
        await app
    assert hub.stats.active_connections == 0
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith(("read", "wri"))]


async def test_publications_wait_while_the_snapshot_loads(hub: Hub, loading: Loading) -> None:
    socket = Socket()
    app = visit(hub, socket, "board:7")
    await settle()
    for n in range(3):
        await hub.publish("board:7", "m", {"n": n})
    await settle()
    assert socket.frames == []
    loading.gate.set()
    await settle()
    connected, snapshot, *live = socket.frames
    assert (connected["data"]["offset"], snapshot["data"]) == (0, {"id": "7"})
    assert [frame["offset"] for frame in live] == [1, 2, 3]
    socket.leaves()
    await eventually(app)


async def test_too_many_publications_while_it_loads_are_told(hub: Hub, loading: Loading) -> None:
    socket = Socket()
    app = visit(hub, socket, "board:7")
    await settle()
    for _ in range(1001):
        await hub.publish("board:7", "m", {})
    loading.gate.set()
    await eventually(app)
    assert socket.code == 3010


async def test_a_snapshot_that_fails_closes_with_3004(
    hub: Hub, loading: Loading, caplog: pytest.LogCaptureFixture
) -> None:
    socket = Socket()
    loading.error = OSError("the database is away")
    loading.gate.set()
    app = visit(hub, socket, "board:7")
    await eventually(app)
    assert (socket.frames, socket.code) == ([], 3004)
    assert hub.audience("board:7") == 0


async def test_a_snapshot_without_a_json_form_is_our_fault(hub: Hub) -> None:
    async def odd() -> object:
        return object()

    declare(hub, "odd", snapshot=odd)
    socket = Socket()
    await eventually(visit(hub, socket, "odd"))
    assert (socket.frames, socket.code) == ([], 3004)


async def test_a_drain_ends_those_whose_snapshot_still_loads(hub: Hub) -> None:
    socket = Socket()
    app = visit(hub, socket, "board:7")
    await settle()
    await hub.drain(timeout=5)
    await eventually(app)
    assert socket.code == 3001


async def test_over_the_limit_before_and_after_the_identity_is_known(hub: Hub) -> None:
    sockets = [Socket() for _ in range(4)]
    guard = SlowGuard()
    hub.declare(Namespace(ChannelTemplate("slow"), ChannelOptions(), guard))
    # All at the door at once: the count is checked again when they come in.
    apps = [visit(hub, socket, "slow") for socket in sockets]
    await settle()
    guard.gate.set()
    await settle()
    assert [socket.code for socket in sockets] == [None, None, None, 3504]
    late = Socket()
    refused = visit(hub, late)
    await eventually(refused)
    start = late.sent[0]
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 503)
    assert (b"retry-after", b"2") in start["headers"]
    assert hub.rejects.counts == {"connection_limit": 2}
    for socket in sockets:
        socket.leaves()
    for app in apps:
        await eventually(app)


async def test_a_server_without_denial_responses_gets_a_close(hub: Hub) -> None:
    socket = Socket()
    headers = [(b"host", b"localhost"), (b"origin", b"https://evil.example")]
    await eventually(visit(hub, socket, headers=headers, extensions={}))
    assert [message["type"] for message in socket.sent] == ["websocket.close"]


async def test_a_hub_that_is_not_running_is_a_clear_error() -> None:
    clock = WallClock()
    hub = Hub(auth=build_verifier(clock=clock, secret=SECRET), clock=clock)
    declare(hub, "room:{id}")
    app = visit(hub, Socket())
    with pytest.raises(HubNotRunning):
        await app


async def test_messages_after_the_goodbye_are_dropped(hub: Hub) -> None:
    socket = Socket()
    app = visit(hub, socket)
    await settle()
    socket.reading.clear()
    socket.says("\x00")
    for _ in range(40):
        socket.says("nonsense")
    await settle()
    socket.reading.set()
    await eventually(app)
    assert socket.code == 3509
    assert len([frame for frame in socket.frames if frame["type"] == "error"]) == 21


async def test_no_token_in_our_own_logs(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    socket = Socket()
    app = visit(hub, socket)
    await settle()
    socket.leaves()
    await eventually(app)
    bad = Socket()
    await eventually(visit(hub, bad, query_string=b"token=eyJhbGciOi.forged.SECRET"))
    assert bad.code == 3500
    assert "connected" in caplog.text
    assert "eyJ" not in caplog.text
    assert "SECRET" not in caplog.text
