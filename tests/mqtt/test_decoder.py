from __future__ import annotations

import itertools
import timeit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardume.mqtt.decoder import BadPacket, Decoder, MalformedPacket, PacketTooLarge
from cardume.mqtt.packets import Connect, Packet, Pingreq, Publish, Will, encode
from tests.mqtt.strategies import packets

LIMIT = 2048


def run(pieces: list[bytes]) -> tuple[list[Packet], type[BadPacket] | None]:
    """What a decoder makes of a stream, and the fault that ended it."""
    decoder, found = Decoder(LIMIT), []
    for piece in pieces:
        try:
            found += decoder.feed(piece)
        except BadPacket as fault:
            return found + fault.before, type(fault)
    return found, None


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(place % (len(data) + 1) for place in cuts), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(places)]


_noise = st.one_of(
    st.binary(max_size=80),
    # mostly right packets, with some bytes changed
    st.tuples(st.lists(packets, max_size=4), st.binary(max_size=6), st.integers(0, 400)).map(
        lambda drawn: _spoil(b"".join(map(encode, drawn[0])), drawn[1], drawn[2])
    ),
)


def _spoil(data: bytes, patch: bytes, at: int) -> bytes:
    at %= len(data) + 1
    return data[:at] + patch + data[at + len(patch) :]


@given(_noise, st.lists(st.integers(0, 10_000), max_size=8))
def test_any_bytes_cut_anywhere_mean_the_same(data: bytes, cuts: list[int]) -> None:
    assert run(cut(data, cuts)) == run([data])


@given(st.lists(packets, max_size=5))
def test_byte_by_byte(sent: list[Packet]) -> None:
    data = b"".join(map(encode, sent))
    assert run([bytes((byte,)) for byte in data]) == (sent, None)


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
        b"\x62\x02\x00\x01",  # PUBREL
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


def test_other_protocol_levels_are_told_apart() -> None:
    five = b"\x10\x0d\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x00"
    old = b"\x10\x0e\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x00"
    assert Decoder(LIMIT).feed(five) == [Connect("", level=5)]
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
