"""Our protocol class under endpoints of anybody's: an ASGI WebSocket like any other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode

from cardume.transports import uvicorn as fast
from tests.support.waiting import until
from tests.transports.serving import served

Endpoint = Callable[[WebSocket], Awaitable[None]]

HANDSHAKE = (
    "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: {version}\r\nSec-WebSocket-Key: {key}\r\n\r\n"
)
KEY = "dGhlIHNhbXBsZSBub25jZQ=="


async def echo(socket: WebSocket) -> None:
    await socket.accept()
    while (message := await socket.receive())["type"] == "websocket.receive":
        if "text" in message:
            await socket.send_text(message["text"])
        else:
            await socket.send_bytes(message["bytes"])


@asynccontextmanager
async def at(endpoint: Endpoint, **options: Any) -> AsyncIterator[str]:
    """Where `endpoint` is served."""
    app = Starlette(routes=[WebSocketRoute("/ws", endpoint)])
    async with served(app, **options) as port:
        yield f"ws://127.0.0.1:{port}/ws"


def dial(where: str, **options: Any) -> connect:
    return connect(where, proxy=None, close_timeout=2, **options)


async def raw(where: str, said: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    port = int(where.split(":")[2].split("/")[0])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(said.encode())
    return reader, writer


async def code_of(client: ClientConnection) -> int | None:
    """What the server closes with."""
    try:
        while True:
            await asyncio.wait_for(client.recv(), 5)
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else None


@pytest.mark.parametrize("compression", [None, "deflate"])
@pytest.mark.parametrize("message", ["hello", "é" * 40_000, b"\x00\xff" * 500, "", b""])
async def test_an_echo(compression: Any, message: str | bytes) -> None:
    async with at(echo) as where, dial(where, compression=compression) as client:
        for _ in range(3):
            await client.send(message)
            assert await client.recv() == message


async def test_fragments_are_one_message() -> None:
    async with at(echo) as where, dial(where) as client:
        await client.send(["a", "b", "c"])
        assert await client.recv() == "abc"


async def test_subprotocol_headers_and_scope_are_those_of_the_handshake() -> None:
    seen: dict[str, Any] = {}

    async def endpoint(socket: WebSocket) -> None:
        seen.update(socket.scope)
        await socket.accept(subprotocol="b", headers=[(b"x-said", b"yes")])
        await socket.close()

    asked = {"subprotocols": ["a", "b"]}
    async with at(endpoint, root_path="/root") as where, dial(f"{where}?q=%20", **asked) as client:
        assert client.subprotocol == "b"
        assert client.response is not None
        assert client.response.headers["x-said"] == "yes"
        assert await code_of(client) == 1000
    assert (seen["path"], seen["query_string"]) == ("/root/ws", b"q=%20")
    assert (seen["scheme"], seen["subprotocols"]) == ("ws", ["a", "b"])
    assert seen["client"][0] == seen["server"][0] == "127.0.0.1"
    assert all(name == name.lower() for name, _ in seen["headers"])


async def test_the_application_closes_with_a_code_and_a_reason() -> None:
    async def endpoint(socket: WebSocket) -> None:
        await socket.accept()
        await socket.close(4321, "enough")
        with pytest.raises(WebSocketDisconnect):
            await socket.receive_text()

    async with at(endpoint) as where, dial(where) as client:
        with pytest.raises(ConnectionClosed) as closed:
            await client.recv()
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4321, "enough")


async def test_the_application_learns_how_the_peer_left() -> None:
    left: list[tuple[int, str]] = []

    async def endpoint(socket: WebSocket) -> None:
        await socket.accept()
        message = await socket.receive()
        left.append((message["code"], message["reason"]))

    async with at(endpoint) as where:
        async with dial(where) as client:
            await client.close(4000, "tired")
        await until(lambda: left == [(4000, "tired")])


async def test_the_application_refuses() -> None:
    async def closes(socket: WebSocket) -> None:
        await socket.close()

    async def denies(socket: WebSocket) -> None:
        await socket.send_denial_response(PlainTextResponse("not today", 451))

    async with at(closes) as where:
        with pytest.raises(InvalidStatus, match="403"):
            await dial(where)
    async with at(denies) as where:
        with pytest.raises(InvalidStatus) as refused:
            await dial(where)
        assert refused.value.response.status_code == 451
        assert refused.value.response.body == b"not today"


async def test_an_application_that_fails_is_a_500_or_a_1011(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def early(socket: WebSocket) -> None:
        raise ZeroDivisionError

    async def late(socket: WebSocket) -> None:
        await socket.accept()
        raise ZeroDivisionError

    with caplog.at_level(logging.CRITICAL):
        async with at(early) as where:
            with pytest.raises(InvalidStatus, match="500"):
                await dial(where)
        async with at(late) as where, dial(where) as client:
            assert await code_of(client) == 1011


async def test_what_is_said_after_the_end_raises_in_the_application() -> None:
    raised: list[str] = []

    async def endpoint(socket: WebSocket) -> None:
        await socket.accept()
        await socket.receive()
        try:
            while True:
                await socket.send({"type": "websocket.send", "text": "x"})
                await asyncio.sleep(0)
        except Exception as error:
            raised.append(type(error).__name__)

    async with at(endpoint) as where:
        async with dial(where) as client:
            await client.send("go")
        await until(lambda: raised)


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (HANDSHAKE.format(version=12, key=KEY), b"426"),
        (HANDSHAKE.format(version=13, key="short"), b"400"),
        (HANDSHAKE.format(version=13, key=f"{KEY}\r\nSec-WebSocket-Key: {KEY}"), b"400"),
        (HANDSHAKE.format(version=13, key=KEY).replace("GET", "PUT"), b"400"),
    ],
    ids=["version", "key", "two keys", "method"],
)
async def test_what_is_no_handshake(said: str, status: bytes) -> None:
    async with at(echo) as where:
        reader, writer = await raw(where, said)
        answer = await asyncio.wait_for(reader.read(), 5)
        writer.close()
    assert answer.split(b" ")[1] == status
    assert (b"Sec-WebSocket-Version: 13" in answer) is (status == b"426")


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (b"\x81\x01x", 1002),
        (bytes(Frame(Opcode.TEXT, b"\xff").serialize(mask=True)), 1007),
        (bytes(Frame(Opcode.BINARY, bytes(2000)).serialize(mask=True)), 1009),
    ],
    ids=["unmasked", "utf-8", "big"],
)
async def test_a_broken_frame_is_told_and_printed_by_nobody(
    said: bytes, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with at(echo, ws_max_size=1000) as where:
        reader, writer = await raw(where, HANDSHAKE.format(version=13, key=KEY))
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said * 50)
        answer = await asyncio.wait_for(reader.read(), 5)
        writer.close()
    assert code.to_bytes(2) in answer
    assert not [record for record in caplog.records if record.exc_info]


async def test_a_peer_that_answers_no_ping_is_let_go() -> None:
    async with at(echo, ws_ping_interval=0.05, ws_ping_timeout=0.05) as where:
        reader, writer = await raw(where, HANDSHAKE.format(version=13, key=KEY))
        await reader.readuntil(b"\r\n\r\n")
        assert (await asyncio.wait_for(reader.read(), 5)).endswith(b"keepalive ping timeout")
        writer.close()


async def test_a_peer_that_answers_pings_stays() -> None:
    async with at(echo, ws_ping_interval=0.02, ws_ping_timeout=0.2) as where, dial(where) as client:
        await asyncio.sleep(0.3)
        await client.send("still here")
        assert await client.recv() == "still here"


async def test_a_message_that_does_not_end_has_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast, "MESSAGE_WITHIN", 0.1)
    async with at(echo) as where:
        reader, writer = await raw(where, HANDSHAKE.format(version=13, key=KEY))
        await reader.readuntil(b"\r\n\r\n")
        writer.write(Frame(Opcode.TEXT, b"hel", fin=False).serialize(mask=True))
        assert (1002).to_bytes(2) in await asyncio.wait_for(reader.read(), 5)
        writer.close()


async def test_a_peer_that_never_reads_holds_up_nobody_else() -> None:
    stuck = asyncio.Event()

    async def endpoint(socket: WebSocket) -> None:
        await socket.accept()
        if "flood" not in socket.query_params:
            await echo_on(socket)
            return
        while True:
            stuck.set()
            await socket.send_bytes(bytes(100_000))

    async with at(endpoint) as where:
        _, writer = await raw(
            where, HANDSHAKE.replace("/ws", "/ws?flood").format(version=13, key=KEY)
        )
        await stuck.wait()
        async with dial(where) as client:
            await client.send("me")
            assert await client.recv() == "me"
        writer.transport.abort()


async def echo_on(socket: WebSocket) -> None:
    await socket.send_text(await socket.receive_text())


async def test_the_server_goes_down_with_1012() -> None:
    async with at(echo, timeout_graceful_shutdown=1) as where:
        client = await dial(where)
        waiting = asyncio.create_task(code_of(client))
        await client.send("x")
        await asyncio.sleep(0.05)
    assert await waiting == 1012


async def test_who_breaks_the_protocol_at_the_door_is_let_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before the application has answered, and without closing its own side."""
    monkeypatch.setattr(fast, "CLOSE_TIMEOUT", 0.1)
    came, go_on = asyncio.Event(), asyncio.Event()

    async def endpoint(socket: WebSocket) -> None:
        came.set()
        await go_on.wait()

    async with at(endpoint) as where:
        reader, writer = await raw(where, HANDSHAKE.format(version=13, key=KEY))
        await came.wait()
        writer.write(b"\xff\xff")
        assert await asyncio.wait_for(reader.read(), 5) == b""
        with pytest.raises(ConnectionError):
            await _talk_on(writer)
        writer.transport.abort()
        go_on.set()


