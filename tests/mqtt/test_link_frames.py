"""Cutting what a broker sends: any bytes, in any pieces, within bounds."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from cardume.errors import Invalid
from cardume.mqtt.link.frames import Cut, Cutter, Message, TooBig

CONNACK = b"\x20\x02\x00\x00"
CONNACK5 = b"\x20\x03\x00\x00\x00"
PINGRESP = b"\xd0\x00"


_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_ids = st.sampled_from([None, 1, 65_535])


def length(value: int) -> bytes:
    out = bytearray()
    while True:
        value, low = divmod(value, 128)
        out.append(low | (128 if value else 0))
        if not value:
            return bytes(out)


def publish(
    topic: bytes, payload: bytes, *, id: int | None = 1, properties: bytes | None = None
) -> bytes:
    body = struct.pack("!H", len(topic)) + topic
    body += b"" if id is None else struct.pack("!H", id)
    body += b"" if properties is None else length(len(properties)) + properties
    body += payload
    return bytes([0x30 if id is None else 0x32]) + length(len(body)) + body


def cut(data: bytes, *, v5: bool = False, piece: int | None = None) -> list[Cut]:
    cutter = Cutter(v5=v5, max_message=1000, max_other=100)
    found: list[Cut] = []
    size = piece or len(data)
    for start in range(0, len(data), size):
        found += cutter.feed(data[start : start + size])
    return found


@given(st.lists(st.tuples(_texts, st.binary(max_size=300), _ids), max_size=8), st.integers(1, 40))
def test_packets_come_out_as_they_went_in_whatever_the_pieces(
    messages: list[tuple[str, bytes, int | None]], piece: int
) -> None:
    sent = [publish(topic.encode(), payload, id=id) for topic, payload, id in messages]
    assert cut(CONNACK + b"".join(sent) + PINGRESP, piece=piece) == [
        CONNACK,
        *(Message(topic, payload, id, False, False) for topic, payload, id in messages),
        PINGRESP,
    ]


@pytest.mark.parametrize(("bits", "dup", "retain"), [(8, True, False), (1, False, True)])
def test_a_repetition_and_a_replay_are_marked(bits: int, dup: bool, retain: bool) -> None:
    sent = bytearray(publish(b"a/b", b"25", id=1))
    sent[0] |= bits
    assert cut(CONNACK + sent)[1] == Message("a/b", b"25", 1, dup, retain)


def test_a_topic_that_is_no_text_is_none() -> None:
    assert cut(CONNACK + publish(b"a/\xff", b"25", id=1))[1] == Message("", b"25", 1, False, False)


@given(st.binary(max_size=300), st.integers(1, 40), _ids)
def test_properties_are_left_out(payload: bytes, piece: int, id: int | None) -> None:
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.UserProperty = [("name", "value"), ("name", "other")]
    packed = properties.pack()[1:]  # type: ignore[no-untyped-call]
    sent = CONNACK5 + publish(b"a/b", payload, id=id, properties=packed)
    assert cut(sent, v5=True, piece=piece) == [CONNACK5, Message("a/b", payload, id, False, False)]


@given(st.integers(1001, 5000), st.integers(1, 400), _ids)
def test_what_is_too_big_passes_unread(size: int, piece: int, id: int | None) -> None:
    sent = CONNACK + publish(b"a/b", b"x" * size, id=id) + PINGRESP
    body = 2 + 3 + (0 if id is None else 2) + size
    assert cut(sent, piece=piece) == [CONNACK, TooBig(body, id), PINGRESP]


def test_what_is_too_big_is_not_held() -> None:
    cutter = Cutter(v5=False, max_message=1000)
    cutter.feed(CONNACK + b"\x32" + length(200_000_000) + b"\x00\x03a/b\x00\x09")
    for _ in range(100):
        assert cutter.feed(b"x" * 65_536) == []
    assert len(cutter._buffer) == 0


@pytest.mark.parametrize(
    "data",
    [
        b"\x20\xff\xff\xff\xff\x01",  # a length of five bytes
        b"\x20\xff\xff\xff\x7f",  # a CONNACK of 256 MiB
        publish(b"a", b"b"),  # before any CONNACK
        CONNACK + CONNACK,
        CONNACK + b"\x10\x00",  # CONNECT, from a server
        CONNACK + b"\x00\x00",
        CONNACK + b"\x34\x05\x00\x01a\x00\x01",  # QoS 2
        CONNACK + b"\x36\x05\x00\x01a\x00\x01",  # QoS 3
        CONNACK + b"\x32\x03\x00\x09a",  # shorter than its topic
        CONNACK + b"\x32\x01\x00",
        CONNACK + b"\xe0\xff\x7f",  # a DISCONNECT of 16 KiB
    ],
)
def test_what_no_broker_sends(data: bytes) -> None:
    with pytest.raises(Invalid):
        cut(data)
    with pytest.raises(Invalid):
        cut(data, piece=1)


@pytest.mark.parametrize("properties", [b"\x05abc", b"\xff\xff\xff\xff\x01", b"\xff"])
def test_properties_longer_than_their_message(properties: bytes) -> None:
    body = b"\x00\x01a\x00\x01" + properties
    with pytest.raises(Invalid):
        cut(CONNACK5 + b"\x32" + length(len(body)) + body, v5=True)


@given(st.lists(st.binary(max_size=200), max_size=20), st.booleans())
def test_any_bytes_are_packets_or_invalid_and_never_held_beyond_the_bounds(
    pieces: list[bytes], v5: bool
) -> None:
    cutter = Cutter(v5=v5, max_message=1000, max_other=100)
    try:
        for piece in [CONNACK5 if v5 else CONNACK, *pieces]:
            cutter.feed(piece)
            assert len(cutter._buffer) <= max(1000 + 5, 65_535 + 9)
    except Invalid:
        pass
