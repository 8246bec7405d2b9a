from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardume.errors import Invalid
from cardume.mqtt.decoder import Decoder
from cardume.mqtt.packets import Connect, Publish, Subscribe, encode
from tests.mqtt.strategies import packets


@given(packets)
def test_what_is_encoded_is_decoded(packet: object) -> None:
    wire = encode(packet)  # type: ignore[arg-type]
    assert Decoder(1 << 20).feed(wire) == [packet]


@given(st.integers(0, 300_000))
def test_lengths_of_every_size(size: int) -> None:
    packet = Publish("t", bytes(size), 1, packet_id=7)
    assert Decoder(1 << 20).feed(encode(packet)) == [packet]


def test_a_string_too_long_for_its_prefix() -> None:
    with pytest.raises(Invalid):
        encode(Subscribe(1, (("a" * 65_536, 0),)))


def test_a_password_is_not_shown() -> None:
    assert "hidden" not in repr(Connect("c", username="u", password=b"hidden"))