async def _talk_on(writer: asyncio.StreamWriter) -> None:
    for _ in range(100):
        writer.write(b"still here")
        await writer.drain()
        await asyncio.sleep(0.02)


async def test_headers_may_be_lists() -> None:
    """ASGI: "an iterable of [name, value]"."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept", "headers": [[b"x-said", b"yes"]]})
        await send({"type": "websocket.close"})

    async with served(app, lifespan="off") as port, dial(f"ws://127.0.0.1:{port}/") as client:
        assert client.response is not None
        assert client.response.headers["x-said"] == "yes"


@pytest.mark.parametrize("opcode", [1, 2, 9, 10])
async def test_one_read_full_of_frames_is_not_taken_at_once(
    opcode: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    protocols: list[fast.WebSocketProtocol] = []
    made, take, taken = fast.WebSocketProtocol.connection_made, fast.WebSocketProtocol._take, 0

    def note(self: fast.WebSocketProtocol, transport: asyncio.BaseTransport) -> None:
        protocols.append(self)
        made(self, transport)

    def count(self: fast.WebSocketProtocol, message: Any) -> None:
        nonlocal taken
        taken += 1
        take(self, message)

    monkeypatch.setattr(fast.WebSocketProtocol, "connection_made", note)
    monkeypatch.setattr(fast.WebSocketProtocol, "_take", count)
    flood = bytes(Frame(Opcode(opcode), b"").serialize(mask=True)) * 3000
    last = bytes(Frame(Opcode.TEXT, b"last").serialize(mask=True))
    async with at(echo) as where, dial(where) as client:
        await until(lambda: bool(protocols))
        protocols[0].data_received(flood + last)
        assert taken <= 100
        assert len(protocols[0]._held) <= 100
        async with asyncio.timeout(10):
            while await client.recv() != "last":
                pass
        assert taken == 3001
        await client.send("again")
        assert await asyncio.wait_for(client.recv(), 5) == "again"
