"""Bytes in, packets out: an incremental decoder of MQTT 3.1.1, without I/O.

A packet it returns is valid by itself: its flags, its strings, its topic. What it means at this
moment is for the connection to judge.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from cardume.errors import Invalid
from cardume.mqtt.packets import (
    LEVEL,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Puback,
    Publish,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
    Will,
)
from cardume.mqtt.topics import valid_filter, valid_topic

_CACHED_TOPICS: Final = 64
_CACHED_TOPIC_BYTES: Final = 128


class BadPacket(Invalid):
    """Bytes that end a connection. `before` holds the good packets ahead of them."""

    reason = "bad_packet"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.before: list[Packet] = []


class MalformedPacket(BadPacket):
    """Not MQTT 3.1.1."""

    reason = "malformed_packet"


class PacketTooLarge(BadPacket):
    """Announced as longer than we accept; told from the header, before anything is buffered."""

    reason = "packet_too_large"


class _Body:
    """A cursor over one packet's variable header and payload."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def take(self, size: int) -> bytes:
        end = self._at + size
        if end > len(self._data):
            raise MalformedPacket("a packet ends too early")
        piece = self._data[self._at : end]
        self._at = end
        return piece

    def byte(self) -> int:
        return self.take(1)[0]

    def number(self) -> int:
        return int.from_bytes(self.take(2), "big")

    def packet_id(self) -> int:
        number = self.number()
        if number == 0:  # §2.3.1
            raise MalformedPacket("a packet identifier is not 0")
        return number

    def binary(self) -> bytes:
        return self.take(self.number())

    def text(self) -> str:
        return _utf8(self.binary())

    def end(self) -> None:
        if self:
            raise MalformedPacket("a packet holds more than it should")


def _utf8(data: bytes) -> str:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise MalformedPacket("a string is not UTF-8") from None
    if "\0" in text:  # §1.5.3
        raise MalformedPacket("a string holds U+0000")
    return text


def _connect(body: _Body) -> Connect:
    name = body.binary()
    if name not in (b"MQTT", b"MQIsdp"):
        raise MalformedPacket("no MQTT client")
    level = body.byte()
    if name == b"MQIsdp" or level != LEVEL:
        return Connect("", level=level if level != LEVEL else 3)
    flags, keepalive = body.byte(), body.number()
    client_id = body.text()
    will = None
    if flags & 0x04:
        will = Will(body.text(), body.binary(), flags >> 3 & 3, flags & 0x20 != 0)
        if will.qos == 3 or not valid_topic(will.topic):
            raise MalformedPacket("a will that cannot be published")
    elif flags & 0x38:
        raise MalformedPacket("will flags without a will")
    if flags & 1 or flags & 0xC0 == 0x40:  # §3.1.2.3, §3.1.2.9
        raise MalformedPacket("connect flags that exclude each other")
    username = body.text() if flags & 0x80 else None
    password = body.binary() if flags & 0x40 else None
    body.end()
    return Connect(client_id, flags & 2 != 0, keepalive, username, password, will)


def _connack(body: _Body) -> Connack:
    flags, code = body.byte(), body.byte()
    body.end()
    if flags > 1:
        raise MalformedPacket("reserved connack flags")
    return Connack(code, flags == 1)


def _puback(body: _Body) -> Puback:
    packet_id = body.packet_id()
    body.end()
    return Puback(packet_id)


def _subscribe(body: _Body) -> Subscribe:
    packet_id, filters = body.packet_id(), []
    while body:
        name, qos = _filter(body), body.byte()
        if qos > 2:
            raise MalformedPacket("a QoS above 2")
        filters.append((name, qos))
    if not filters:  # §3.8.3
        raise MalformedPacket("a subscription to nothing")
    return Subscribe(packet_id, tuple(filters))


def _suback(body: _Body) -> Suback:
    packet_id, codes = body.packet_id(), []
    while body:
        codes.append(body.byte())
    return Suback(packet_id, tuple(codes))


def _unsubscribe(body: _Body) -> Unsubscribe:
    packet_id, filters = body.packet_id(), []
    while body:
        filters.append(_filter(body))
    if not filters:  # §3.10.3
        raise MalformedPacket("nothing to unsubscribe from")
    return Unsubscribe(packet_id, tuple(filters))


def _unsuback(body: _Body) -> Unsuback:
    packet_id = body.packet_id()
    body.end()
    return Unsuback(packet_id)


def _filter(body: _Body) -> str:
    name = body.text()
    if not valid_filter(name):
        raise MalformedPacket("not a topic filter")
    return name


def _empty(packet: Packet) -> Callable[[_Body], Packet]:
    def decode(body: _Body) -> Packet:
        body.end()
        return packet

    return decode


