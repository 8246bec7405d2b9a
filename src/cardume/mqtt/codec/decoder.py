"""Bytes in, packets out: an incremental decoder of MQTT 3.1.1 and 5.0, without I/O.

A packet it returns is valid by itself: its flags, its strings, its topic. What it means at this
moment is for the connection to judge.
"""

from __future__ import annotations

from typing import Final

from cardume.mqtt.codec.bodies import READERS, READERS_5
from cardume.mqtt.codec.cursor import (
    BadPacket,
    Body,
    MalformedPacket,
    PacketTooLarge,
    ProtocolError,
    utf8,
)
from cardume.mqtt.codec.packets import LEVEL, LEVEL_5, Connect, Packet, Publish
from cardume.mqtt.codec.properties import IN_PUBLISH, NONE, read
from cardume.mqtt.topics import valid_topic

_CACHED_TOPICS: Final = 64
_CACHED_TOPIC_BYTES: Final = 128

# QoS 3 is reserved; DUP with QoS 0 is forbidden (§3.3.1.1).
_PUBLISH: Final = frozenset(
    first for first in range(0x30, 0x40) if first & 6 != 6 and not (first & 8 and not first & 6)
)


class Decoder:
    """Cuts a byte stream into packets; each byte is copied a bounded number of times.

    `max_packet_size` bounds a whole packet, header included; `max_connect_size` that of CONNECT,
    which anybody may send. The version is that of the CONNECT in the stream; the other end of a
    connection says it by `level`. After a fault the decoder only repeats it.
    """

    __slots__ = ("_fault", "_held", "_max_connect", "_max_packet", "_need", "_readers", "_topics")

    def __init__(
        self, max_packet_size: int, *, max_connect_size: int | None = None, level: int = LEVEL
    ) -> None:
        self._max_packet = max_packet_size
        self._max_connect = max_connect_size or max_packet_size
        self._readers = READERS_5 if level == LEVEL_5 else READERS
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
            MalformedPacket: it is not MQTT.
            ProtocolError: it is what MQTT forbids.
            TooManyProperties: it holds more of them than are accepted.
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
            if first not in _PUBLISH and first not in self._readers:
                raise MalformedPacket("no packet begins like this")
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
                packet = self._readers[first](Body(data[start:stop]))
                if type(packet) is Connect and packet.level == LEVEL_5:
                    self._readers = READERS_5
                packets.append(packet)
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
        properties = NONE
        if self._readers is READERS_5:
            if payload < stop and data[payload] == 0:  # nearly always there are none
                payload += 1
            else:
                body = Body(data[payload:stop])
                properties = read(body, IN_PUBLISH)
                payload = stop - body.left
        # A device repeats a handful of topics: one look-up spares decoding and checking them.
        topic = self._topics.get(raw)
        if topic is None:
            if not raw and self._readers is READERS_5:
                if properties.topic_alias is None:  # §3.3.2.1
                    raise ProtocolError("neither a topic nor an alias")
                topic = ""
            else:
                topic = self._topic(raw)
        if not qos:
            return Publish(topic, data[payload:stop], 0, first & 1 == 1, properties=properties)
        packet_id = data[mark] << 8 | data[mark + 1]
        if packet_id == 0:  # §2.2.1
            raise MalformedPacket("a packet identifier is not 0")
        return Publish(
            topic, data[payload:stop], qos, first & 1 == 1, first & 8 == 8, packet_id, properties
        )

    def _topic(self, raw: bytes) -> str:
        topic = utf8(raw)
        if not valid_topic(topic):
            raise MalformedPacket("not a topic")
        if len(raw) <= _CACHED_TOPIC_BYTES:
            if len(self._topics) >= _CACHED_TOPICS:
                self._topics.clear()
            self._topics[raw] = topic
        return topic


def _long_length(data: bytes, at: int, end: int) -> tuple[int, int] | None:
    """§2.1.4: a remaining length of two to four bytes, and where the packet's body starts."""
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
