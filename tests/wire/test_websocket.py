"""What a client says, however it is cut, and what it may not say."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from cardume.wire.framing import BINARY, CLOSE, PING, PONG, TEXT
from cardume.wire.websocket import FrameFault, Message, Receiver

LIMIT = 1000


def said(opcode: int, data: bytes = b"", *, fin: bool = True, rsv1: bool = False) -> bytes:
    """A client's frame."""
    made = bytearray(Frame(Opcode(opcode), data, fin=fin).serialize(mask=True))
    made[0] |= 0x40 if rsv1 else 0
    return bytes(made)


def heard(data: bytes, *, limit: int = LIMIT, deflate: bool = False) -> list[Message]:
    return list(Receiver(limit, deflate=deflate).feed(data))


@st.composite
def speech(draw: st.DrawFn) -> tuple[list[Message], bytes]:
    """Messages, some in fragments with control frames between them; and their bytes."""
    messages: list[Message] = []
    wire = b""
    for _ in range(draw(st.integers(0, 5))):
        text = draw(st.booleans())
        content = draw(st.text(max_size=80))
        data = content.encode()
        cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=3)))
        parts = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
        for number, part in enumerate(parts):
            opcode = 0 if number else TEXT if text else BINARY
            wire += said(opcode, part, fin=number == len(parts) - 1)
            if number < len(parts) - 1 and draw(st.booleans()):
                wire += said(PING, b"there?")
                messages.append(Message(PING, data=b"there?"))
        messages.append(Message(TEXT, content) if text else Message(BINARY, data=data))
    return messages, wire


@given(speech(), st.lists(st.integers(1, 40), max_size=30))
def test_messages_are_whole_however_they_are_cut(
    spoken: tuple[list[Message], bytes], sizes: list[int]
) -> None:
    messages, wire = spoken
    receiver, found = Receiver(LIMIT), []
    for size in [*sizes, len(wire)]:
        chunk, wire = wire[:size], wire[size:]
        found += list(receiver.feed(chunk))
    assert found == messages
    assert receiver.idle


@given(st.binary(max_size=200))
def test_noise_is_a_fault_or_waits(noise: bytes) -> None:
    receiver = Receiver(LIMIT, deflate=True)
    try:
        list(receiver.feed(noise))
    except FrameFault as fault:
        assert {fault.code} <= {1002, 1007, 1009}  # noqa: PT017 - noise may be no fault


def test_it_is_idle_between_two_messages_alone() -> None:
    receiver, whole = Receiver(LIMIT), said(TEXT, b"hello")
    idle = [receiver.idle]
    for part in (whole[:3], whole[3:], said(TEXT, b"he", fin=False), said(PING), said(0, b"llo")):
        list(receiver.feed(part))
        idle.append(receiver.idle)
    assert idle == [True, False, True, False, False, True]


def test_a_goodbye_has_a_code_and_a_reason() -> None:
    assert heard(said(CLOSE, b"\x03\xe8bye")) == [Message(CLOSE, data=b"bye", code=1000)]
    assert heard(said(CLOSE)) == [Message(CLOSE, code=1005)]


FORBIDDEN = {
    "unmasked": (b"\x81\x01x", 1002),
    "reserved bit": (said(TEXT, b"x", rsv1=True), 1002),
    "no opcode": (b"\x83\x80abcd", 1002),
    "continuation of nothing": (said(0, b"x"), 1002),
    "message in a message": (said(TEXT, b"a", fin=False) + said(TEXT, b"b"), 1002),
    "two beginnings": (said(TEXT, b"a", fin=False) + said(BINARY, b"b", fin=False), 1002),
    "control in fragments": (b"\x09\x80abcd", 1002),
    "half a code": (said(CLOSE, b"\x03"), 1002),
    "reserved code": (said(CLOSE, b"\x03\xec"), 1002),
    "reason not UTF-8": (said(CLOSE, b"\x03\xe8\xff"), 1007),
    "text not UTF-8": (said(TEXT, b"\xff"), 1007),
    "text not UTF-8 in fragments": (said(TEXT, b"\xc3", fin=False) + said(0, b"("), 1007),
    "big": (said(TEXT, b"x" * (LIMIT + 1)), 1009),
    "big in fragments": (said(TEXT, b"x" * LIMIT, fin=False) + said(0, b"x"), 1009),
    "fragments": (said(BINARY, b"", fin=False) + said(0, b"", fin=False) * 200, 1009),
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_what_no_client_may_send(what: str) -> None:
    data, code = FORBIDDEN[what]
    with pytest.raises(FrameFault) as failure:
        heard(data)
    assert failure.value.code == code


def test_exactly_the_limit_fits() -> None:
    assert heard(said(TEXT, b"x" * LIMIT)) == [Message(TEXT, "x" * LIMIT)]
    halves = said(TEXT, b"x" * (LIMIT // 2), fin=False) + said(0, b"x" * (LIMIT // 2))
    assert heard(halves) == [Message(TEXT, "x" * LIMIT)]


def test_a_control_frame_fits_beside_a_message_at_the_limit() -> None:
    wire = said(TEXT, b"x" * LIMIT, fin=False) + said(PONG, b"p" * 125) + said(0)
    assert [message.opcode for message in heard(wire)] == [PONG, TEXT]


def squeezed(data: bytes) -> bytes:
    squeezer = zlib.compressobj(wbits=-15)
    return (squeezer.compress(data) + squeezer.flush(zlib.Z_SYNC_FLUSH))[:-4]


def test_a_compressed_message_is_read_where_that_was_agreed() -> None:
    wire = said(TEXT, squeezed(b"hello" * 20), rsv1=True) * 2
    assert heard(wire, deflate=True) == [Message(TEXT, "hello" * 20)] * 2


def test_a_bomb_is_too_big() -> None:
    with pytest.raises(FrameFault, match="too big") as failure:
        heard(said(TEXT, squeezed(b"x" * 100_000), rsv1=True), deflate=True)
    assert failure.value.code == 1009
