"""A broker that is none, or a broken one: no traceback, no memory, and one try after another."""

from __future__ import annotations

import asyncio
import logging
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardume.clock import SystemClock
from cardume.mqtt.intake import Intake
from cardume.mqtt.link.client import Conversation, LinkOptions
from cardume.mqtt.link.frames import Message, TooBig
from cardume.mqtt.link.link import Link
from cardume.mqtt.link.url import BrokerAddress, parse_url
from tests.mqtt.conftest import Store
from tests.mqtt.test_link_frames import length, publish
from tests.support.waiting import until

Play = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

WELCOME = b"\x20\x03\x00\x00\x00"
WELCOME_311 = b"\x20\x02\x00\x00"
GRANTED = b"\x90\x04\x00\x01\x00\x01"
GRANTED_311 = b"\x90\x03\x00\x01\x01"


async def packet(reader: asyncio.StreamReader) -> bytes:
    """The body of what the link sends next."""
    await reader.readexactly(1)
    size, shift = 0, 0
    while True:
        (byte,) = await reader.readexactly(1)
        size |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return await reader.readexactly(size)


def version(connect: bytes) -> int:
    return connect[6]


def answers(*parts: bytes, stays: bool = False) -> Play:
    """Say one part to each packet of the link, then hang up, or stay and say no more."""

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            await packet(reader)
            writer.write(part)
            await writer.drain()
        if stays:
            await reader.read()

    return play


