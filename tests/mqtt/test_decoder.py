from __future__ import annotations

import itertools
import timeit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardume.mqtt.codec.cursor import BadPacket, MalformedPacket, PacketTooLarge, ProtocolError
from cardume.mqtt.codec.decoder import Decoder
from cardume.mqtt.codec.encoder import encode
from cardume.mqtt.codec.packets import (
    LEVEL,
    LEVEL_5,
    Auth,
    Connect,
    Packet,
    Pingreq,
    Publish,
    Will,
)
from cardume.mqtt.codec.properties import Properties
from tests.mqtt.strategies import dialogues

LIMIT = 2048


def run(pieces: list[bytes], level: int) -> tuple[list[Packet], type[BadPacket] | None]:
    """What a decoder makes of a stream, and the fault that ended it."""
    decoder, found = Decoder(LIMIT, level=level), []
    for piece in pieces:
        try:
            found += decoder.feed(piece)
        except BadPacket as fault:
            return found + fault.before, type(fault)
    return found, None


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(place % (len(data) + 1) for place in cuts), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(places)]


def _spoil(dialogue: tuple[int, list[Packet]], patch: bytes, at: int) -> tuple[int, bytes]:
    level, sent = dialogue
    data = b"".join(encode(packet, level) for packet in sent)
    at %= len(data) + 1
    return level, data[:at] + patch + data[at + len(patch) :]


_noise = st.one_of(
    st.tuples(st.sampled_from([LEVEL, LEVEL_5]), st.binary(max_size=80)),
    # mostly right packets, with some bytes changed
    st.builds(_spoil, dialogues, st.binary(max_size=6), st.integers(0, 400)),
)


@given(_noise, st.lists(st.integers(0, 10_000), max_size=8))
@settings(max_examples=150)
def test_any_bytes_cut_anywhere_mean_the_same(noise: tuple[int, bytes], cuts: list[int]) -> None:
    level, data = noise
    assert run(cut(data, cuts), level) == run([data], level)


@given(dialogues)
def test_byte_by_byte(dialogue: tuple[int, list[Packet]]) -> None:
    level, sent = dialogue
    # The version of what follows is that of the last CONNECT.
    sent = [packet for packet in sent if not isinstance(packet, Connect)]
    data = b"".join(encode(packet, level) for packet in sent)
    assert run([bytes((byte,)) for byte in data], level) == (sent, None)


@pytest.mark.parametrize(
    "wire",
    [
        b"\x00\x00",  # reserved kind
        b"\xf0\x00",
        b"\x36\x05\x00\x01a\x00\x01",  # QoS 3
        b"\x38\x03\x00\x01a",  # DUP at QoS 0
        b"\x32\x05\x00\x01a\x00\x00",  # packet id 0
        b"\x30\x01\x00",  # no whole topic length
        b"\x30\x02\x00\x00",  # empty topic
        b"\x30\x03\x00\x01+",  # wildcard
        b"\x30\x03\x00\x01\x00",  # U+0000
        b"\x30\x05\x00\x03\xed\xa0\x80",  # a surrogate, §1.5.3
        b"\x30\x04\x00\x02\xc0\xaf",  # overlong
        b"\x30\x05\x00\x09abc",  # topic longer than the packet
        b"\x30\xff\xff\xff\xff\x01",  # length of five bytes
        b"\x60\x02\x00\x01",  # PUBREL without its flags
        b"\x40\x03\x00\x01\x00",  # so are reasons
        b"\x80\x06\x00\x01\x00\x01a\x00",  # SUBSCRIBE without its flags
        b"\x82\x02\x00\x01",  # to nothing
        b"\x82\x06\x00\x01\x00\x01a\x03",  # QoS 3
        b"\x82\x08\x00\x01\x00\x03a#b\x00",  # wildcard inside a level
        b"\xa2\x02\x00\x01",
        b"\xc0\x01\x00",
        b"\xe1\x00",
        b"\x10\x0c\x00\x04HTTP\x04\x02\x00\x00\x00\x00",
        b"\x10\x0c\x00\x04MQTT\x04\x03\x00\x00\x00\x00",  # reserved flag
        b"\x10\x0c\x00\x04MQTT\x04\x42\x00\x00\x00\x00",  # password without user name
        b"\x10\x0c\x00\x04MQTT\x04\x22\x00\x00\x00\x00",  # will retain without will
        b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x00x",  # more than it should
        b"\x10\x0b\x00\x04MQTT\x04\x02\x00\x00\x00",  # less
        b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01\x00",  # U+0000 in the client id
    ],
)
def test_malformed(wire: bytes) -> None:
    with pytest.raises(MalformedPacket):
        Decoder(LIMIT).feed(wire)


