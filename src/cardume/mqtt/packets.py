"""The control packets of MQTT 3.1.1 (OASIS, 29 October 2014): values, and their wire form."""

from __future__ import annotations

from typing import Final

import msgspec

from cardume.errors import Invalid

LEVEL: Final = 4
"""§3.1.2.2: the protocol level of 3.1.1."""
REFUSED: Final = 0x80
"""§3.9.3: the SUBACK return code of a filter that was not granted."""
_MAX_REMAINING: Final = 268_435_455  # §2.2.3


class Will(msgspec.Struct, frozen=True, gc=False):
    """What to publish when the client is lost."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False


class Connect(msgspec.Struct, frozen=True, gc=False):
    """§3.1. Of another protocol level only `level` is known: the rest is laid out otherwise."""

    client_id: str
    clean: bool = True
    keepalive: int = 0
    username: str | None = None
    password: bytes | None = None
    will: Will | None = None
    level: int = LEVEL

    def __repr__(self) -> str:
        return f"Connect({self.client_id!r}, level={self.level})"  # never the password


class Connack(msgspec.Struct, frozen=True, gc=False):
    """§3.2"""

    code: int
    session_present: bool = False


class Publish(msgspec.Struct, frozen=True, gc=False):
    """§3.3. `packet_id` is 0 at QoS 0."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    dup: bool = False
    packet_id: int = 0


class Puback(msgspec.Struct, frozen=True, gc=False):
    """§3.4"""

    packet_id: int


class Subscribe(msgspec.Struct, frozen=True, gc=False):
    """§3.8. Filters with the QoS asked for."""

    packet_id: int
    filters: tuple[tuple[str, int], ...]


class Suback(msgspec.Struct, frozen=True, gc=False):
    """§3.9"""

    packet_id: int
    codes: tuple[int, ...]


class Unsubscribe(msgspec.Struct, frozen=True, gc=False):
    """§3.10"""

    packet_id: int
    filters: tuple[str, ...]


class Unsuback(msgspec.Struct, frozen=True, gc=False):
    """§3.11"""

    packet_id: int


class Pingreq(msgspec.Struct, frozen=True, gc=False):
    """§3.12"""


class Pingresp(msgspec.Struct, frozen=True, gc=False):
    """§3.13"""


class Disconnect(msgspec.Struct, frozen=True, gc=False):
    """§3.14"""


Packet = (
    Connect | Connack | Publish | Puback | Subscribe | Suback | Unsubscribe | Unsuback
    | Pingreq | Pingresp | Disconnect
)  # fmt: skip


def encode_publish(packet: Publish) -> bytes:
    """The wire form of a PUBLISH; the other kinds go through `encode`."""
    topic = packet.topic.encode()
    first = 0x30 | packet.dup << 3 | packet.qos << 1 | packet.retain
    head = len(topic).to_bytes(2, "big") + topic
    if packet.qos:
        head += packet.packet_id.to_bytes(2, "big")
    remaining = len(head) + len(packet.payload)
    if remaining < 0x80:
        return b"%c%c%b%b" % (first, remaining, head, packet.payload)
    return b"%c%b%b%b" % (first, _length(remaining), head, packet.payload)


def encode(packet: Packet) -> bytes:
    """The wire form of any packet.

    Raises:
        Invalid: a string is longer than 65,535 bytes, or the whole than 256 MiB.
    """
    match packet:
        case Publish():
            return encode_publish(packet)
        case Puback(packet_id):
            return b"\x40\x02" + packet_id.to_bytes(2, "big")
        case Connect():
            return _frame(0x10, _connect_body(packet))
        case Connack(code, present):
            return bytes((0x20, 2, present, code))
        case Subscribe(packet_id, asked):
            body = b"".join(_text(name) + bytes((qos,)) for name, qos in asked)
            return _frame(0x82, packet_id.to_bytes(2, "big") + body)
        case Suback(packet_id, codes):
            return _frame(0x90, packet_id.to_bytes(2, "big") + bytes(codes))
        case Unsubscribe(packet_id, names):
            return _frame(0xA2, packet_id.to_bytes(2, "big") + b"".join(map(_text, names)))
        case Unsuback(packet_id):
            return b"\xb0\x02" + packet_id.to_bytes(2, "big")
        case Pingreq():
            return b"\xc0\x00"
        case Pingresp():
            return b"\xd0\x00"
        case Disconnect():
            return b"\xe0\x00"


def _frame(first: int, body: bytes) -> bytes:
    return bytes((first,)) + _length(len(body)) + body


def _length(remaining: int) -> bytes:
    if remaining > _MAX_REMAINING:
        raise Invalid("an MQTT packet holds at most 256 MiB")
    out = bytearray()
    while remaining > 0x7F:
        out.append(remaining & 0x7F | 0x80)
        remaining >>= 7
    out.append(remaining)
    return bytes(out)


def _text(text: str) -> bytes:
    return _prefixed(text.encode())


def _prefixed(data: bytes) -> bytes:
    if len(data) > 0xFFFF:
        raise Invalid("an MQTT string holds at most 65,535 bytes")
    return len(data).to_bytes(2, "big") + data


def _connect_body(packet: Connect) -> bytes:
    will, flags = packet.will, packet.clean << 1
    tail = _text(packet.client_id)
    if will is not None:
        flags |= 0x04 | will.qos << 3 | will.retain << 5
        tail += _text(will.topic) + _prefixed(will.payload)
    if packet.username is not None:
        flags |= 0x80
        tail += _text(packet.username)
        if packet.password is not None:
            flags |= 0x40
            tail += _prefixed(packet.password)
    head = _text("MQTT") + bytes((packet.level, flags))
    return head + packet.keepalive.to_bytes(2, "big") + tail
