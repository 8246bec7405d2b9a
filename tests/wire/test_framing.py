"""Frames of a server's, read by the client side of `websockets`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame
from websockets.protocol import OPEN
from websockets.uri import parse_uri

from cardume.wire.framing import (
    BINARY,
    NO_STATUS,
    PING,
    TEXT,
    close_frame,
    compressed_frame,
    frame,
)

PAYLOADS = st.binary(max_size=300) | st.sampled_from([125, 126, 127, 65535, 65536]).map(bytes)


def client(*, deflate: bool = False) -> ClientProtocol:
    made = ClientProtocol(parse_uri("ws://x/"), state=OPEN, max_size=None)
    if deflate:
        # What is compressed with 4 KiB is read with any window that is larger.
        made.extensions = [PerMessageDeflate(True, True, 15, 15)]
    return made


def read(data: bytes, *, deflate: bool = False) -> list[Frame]:
    peer = client(deflate=deflate)
    peer.receive_data(data)
    assert peer.parser_exc is None
    return [event for event in peer.events_received() if isinstance(event, Frame)]


@given(PAYLOADS, st.sampled_from([TEXT, BINARY]))
def test_a_client_reads_what_was_framed(payload: bytes, opcode: int) -> None:
    [found] = read(frame(payload, opcode))
    assert (found.opcode, bytes(found.data), found.fin) == (opcode, payload, True)


@given(PAYLOADS, st.sampled_from([9, 12, 15]))
def test_a_client_reads_what_was_compressed(payload: bytes, bits: int) -> None:
    [found] = read(compressed_frame(payload, BINARY, bits), deflate=True)
    assert bytes(found.data) == payload


def test_each_compressed_frame_stands_by_itself() -> None:
    """One frame is sent to readers that saw different ones before it."""
    sent = [compressed_frame(b"abc" * n) for n in (100, 200, 300)]
    for order in (sent, sent[1:], sent[::-1]):
        assert len(read(b"".join(order), deflate=True)) == len(order)


def test_compressing_never_makes_it_longer() -> None:
    assert compressed_frame(b"{}") == frame(b"{}")
    assert len(compressed_frame(b"x" * 1000)) < 50


@pytest.mark.parametrize("reason", ["", "slow", "é" * 100])
def test_a_goodbye_fits_into_a_control_frame(reason: str) -> None:
    peer = client()
    peer.receive_data(close_frame(3008, reason))
    assert peer.close_rcvd is not None
    assert peer.close_rcvd.code == 3008
    assert reason.startswith(peer.close_rcvd.reason)
    assert len(peer.close_rcvd.reason) == min(len(reason), 61 if reason[:1] == "é" else 123)


def test_a_goodbye_without_a_code() -> None:
    peer = client()
    peer.receive_data(close_frame(NO_STATUS))
    assert peer.close_rcvd is not None
    assert peer.close_rcvd.code == 1005


def test_a_ping_is_a_control_frame() -> None:
    assert read(frame(b"", PING))[0].opcode == PING