@pytest.mark.parametrize(
    ("wire", "fault"),
    [
        (b"\x30\x03\x00\x01a", MalformedPacket),  # no properties, not even their length
        (b"\x30\x03\x00\x00\x00", ProtocolError),  # neither topic nor alias
        (b"\x30\x06\x00\x01a\x02\x01\x02", ProtocolError),  # a payload format of 2
        (b"\x30\x08\x00\x01a\x04\x01\x00\x01\x00", ProtocolError),  # twice
        (b"\x30\x05\x00\x01a\x01\x7f", MalformedPacket),  # an unknown property
        (b"\x30\x09\x00\x01a\x05\x11\x00\x00\x00\x00", MalformedPacket),  # out of place
        (b"\x30\x06\x00\x01a\x02\x0b\x00", ProtocolError),  # identifier 0
        (b"\x30\x08\x00\x01a\x04\x08\x00\x01#", ProtocolError),  # response to a wildcard
        (b"\x30\x07\x00\x01a\x03\x26\x00\x01", MalformedPacket),  # properties end too early
        (b"\x30\x05\x00\x01a\x80\x00", MalformedPacket),  # a length not in its shortest form
        (b"\x30\x07\x00\x01a\xff\xff\xff\xff", MalformedPacket),
        (b"\x82\x07\x00\x01\x00\x00\x01a\x03", MalformedPacket),  # QoS 3
        (b"\x82\x07\x00\x01\x00\x00\x01a\x40", MalformedPacket),  # reserved
        (b"\x82\x07\x00\x01\x00\x00\x01a\x30", ProtocolError),  # retain handling 3
        (b"\x82\x10\x00\x01\x00\x00\x0a$share/g/a\x04", ProtocolError),  # no local, shared
        (b"\x82\x0b\x00\x01\x04\x0b\x01\x0b\x02\x00\x01a\x00", ProtocolError),
        (b"\x40\x04\x00\x01\x00\x05", MalformedPacket),
        (b"\x10\x10\x00\x04MQTT\x05\x02\x00\x00\x03\x21\x00\x00\x00\x00", ProtocolError),
        # authentication data without a method
        (b"\x10\x11\x00\x04MQTT\x05\x02\x00\x00\x04\x16\x00\x01x\x00\x00", ProtocolError),
        (b"\x10\x12\x00\x04MQTT\x05\x02\x00\x00\x05\x27\x00\x00\x00\x00\x00\x00",
         ProtocolError),
    ],
)  # fmt: skip
def test_malformed_in_5(wire: bytes, fault: type[BadPacket]) -> None:
    with pytest.raises(fault):
        Decoder(LIMIT, level=LEVEL_5).feed(wire)


def test_the_connect_says_the_version_of_what_follows() -> None:
    decoder = Decoder(LIMIT)
    aliased = Publish("", b"x", properties=Properties(topic_alias=1))
    sent: list[Packet] = [Connect("c", level=LEVEL_5), aliased, Auth(0x19)]
    assert decoder.feed(b"".join(encode(packet, LEVEL_5) for packet in sent)) == sent


def test_other_protocol_levels_are_told_apart() -> None:
    six = b"\x10\x0d\x00\x04MQTT\x06\x02\x00\x3c\x00\x00\x00"
    old = b"\x10\x0e\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x00"
    assert Decoder(LIMIT).feed(six) == [Connect("", level=6)]
    assert Decoder(LIMIT).feed(old) == [Connect("", level=3)]


def test_too_large_is_told_from_the_header() -> None:
    with pytest.raises(PacketTooLarge):
        Decoder(LIMIT).feed(b"\x30\xff\x7f")
    with pytest.raises(PacketTooLarge):
        Decoder(LIMIT, max_connect_size=64).feed(b"\x10\x40")
    exact = encode(Publish("t", bytes(LIMIT - 6)))
    assert len(exact) == LIMIT
    assert len(Decoder(LIMIT).feed(exact)) == 1


def test_good_packets_before_a_bad_one_are_not_lost() -> None:
    decoder = Decoder(LIMIT)
    with pytest.raises(MalformedPacket) as caught:
        decoder.feed(b"\xc0\x00\xc0\x00\xff\x00")
    assert caught.value.before == [Pingreq(), Pingreq()]
    with pytest.raises(MalformedPacket):
        decoder.feed(b"\xc0\x00")


def test_a_will_is_checked_like_a_publish() -> None:
    wire = encode(Connect("c", will=Will("a/+", b"")))
    with pytest.raises(MalformedPacket):
        Decoder(LIMIT).feed(wire)


def test_dribbled_bytes_cost_no_square() -> None:
    def dribble(size: int) -> float:
        wire = encode(Publish("t", bytes(size)))
        decoder = Decoder(1 << 20)
        return timeit.timeit(lambda: [decoder.feed(wire[i : i + 1]) for i in range(len(wire))],
                             number=1)  # fmt: skip

    small = min(dribble(50_000) for _ in range(3))
    assert min(dribble(400_000) for _ in range(3)) < 8 * 2.5 * small  # a square would be 64 times
