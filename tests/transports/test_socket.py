"""Connections of the hub's own: what they keep, what they say, and how they end."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import re
import socket
from collections.abc import AsyncIterator
from types import CoroutineType

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from cardume.wire import codes
from tests.support.waiting import START, until
from tests.transports.serving import Lodge


@pytest.fixture
async def lodge() -> AsyncIterator[Lodge]:
    async with Lodge().open() as opened:
        yield opened


def frame(opcode: int, data: bytes = b"", *, fin: bool = True) -> bytes:
    return bytes(Frame(Opcode(opcode), data, fin=fin).serialize(mask=True))


def handshake(path: str) -> bytes:
    return (
        f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ).encode()


class Raw:
    """A peer that says what it likes, byte by byte."""

    def __init__(self, lodge: Lodge, *, buffer: int = 0) -> None:
        self._lodge = lodge
        self._socket = socket.socket()
        if buffer:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self._socket.setblocking(False)

    async def __aenter__(self) -> Raw:
        loop = asyncio.get_running_loop()
        await loop.sock_connect(self._socket, ("127.0.0.1", self._lodge.port))
        await self.send(handshake(self._lodge.path))
        answer = b""
        while b'"connected"' not in answer:
            answer += await loop.sock_recv(self._socket, 4096)
        assert answer.startswith(b"HTTP/1.1 101 ")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._socket.close()

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._socket, data)

    async def rest(self) -> bytes:
        """All that comes until the end."""
        loop, read = asyncio.get_running_loop(), b""
        async with asyncio.timeout(START):
            while more := await loop.sock_recv(self._socket, 65536):
                read += more
        return read


async def test_an_idle_connection_keeps_no_task_and_no_coroutine(lodge: Lodge) -> None:
    tasks = len(asyncio.all_tasks())
    before = _coroutines()
    async with lodge.visit() as client:
        await client.send('{"type": "ping", "id": 1}')
        assert json.loads(await client.recv())["type"] == "pong"
        held = lodge.socket
        ours = {held._talk, held._inbox, held._receiver, held._deadline}
        theirs = 2  # a client has a task that reads, and its own coroutine
        assert ours == {None}
        assert len(asyncio.all_tasks()) <= tasks + theirs
        assert not [name for name in _coroutines() - before if "cardume" in name]


def _coroutines() -> set[str]:
    gc.collect()
    alive = (thing for thing in gc.get_objects() if isinstance(thing, CoroutineType))
    return {f"{each.cr_code.co_filename}:{each.cr_code.co_name}" for each in alive}


async def test_the_answer_and_the_first_frame_are_one_write(lodge: Lodge) -> None:
    async with Raw(lodge):
        pass  # `connected` came in the same segment, or `__aenter__` had waited for another


async def test_a_ping_of_the_peer_is_answered(lodge: Lodge) -> None:
    async with lodge.visit() as client:
        await asyncio.wait_for(await client.ping(b"there?"), 5)


async def test_a_peer_that_answers_pings_stays(lodge: Lodge) -> None:
    async with lodge.visit() as client:
        for _ in range(40):
            await lodge.clock.advance(5)  # less than it has to answer: never past both at once
            await until(lambda: not lodge.socket._asked, "a pong")
        await lodge.say({"n": 1})
        assert json.loads(await client.recv())["data"] == {"n": 1}


async def test_a_peer_that_answers_no_ping_is_sent_away(lodge: Lodge) -> None:
    async with Raw(lodge) as deaf:
        await lodge.clock.advance(27)
        assert lodge.hub.connections()
        await lodge.clock.advance(10)
        assert b"\x88\x09\x0b\xc4no pong" in await _gone(lodge, deaf)


async def _gone(lodge: Lodge, peer: Raw) -> bytes:
    """What a peer still reads that does not answer the goodbye."""
    reading = asyncio.create_task(peer.rest())
    await until(lambda: lodge.is_parting, "a goodbye")
    await lodge.clock.advance(6)
    read = await reading
    await until(lambda: not lodge.hub.connections())
    return read


@pytest.mark.parametrize("count", [1, 40])
async def test_an_unfinished_message_has_its_time(lodge: Lodge, count: int) -> None:
    async with Raw(lodge) as slow:
        await slow.send(frame(1, b"hel", fin=False))
        await asyncio.sleep(0.05)
        for _ in range(7):
            await lodge.clock.advance(8)
            if not lodge.hub.connections() or lodge.socket._connection.closing:
                break
            await slow.send(frame(10) * count)
            await asyncio.sleep(0.02)
        assert b"\x0d\xaestale" in await _gone(lodge, slow)


async def test_the_peer_goodbye_is_answered(lodge: Lodge) -> None:
    async with Raw(lodge) as peer:
        await peer.send(frame(8, b"\x0f\xa0bye"))
        assert await peer.rest() == b"\x88\x02\x0f\xa0"
    await until(lambda: not lodge.hub.connections())


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (frame(2, b"\x00"), 1003),
        (frame(1, b"\xff"), 1007),
        (b"\x81\x01x", 1002),
        (b"\x83\x80abcd", 1002),
        (frame(1, b"x" * 70_000), 1009),
        (frame(1, b"x" * 140_000), 1009),
        (frame(1, b"", fin=False) + frame(0, b"", fin=False) * 3000, 1009),
    ],
    ids=["binary", "utf-8", "unmasked", "opcode", "big", "huge", "fragments"],
)
async def test_what_no_client_may_say(
    lodge: Lodge, said: bytes, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        async with Raw(lodge) as peer:
            await peer.send(said)
            assert code.to_bytes(2) in await _gone(lodge, peer)
    assert not [record for record in caplog.records if record.exc_info]


async def test_a_peer_that_never_reads_is_cut_and_freed(lodge: Lodge) -> None:
    async with Raw(lodge, buffer=4096), lodge.visit() as other:
        slow, _ = lodge.hub.connections()
        count = 0
        while not slow.closing:
            await lodge.say({"n": count, "filling": "x" * 16_000})
            count += 1
            await asyncio.sleep(0)
            assert count < 2000, "its outbox is bounded"
        assert slow.close_code is not None
        assert slow.close_code.number == 3008
        for n in range(count):
            assert json.loads(await other.recv())["data"]["n"] == n
        await lodge.clock.advance(6)
        await until(lambda: len(lodge.hub.connections()) == 1)


async def test_a_reader_that_paused_gets_everything_in_order(lodge: Lodge) -> None:
    async with Raw(lodge, buffer=4096) as slow:
        [connection] = lodge.hub.connections()
        count = await lodge.say_too_much(connection)
        for _ in range(3):
            await lodge.say({"n": count})
            count += 1
        reading = asyncio.create_task(slow.rest())
        await until(lambda: connection.write is not None, "written to directly again")
        connection.close(codes.FORCE_RECONNECT)
        await until(lambda: lodge.is_parting, "a goodbye")
        await lodge.clock.advance(6)
        told = [int(n) for n in re.findall(rb'"data":{"n":(\d+)', await reading)]
        assert told == list(range(count))


async def test_many_messages_at_once_are_answered_in_order(lodge: Lodge) -> None:
    async with lodge.visit() as client:
        for n in range(200):
            await client.send(json.dumps({"type": "ping", "id": n}))
        answers = [json.loads(await client.recv())["id"] for _ in range(200)]
    assert answers == list(range(200))


async def test_a_namespace_is_compressed_for_those_who_can_read_it(lodge: Lodge) -> None:
    async with lodge.visit(compression="deflate") as can, lodge.visit() as cannot:
        assert "permessage-deflate" in can.response.headers["Sec-WebSocket-Extensions"]  # type: ignore[union-attr]
        for n in range(3):
            await lodge.say({"n": n, "filling": "x" * 1000})
        for client in (can, cannot):
            assert [json.loads(await client.recv())["data"]["n"] for _ in range(3)] == [0, 1, 2]
        await can.send('{"type": "ping", "id": 1}')
        assert json.loads(await can.recv())["type"] == "pong"


async def test_the_drain_says_goodbye_to_them(lodge: Lodge) -> None:
    async with lodge.visit() as client:
        draining = asyncio.create_task(lodge.hub.drain())
        with pytest.raises(ConnectionClosed) as closed:
            await client.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 3001
        await draining
    lodge.hub.draining = False