# §2.2: the whole first byte, since every kind but PUBLISH has fixed flags. PUBREC, PUBREL and
# PUBCOMP are absent: QoS 2 is not spoken here.
_DECODERS: Final[dict[int, Callable[[_Body], Packet]]] = {
    0x10: _connect,
    0x20: _connack,
    0x40: _puback,
    0x82: _subscribe,
    0x90: _suback,
    0xA2: _unsubscribe,
    0xB0: _unsuback,
    0xC0: _empty(Pingreq()),
    0xD0: _empty(Pingresp()),
    0xE0: _empty(Disconnect()),
}
# QoS 3 is reserved; DUP with QoS 0 is forbidden (§3.3.1.1).
_PUBLISH: Final = frozenset(
    first for first in range(0x30, 0x40) if first & 6 != 6 and not (first & 8 and not first & 6)
)
_FIRST: Final = _PUBLISH | _DECODERS.keys()


class Decoder:
    """Cuts a byte stream into packets; each byte is copied a bounded number of times.

    `max_packet_size` bounds a whole packet, header included; `max_connect_size` that of CONNECT,
    which anybody may send. After a fault the decoder only repeats it.
    """

    __slots__ = ("_fault", "_held", "_max_connect", "_max_packet", "_need", "_topics")

    def __init__(self, max_packet_size: int, *, max_connect_size: int | None = None) -> None:
        self._max_packet = max_packet_size
        self._max_connect = max_connect_size or max_packet_size
        self._held = bytearray()
        self._need = 0
        self._topics: dict[bytes, str] = {}
        self._fault: type[BadPacket] | None = None

    @property
    def partial(self) -> bool:
        """Whether the beginning of a packet is waiting for its end."""
        return bool(self._held)

    def feed(self, data: bytes) -> list[Packet]:
        """The packets that `data` completes.

        Raises:
            MalformedPacket: it is not MQTT 3.1.1.
            PacketTooLarge: a header announces more than is accepted.
        """
        if self._fault is not None:
            raise self._fault("the stream was given up")
        if self._held:
            self._held += data
            # A packet that dribbles in is looked at again only when it is whole.
            if len(self._held) < self._need:
                return []
            data = bytes(self._held)
            self._held.clear()
        packets: list[Packet] = []
        try:
            self._parse(data, packets)
        except BadPacket as fault:
            self._fault = type(fault)
            fault.before = packets
            raise
        return packets

    def _parse(self, data: bytes, packets: list[Packet]) -> None:
        at, end = 0, len(data)
        need = 0
        while end - at >= 2:
            first, remaining, start = data[at], data[at + 1], at + 2
            if first not in _FIRST:
                raise MalformedPacket("no packet of MQTT 3.1.1 begins like this")
            if remaining > 0x7F:
                length = _long_length(data, at + 1, end)
                if length is None:
                    break
                remaining, start = length
            stop = start + remaining
            if stop - at > (self._max_connect if first == 0x10 else self._max_packet):
                raise PacketTooLarge("a packet is announced as larger than is accepted here")
            if stop > end:
                need = stop - at
                break
            if first in _PUBLISH:
                packets.append(self._publish(first, data, start, stop))
            else:
                packets.append(_DECODERS[first](_Body(data[start:stop])))
            at = stop
        if at < end:
            self._held += data[at:] if at else data
        self._need = need

    def _publish(self, first: int, data: bytes, start: int, stop: int) -> Publish:
        mark = start + 2 + int.from_bytes(data[start : start + 2], "big")
        qos = first >> 1 & 3
        payload = mark + 2 if qos else mark
        if payload > stop:
            raise MalformedPacket("a packet ends too early")
        raw = data[start + 2 : mark]
        # A device repeats a handful of topics: one look-up spares decoding and checking them.
        topic = self._topics.get(raw) or self._topic(raw)
        if not qos:
            return Publish(topic, data[payload:stop], 0, first & 1 == 1)
        packet_id = data[mark] << 8 | data[mark + 1]
        if packet_id == 0:  # §2.3.1
            raise MalformedPacket("a packet identifier is not 0")
        return Publish(topic, data[payload:stop], qos, first & 1 == 1, first & 8 == 8, packet_id)

    def _topic(self, raw: bytes) -> str:
        topic = _utf8(raw)
        if not valid_topic(topic):
            raise MalformedPacket("not a topic")
        if len(raw) <= _CACHED_TOPIC_BYTES:
            if len(self._topics) >= _CACHED_TOPICS:
                self._topics.clear()
            self._topics[raw] = topic
        return topic


def _long_length(data: bytes, at: int, end: int) -> tuple[int, int] | None:
    """§2.2.3: a remaining length of two to four bytes, and where the packet's body starts."""
    value = shift = 0
    for place in range(at, min(end, at + 4)):
        byte = data[place]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place + 1
        shift += 7
    if end - at >= 4:
        raise MalformedPacket("a remaining length of more than four bytes")
    return None
