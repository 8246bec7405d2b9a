"""Servers as users start them: the README's example, what the logs say, a reader that stalls."""

from __future__ import annotations

import signal
import socket
import textwrap
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from cardume.testing import FakeClock
from tests.support.house import SECRET, House, token
from tests.support.processes import Process, process
from tests.support.stages import (
    DEADLINE,
    Client,
    Closed,
    SocketStage,
    Stage,
    dial,
    until,
    uvicorn_on,
)

EXAMPLE = """
    from fastapi import FastAPI
    from cardume import CurrentHub, CurrentIdentity, Hub, Identity

    hub = Hub()
    app = FastAPI()
    app.include_router(hub.router)


    @hub.channel("room:{room_id}", path="/ws/room/{room_id}", history=100, presence=True)
    async def room(room_id: int, identity: Identity) -> None: ...


    @app.post("/rooms/{room_id}")
    async def say(room_id: int, text: str, hub: CurrentHub, identity: CurrentIdentity) -> None:
        await hub.publish(f"room:{room_id}", "message", {"by": identity.sub, "text": text})
"""

STOPPED = {0, -signal.SIGTERM}
"""How a server ends that was told to; uvicorn hands the signal on when it is done."""

SERVERS = {
    "uvicorn": ["uvicorn", "main:app", "--port", "0"],
    "hypercorn": [
        *("hypercorn", "main:app", "--bind", "127.0.0.1:0"),
        *("--access-logfile", "-", "--error-logfile", "-"),
    ],
}


@contextmanager
def example(directory: Path, arguments: Sequence[str]) -> Iterator[Process]:
    (directory / "main.py").write_text(textwrap.dedent(EXAMPLE))
    with process(arguments, directory, CARDUME_JWT_SECRET=SECRET) as running:
        yield running


def post(port: int, path: str, shown: str | None) -> int:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method="POST")
    if shown is not None:
        request.add_header("Authorization", f"Bearer {shown}")
    try:
        with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@pytest.mark.parametrize("server", SERVERS)
def test_the_example_runs_and_no_token_is_in_the_log(server: str, tmp_path: Path) -> None:
    anna = token()
    with example(tmp_path, SERVERS[server]) as running:
        port = running.port()
        with dial(port, f"/ws/room/7?token={anna}&since=abc:1") as client:
            assert client.receive()["data"]["channel"] == "room:7"
            assert post(port, "/rooms/7?text=hi", anna) == 200
            assert client.receive()["data"] == {"by": "anna", "text": "hi"}
        assert post(port, "/rooms/7?text=hi", None) == 401
        assert post(port, f"/rooms/7?text=hi&token={anna}", None) == 401
        encoded = anna.replace(".", "%2E").replace("e", "%65", 1)
        with dial(port, f"/ws/room/7?token={encoded}x") as client:
            assert code_of(client) == 3500
        with dial(port, "/ws/room/7", headers={"Authorization": f"Bearer {anna}"}) as client:
            assert client.receive()["type"] == "connected"
        with dial(port, "/ws/room/7", subprotocols=["bearer", anna]) as client:
            assert client.receive()["type"] == "connected"
        assert running.stop() in STOPPED, running.output
        output = running.output
    assert "/ws/room/7" in output, "the access log is on"
    for part in anna.split("."):
        assert part not in output
    assert encoded not in output
    assert "Traceback" not in output


def test_a_server_that_stops_says_goodbye_to_everybody(tmp_path: Path) -> None:
    with example(tmp_path, SERVERS["uvicorn"]) as running, ExitStack() as stack:
        address = f"/ws/room/7?token={token()}"
        clients = [stack.enter_context(dial(running.port(), address)) for _ in range(5)]
        for client in clients:
            client.receive()
        assert running.stop() in STOPPED
        # Under a foreign server shutdown is that server's 1012 (DESIGN §6).
        assert {code_of(client) for client in clients} <= {1012, 3001}


def code_of(client: Client) -> int:
    with pytest.raises(Closed) as closed:
        client.receive()
    return closed.value.code


# -- a reader that stalls -----------------------------------------------------------------------


def stalled_reader(stage: SocketStage, path: str) -> socket.socket:
    """A client that shakes hands and never reads again, with a small window."""
    peer = socket.socket()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    peer.settimeout(DEADLINE)
    peer.connect(("127.0.0.1", stage.port))
    peer.sendall(
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{stage.port}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        "Sec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    assert peer.recv(12) == b"HTTP/1.1 101"
    return peer


def test_a_stalled_reader_is_cut_and_the_others_lose_nothing() -> None:
    clock = FakeClock(start=time.time())
    house = House(clock=clock)

    def it_is_gone_in_a_moment() -> bool:
        stage.run(lambda: clock.advance(1))
        return stats.active_connections == 1

    with uvicorn_on(house, "uvloop") as stage:
        assert isinstance(stage, SocketStage)
        stats = house.hub.stats
        address = f"/rt/ws/room/7?token={token()}"
        with stalled_reader(stage, address), stage.connect(address) as reader:
            assert reader.receive()["type"] == "connected"
            until(lambda: house.hub.audience("room:7") == 2)
            sent = publish_until_cut(stage)
            offsets = [reader.receive()["offset"] for _ in range(sent)]
            assert offsets == list(range(1, sent + 1))
            assert stats.closes == {3008: 1} or stats.active_connections == 2
            until(it_is_gone_in_a_moment)
            assert stats.closes == {3008: 1}
            assert house.hub.audience("room:7") == 1
        until(lambda: stats.active_connections == 0)


def publish_until_cut(stage: Stage) -> int:
    """Publish until the stalled reader's outbox is full, no faster than the other one reads."""
    hub = stage.house.hub
    filling = "x" * 16_000

    async def say() -> None:
        await hub.publish("room:7", "m", {"filling": filling})

    for sent in range(1, 3000):
        stage.run(say)
        members = hub.presence("room:7")
        connections = [hub.connection(id) for id in members]
        if any(connection is not None and connection.closing for connection in connections):
            return sent
    raise AssertionError("nobody was cut")
