"""The hub's own connections where it is tight: TLS, floods, pauses, and ends in the middle."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from fastapi import Response, WebSocket
from starlette.background import BackgroundTask
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from cardume import Centrifuge, Identity
from cardume.transports import socket as fast
from cardume.transports import uvicorn
from cardume.wire import codes
from tests.client.authority import Authority
from tests.support.waiting import until
from tests.transports.serving import Lodge
from tests.transports.test_socket import Raw, handshake

CONNECTED = b'"connected"'

LARGE = b"L" * 8_000_000
"""More than the kernel takes for a peer that does not read."""


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": request.param}


@pytest.fixture(autouse=True)
def _no_traceback(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.INFO):
        yield
    said = [each.getMessage() for each in caplog.records if each.exc_info or each.name == "asyncio"]
    assert said == []


class House(Lodge):
    """With an action that takes its time, and places where coming in does."""

    def __init__(self, **options: Any) -> None:
        self.done: list[Any] = []
        self.go_on = asyncio.Event()
        self.answered = asyncio.Event()
        super().__init__(**options)

    def declare(self) -> None:
        @self.hub.action("slow")
        async def slow(identity: Identity, body: dict[str, Any]) -> None:
            await self.go_on.wait()
            self.done.append(body["n"])

        @self.hub.channel("late:{name}", path="/ws/late/{name}")
        async def late(name: str) -> None:
            self.hub.draining = True

        @self.hub.channel("asked:{name}", path="/ws/asked/{name}")
        async def asked(name: str) -> None:
            await self.go_on.wait()

        async def told(name: str) -> dict[str, str]:
            await self.go_on.wait()
            return {"name": name}

        @self.hub.channel("board:{name}", path="/ws/board/{name}", snapshot=told)
        async def board(name: str) -> None: ...

        self.app.include_router(Centrifuge(self.hub).router)

        @self.app.get("/large")
        async def large() -> Response:
            async def answered() -> None:
                self.answered.set()

            return Response(LARGE, background=BackgroundTask(answered))

        @self.app.websocket("/theirs")
        async def theirs(socket: WebSocket) -> None:
            await socket.accept()

    def at(self, path: str) -> str:
        return self.path.replace("/ws/room/7", path)


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with House().open() as opened:
        assert isinstance(opened, House)
        yield opened


def framed(opcode: int, data: bytes = b"", *, fin: bool = True) -> bytes:
    return bytes(Frame(Opcode(opcode), data, fin=fin).serialize(mask=True))


def said(**message: Any) -> bytes:
    return framed(1, json.dumps(message).encode())


def asked(n: int) -> bytes:
    return said(type="action", data={"name": "slow", "n": n}, id=n)


async def test_over_tls_it_is_all_the_same(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pem = authority.server()
    trusting = ssl.create_default_context(cafile=authority.ca)
    async with House().open(ssl_certfile=pem) as house:
        where = f"wss://127.0.0.1:{house.port}{house.path}"
        async with connect(where, ssl=trusting, proxy=None, ping_interval=None) as client:
            assert json.loads(await client.recv())["type"] == "connected"
            for n in range(50):
                await house.say({"n": n, "filling": "x" * 5000})
                if n % 10 == 0:
                    await asyncio.sleep(0)
            await client.send('{"type": "ping", "id": 1}')
            async with asyncio.timeout(5):
                got = [json.loads(await client.recv()) for _ in range(51)]
            told = [frame["data"]["n"] for frame in got if frame["type"] == "m"]
            assert told == list(range(50))
            house.hub.connections()[0].close(codes.FORCE_RECONNECT)
            with pytest.raises(ConnectionClosed):
                await client.recv()


async def test_a_slow_reader_over_tls_gets_everything_in_order(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    trusting = ssl.create_default_context(cafile=authority.ca)
    async with House().open(ssl_certfile=authority.server()) as house:
        where = f"wss://127.0.0.1:{house.port}{house.path}"
        options: dict[str, Any] = {"proxy": None, "ping_interval": None, "compression": None}
        async with connect(where, ssl=trusting, max_queue=1, **options) as client:
            await client.recv()
            [connection] = house.hub.connections()
            count = await house.say_too_much(connection)
            async with asyncio.timeout(10):
                told = [json.loads(await client.recv())["data"]["n"] for _ in range(count)]
            assert told == list(range(count))
            assert connection.write is not None
            assert connection.outbox.size == 0


async def test_who_comes_as_the_drain_begins_is_sent_away(house: House) -> None:
    where = f"ws://127.0.0.1:{house.port}{house.at('/ws/late/x')}"
    async with connect(where, proxy=None) as client:
        with pytest.raises(ConnectionClosed) as closed:
            await asyncio.wait_for(client.recv(), 5)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 3001
    await until(lambda: not house.hub.connections())
    house.hub.draining = False


async def test_a_ping_is_sent_to_a_slow_reader_as_well(house: House) -> None:
    async with Raw(house, buffer=4096) as slow:
        held = house.socket
        n = 0
        while not held._paused:
            await house.say({"n": n, "filling": "x" * 16_000})
            n += 1
            await asyncio.sleep(0)
        await house.clock.advance(28)  # it is asked
        assert held._asked
        assert not house.hub.connections()[0].closing
        reading = asyncio.create_task(slow.rest())
        await until(lambda: not held._paused, "read")
        house.hub.connections()[0].close(codes.FORCE_RECONNECT)
        await until(lambda: house.is_parting, "a goodbye")
        await house.clock.advance(6)
        assert b"\x89\x00" in await reading


async def test_what_was_said_before_a_goodbye_is_heard(house: House) -> None:
    async with Raw(house) as peer:
        await peer.send(b"".join(map(asked, range(40))) + framed(8, b"\x03\xe8"))
        await asyncio.sleep(0.05)
        house.go_on.set()
        read = await peer.rest()
    assert house.done == list(range(40))
    assert read.count(b'"result"') == 40
    assert read.endswith(b"\x88\x02\x03\xe8")
    await until(lambda: not house.hub.connections())


async def test_a_goodbye_does_not_wait_for_an_answer_for_ever(house: House) -> None:
    async with Raw(house) as peer:
        await peer.send(asked(0) + framed(8, b"\x03\xe8"))
        await until(lambda: house.socket._deadline is not None, "a heard goodbye")
        await house.clock.advance(6)
        await until(lambda: not house.hub.connections())
    assert house.done == []


@pytest.mark.parametrize(
    "flood", [said(type="ping"), framed(9), framed(10)], ids=["commands", "pings", "pongs"]
)
async def test_one_read_full_of_frames_is_not_taken_at_once(house: House, flood: bytes) -> None:
    async with Raw(house) as peer:
        held, taken = house.socket, 0
        take = held._take.__func__  # type: ignore[attr-defined]

        def count(self: fast.Socket, message: Any) -> None:
            nonlocal taken
            taken += 1
            take(self, message)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(fast.Socket, "_take", count)
            held.data_received(flood * 3000 + said(type="ping", id="last"))
            assert taken <= 100
            assert len(held._inbox or ()) <= 100
            answer = b""
            async with asyncio.timeout(10):
                while b'"last"' not in answer:
                    answer = answer[-100:] + await asyncio.get_running_loop().sock_recv(
                        peer._socket, 65536
                    )
        assert taken == 3001
        assert held._receiver is None
        await peer.send(said(type="ping", id="again"))
        async with asyncio.timeout(5):
            while b'"again"' not in answer:
                answer += await asyncio.get_running_loop().sock_recv(peer._socket, 65536)


async def test_a_snapshot_may_take_its_time(house: House) -> None:
    where = f"ws://127.0.0.1:{house.port}{house.at('/ws/board/x')}"
    async with connect(where, proxy=None) as client:
        await until(lambda: bool(house.hub.channels()))
        for n in range(3):
            await house.hub.publish("board:x", "m", {"n": n})
        await client.send('{"type": "ping", "id": 1}')
        house.go_on.set()
        async with asyncio.timeout(5):
            got = [json.loads(await client.recv())["type"] for _ in range(6)]
    assert got == ["connected", "snapshot", "m", "m", "m", "pong"]


async def test_a_cancelled_entry_is_sent_away(house: House) -> None:
    where = f"ws://127.0.0.1:{house.port}{house.at('/ws/board/x')}"
    async with connect(where, proxy=None) as client:
        await until(lambda: bool(house.hub.channels()))
        entering = house.socket._talk
        assert entering is not None
        entering.cancel()
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(client.recv(), 5)
    await until(lambda: not house.hub.connections())


async def test_who_leaves_while_coming_in_is_gone_at_once(house: House) -> None:
    where = f"ws://127.0.0.1:{house.port}{house.at('/ws/board/x')}"
    async with connect(where, proxy=None):
        await until(lambda: bool(house.hub.channels()))
    await until(lambda: not house.hub.connections())
    assert house.hub.channels() == {}
    assert len(house.hub.pulse) == 0


async def test_a_message_that_began_before_the_handover_has_its_time_too(house: House) -> None:
    await house.clock.advance(1000)
    reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
    writer.write(
        f"GET {house.at('/ws/asked/x')} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    await asyncio.sleep(0.05)
    writer.write(framed(1, b'{"type": "ping", ', fin=False))
    await asyncio.sleep(0.05)
    house.go_on.set()
    await reader.readuntil(CONNECTED)
    await house.clock.advance(28)
    writer.write(framed(0, b'"id": "whole"}'))
    await asyncio.wait_for(reader.readuntil(b'"whole"'), 5)
    writer.close()
    await writer.wait_closed()


async def test_the_first_answer_does_not_wait_for_what_follows_it(house: House) -> None:
    """`connect` of the `centrifuge` dialect, with a command in its frame that takes its time."""
    where = f"ws://127.0.0.1:{house.port}/connection/websocket"
    shown = house.path.partition("token=")[2]
    hello = {"id": 1, "connect": {"token": shown}}
    call = {"id": 2, "rpc": {"method": "slow", "data": {"n": 1}}}
    async with connect(where, proxy=None) as client:
        await client.send(f"{json.dumps(hello)}\n{json.dumps(call)}")
        assert json.loads(await asyncio.wait_for(client.recv(), 5))["id"] == 1
        house.go_on.set()
        assert json.loads(await asyncio.wait_for(client.recv(), 5))["id"] == 2


async def test_an_end_leaves_nothing_behind(house: House) -> None:
    tasks = asyncio.all_tasks()
    for _ in range(5):
        async with Raw(house) as peer:
            await peer.send(asked(1))
            await until(lambda: house.socket._talk is not None)
    await until(lambda: not house.hub.connections())
    assert len(house.hub.pulse) == 0
    await until(lambda: asyncio.all_tasks() <= tasks)


# -- behind an answer that nobody has read ------------------------------------------------------


@asynccontextmanager
async def behind(house: House, path: str) -> AsyncIterator[socket.socket]:
    """A peer that asked for a large answer, has not read it, and wants a WebSocket now."""
    loop = asyncio.get_running_loop()
    with socket.socket() as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.setblocking(False)
        await loop.sock_connect(peer, ("127.0.0.1", house.port))
        await loop.sock_sendall(peer, b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        await house.answered.wait()
        await loop.sock_sendall(peer, handshake(path))
        yield peer


async def rest_of(peer: socket.socket) -> bytes:
    read = bytearray()
    with suppress(ConnectionResetError):
        while more := await asyncio.get_running_loop().sock_recv(peer, 1 << 20):
            read += more
    return bytes(read)


@pytest.mark.parametrize("path", ["/ws/room/7", "/theirs"])
async def test_nothing_comes_behind_an_answer_that_waits(house: House, path: str) -> None:
    """Nobody would tell us that the transport is full: what we say would pile up in it."""
    async with behind(house, path.replace("/ws/room/7", house.path)) as peer:
        read = await rest_of(peer)
    head, body = read.split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.1 200 ")
    assert body.startswith(LARGE + b"HTTP/1.1 400 ")
    assert body.endswith(b"first read the answer before this")
    assert house.hub.stats.total_connections == 0


async def test_who_does_not_read_it_even_then_is_cut(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uvicorn, "CLOSE_TIMEOUT", 0.05)
    async with behind(house, house.path) as peer:
        here = peer.getsockname()
        await until(
            lambda: here not in [each.raddr for each in psutil.Process().net_connections()],
            "its end",
        )
        assert len(await rest_of(peer)) < len(LARGE)
