from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardume.errors import Invalid
from cardume.mqtt.codec.decoder import Decoder
from cardume.mqtt.codec.encoder import encode
from cardume.mqtt.codec.packets import Connect, Packet, Publish, Subscribe
from tests.mqtt.strategies import dialogues


@given(dialogues)
def test_what_is_encoded_is_decoded(dialogue: tuple[int, list[Packet]]) -> None:
    level, sent = dialogue
    for packet in sent:
        assert Decoder(1 << 20, level=level).feed(encode(packet, level)) == [packet]


@given(st.integers(0, 300_000))
def test_lengths_of_every_size(size: int) -> None:
    packet = Publish("t", bytes(size), 1, packet_id=7)
    assert Decoder(1 << 20).feed(encode(packet)) == [packet]


def test_a_string_too_long_for_its_prefix() -> None:
    with pytest.raises(Invalid):
        encode(Subscribe(1, (("a" * 65_536, 0),)))


def test_a_password_is_not_shown() -> None:
    assert "hidden" not in repr(Connect("c", username="u", password=b"hidden"))