class Rogue:
    """Plays the same to everybody who comes; remembers how often."""

    def __init__(self, play: Play) -> None:
        self.visits = 0
        self._play = play
        self._server: asyncio.Server
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Rogue:
        self._server = await asyncio.start_server(self._visit, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await self._server.wait_closed()

    async def _visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.visits += 1
        self._writers.append(writer)
        try:
            await self._play(reader, writer)
        except (OSError, EOFError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def link_to(rogue: Rogue, **options: Any) -> AsyncIterator[tuple[Link, Store]]:
    clock, store = SystemClock(), Store()
    intake = Intake(store, clock)
    address = parse_url(f"mqtt://127.0.0.1:{rogue.port}")
    link = Link(address, intake, clock, filters=("aquabook/+/reading",), **options)
    await link.start("hub")
    try:
        yield link, store
    finally:
        await link.stop(1.0)
        await intake.drain(1.0)
        assert link.stats().faults == 0


async def forever(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A message without end."""
    await packet(reader)
    writer.write(WELCOME)
    await packet(reader)
    writer.write(GRANTED + b"\x30" + length(260_000_000) + b"\x00\x03a/b")
    while True:
        writer.write(b"x" * 65_536)
        await writer.drain()


V5_PROPERTIES = length(4000) + b"\x26\x00\x01a\x00\x01b" * 571 + b"\x26\x00\x00"

NASTY: dict[str, Play] = {
    "hangs up": answers(b""),
    "speaks HTTP": answers(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "a length without end": answers(b"\x20\xff\xff\xff\xff\xff"),
    "a CONNACK of 256 MiB": answers(b"\x20\xff\xff\xff\x7f" + b"\0" * 65_536),
    "a CONNACK of nothing": answers(b"\x20\x00"),
    "half a CONNACK": answers(b"\x20\x03\x00"),
    "a code that does not exist": answers(b"\x20\x03\x00\xc8\x00"),
    "flags that do not exist": answers(b"\x20\x03\xff\xff\x00"),
    "a property that does not exist": answers(b"\x20\x05\x00\x00\x02\xff\x00"),
    "a property of another packet": answers(b"\x20\x08\x00\x00\x05\x02\x00\x00\x00\x01"),
    "properties longer than their packet": answers(b"\x20\x05\x00\x00\x7f\x00\x00"),
    "a bad text in a property": answers(b"\x20\x08\x00\x00\x05\x1f\x00\x02\xff\xfe"),
    "properties by the hundred": answers(
        b"\x20" + length(2 + len(V5_PROPERTIES)) + b"\0\0" + V5_PROPERTIES
    ),
    "a message first": answers(publish(b"a", b"b")),
    "two welcomes": answers(WELCOME + WELCOME),
    "a SUBACK of nothing": answers(WELCOME, b"\x90\x00"),
    "a SUBACK with another code": answers(WELCOME, b"\x90\x04\x00\x01\x00\x55"),
    "a refused subscription": answers(WELCOME, b"\x90\x04\x00\x01\x00\x87"),
    "sends away": answers(WELCOME, GRANTED + b"\xe0\x01\x8b"),
    "sends away absurdly": answers(WELCOME, GRANTED + b"\xe0\x03\xcc\x01\x00"),
    "QoS 2": answers(WELCOME, GRANTED + b"\x34\x06\x00\x01a\x00\x01\x00"),
    "short messages": answers(WELCOME, GRANTED + b"\x32\x02\x00\x09"),
    "messages with broken properties": answers(WELCOME, GRANTED + b"\x30\x05\x00\x01a\xff\xff"),
    "a message without end": forever,
}


@pytest.mark.parametrize("play", NASTY.values(), ids=NASTY.keys())
async def test_a_broken_broker_is_left_and_tried_again(
    play: Play, caplog: pytest.LogCaptureFixture
) -> None:
    async with Rogue(play) as rogue, link_to(rogue) as (link, store):
        if play is forever:
            await until(lambda: link.stats().up)
        else:
            await until(lambda: link.why not in ("", "not connected yet"))
        assert store.messages == []
    said = [record.getMessage() for record in caplog.records]
    assert all(record.levelno <= logging.WARNING for record in caplog.records), said
    assert "Traceback" not in caplog.text
    assert play is forever or said
    assert len(said) <= 2, said  # linked, and no more


async def test_the_waits_between_tries_grow(caplog: pytest.LogCaptureFixture) -> None:
    async with Rogue(answers(b"")) as rogue, link_to(rogue):
        await until(lambda: rogue.visits >= 2)
        await asyncio.sleep(1.0)
        assert rogue.visits < 20
    assert len(caplog.records) == 1  # the same reason is said once


async def test_a_broker_that_says_nothing_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    for parts in ((), (WELCOME,)):
        async with (
            Rogue(answers(*parts, stays=True)) as rogue,
            link_to(rogue, answer_within=0.1) as (link, _),
        ):
            await until(lambda: rogue.visits >= 2)
            assert "did not answer" in link.why


async def test_pongs_that_stay_unread_behind_a_flood_are_no_silence() -> None:
    """With a real broker it would be a race: that one counts our silence too."""
    pings = 0

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal pings
        for answer in (WELCOME, GRANTED):
            await packet(reader)
            writer.write(answer)
        writer.write(publish(b"aquabook/probe/reading", b"25", id=None, properties=b"") * 20_000)
        while await reader.readexactly(2) == b"\xc0\x00":
            pings += 1
            writer.write(b"\xd0\x00")

    async with Rogue(play) as rogue, link_to(rogue, keepalive=1) as (link, store):
        store.open.clear()
        await until(lambda: pings >= 3, "more than keepalive and its answer")
        assert link.stats().up
        assert link.stats().received < 10_000
        store.open.set()
        await until(lambda: len(store.messages) == 20_000)
        assert rogue.visits == 1


async def test_a_refused_subscription_is_said_by_name() -> None:
    async with Rogue(NASTY["a refused subscription"]) as rogue, link_to(rogue) as (link, _):
        await until(lambda: rogue.visits >= 2)
        assert "aquabook/+/reading" in link.why


@pytest.mark.parametrize("goodbye", [b"\x20\x02\x00\x01", b"\x20\x03\x00\x84\x00", b""])
async def test_a_broker_that_knows_no_mqtt_5_gets_3_1_1(goodbye: bytes) -> None:
    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if version(await packet(reader)) == 5:
            writer.write(goodbye)
            return
        writer.write(WELCOME_311)
        await packet(reader)
        writer.write(GRANTED_311 + publish(b"aquabook/probe/reading", b"25", id=1))
        assert (await packet(reader)) == struct.pack("!H", 1)  # the PUBACK
        await reader.read()

    async with Rogue(play) as rogue, link_to(rogue) as (link, store):
        await until(lambda: store.payloads == [b"25"])
        await until(lambda: link.stats().in_flight == 0)
        assert rogue.visits == 2


async def test_who_is_refused_for_another_reason_goes_on_with_mqtt_5() -> None:
    seen: list[int] = []

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(version(await packet(reader)))
        writer.write(b"\x20\x03\x00\x87\x00")

    async with Rogue(play) as rogue, link_to(rogue) as (link, _):
        await until(lambda: rogue.visits >= 3)
        assert "not authorized" in link.why
    assert set(seen) == {5}


# -- any bytes ---------------------------------------------------------------------------------


class Deaf(asyncio.Transport):
    """Takes everything, and ends when it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = False

    def write(self, data: Any) -> None:
        assert not self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class Ears:
    def __init__(self) -> None:
        self.heard = 0

    def on_message(self, message: Message, conversation: Conversation) -> bool:
        self.heard += 1
        return True

    def on_too_big(self, message: TooBig) -> None:
        self.heard += 1


_packets = st.builds(
    lambda head, body: bytes([head]) + length(len(body)) + body,
    st.integers(0, 255),
    st.binary(max_size=40),
)
_sane = st.sampled_from(
    (
        *(WELCOME, WELCOME_311, GRANTED, GRANTED_311, b"\xd0\x00", b"\xe0\x00"),
        *(publish(b"a/b", b"25"), publish(b"a/b", b"25", properties=b"")),
    )
)


_pieces = st.lists(st.one_of(_packets, _sane, st.binary(max_size=20)), max_size=12)


@given(st.booleans(), st.integers(0, 2), _pieces)
async def test_no_bytes_raise(v5: bool, answered: int, pieces: list[bytes]) -> None:
    """Whether they come first, after the welcome, or once we are subscribed."""
    first = [WELCOME, GRANTED] if v5 else [WELCOME_311, GRANTED_311]
    options = LinkOptions(client_id="hub", filters=("a/b",))
    address = BrokerAddress(host="broker", port=1883)
    conversation = Conversation(address, options, Ears(), v5=v5)
    transport = Deaf()
    conversation.connection_made(transport)
    for piece in [*first[:answered], *pieces]:
        if transport.closed:
            break
        conversation.data_received(piece)
        conversation.tend()
    assert transport.closed == conversation.ended.done()
    conversation.connection_lost(None)
    assert conversation.ended.done()
