"""Cutting what a broker sends into packets, and reading the messages among them. Pure.

paho would take a packet of 256 MiB from whoever announces one, its parser of MQTT 5 properties is
quadratic in their number, and it needs 34 µs for a message, half of them for properties that we
have no use for. So messages are read here, in 3 µs, and it gets whole packets of a bounded size.
"""

from __future__ import annotations

from typing import Final

import msgspec

from cardume.errors import Invalid

MAX_MESSAGE: Final = 128 * 1024
"""Bytes of a PUBLISH that are looked at; a payload of ours holds 64 KiB."""
MAX_OTHER: Final = 8 * 1024
"""Bytes of any other packet: a CONNACK with a wordy reason is the largest."""

CONNACK: Final = 2
PUBLISH: Final = 3
_EXPECTED: Final = frozenset((CONNACK, PUBLISH, 4, 9, 11, 13, 14))
"""Plus PUBACK, SUBACK, UNSUBACK, PINGRESP, DISCONNECT: what a broker may send to whom QoS 1 is
enough."""


class Message(msgspec.Struct, frozen=True, gc=False):
    """A PUBLISH, without its properties."""

    topic: str
    """Empty where it was no UTF-8, which is no topic either."""
    payload: bytes
    packet_id: int | None
    """None at QoS 0."""
    dup: bool
    retain: bool


class TooBig(msgspec.Struct, frozen=True, gc=False):
    """A message that was not looked at; its packet id at QoS 1, to be done with it."""

    size: int
    packet_id: int | None


Cut = Message | TooBig | bytes


class Cutter:
    """Bytes in, packets out. After `Invalid` the connection can only be closed."""

    def __init__(
        self, *, v5: bool, max_message: int = MAX_MESSAGE, max_other: int = MAX_OTHER
    ) -> None:
        self._v5 = v5
        self._max_message = max_message
        self._max_other = max_other
        self._buffer = bytearray()
        self._skip = 0
        self._begun = False

    def feed(self, data: bytes) -> list[Cut]:
        """The packets that are complete by now.

        Raises:
            Invalid: this is no broker, or not one that keeps to MQTT.
        """
        buffer = self._buffer
        buffer += data
        found: list[Cut] = []
        at = 0
        while True:
            passed = min(self._skip, len(buffer) - at)
            at += passed
            self._skip -= passed
            step = None if self._skip else self._next(at)
            if step is None:
                break
            packet, at = step
            found.append(packet)
        del buffer[:at]
        return found

    def _next(self, at: int) -> tuple[Cut, int] | None:
        buffer = self._buffer
        if at >= len(buffer):
            return None
        head = buffer[at]
        kind = self._check(head)
        length = _varint(buffer, at + 1)
        if length is None:
            return None
        size, body = length
        if kind == PUBLISH and size > self._max_message:
            return self._pass_over(head, body, size)
        if kind != PUBLISH and size > self._max_other:
            raise Invalid("the broker sent an absurdly large packet")
        end = body + size
        if end > len(buffer):
            return None
        self._begun = True
        return self._read(head, body, end) if kind == PUBLISH else bytes(buffer[at:end]), end

    def _check(self, head: int) -> int:
        kind = head >> 4
        if kind not in _EXPECTED or (kind == CONNACK) == self._begun:
            raise Invalid("the broker sent a packet that has no place there")
        if kind == PUBLISH and head & 0x04:
            raise Invalid("the broker sent QoS 2, which nobody asked for")
        return kind

    def _read(self, head: int, body: int, end: int) -> Message:
        buffer = self._buffer
        at = body + 2 + int.from_bytes(buffer[body : body + 2])
        after = at + 2 if head & 0x06 else at
        if after > end:
            raise Invalid("the broker sent a message shorter than its topic")
        payload = after
        if self._v5:
            properties = _varint(buffer, after)
            if properties is None or (payload := sum(properties)) > end:
                raise Invalid("the broker sent a message shorter than its properties")
        try:
            topic = buffer[body + 2 : at].decode()
        except UnicodeDecodeError:
            topic = ""
        return Message(
            topic,
            bytes(buffer[payload:end]),
            int.from_bytes(buffer[at:after]) if after > at else None,
            head & 0x08 > 0,
            head & 0x01 > 0,
        )

    def _pass_over(self, head: int, body: int, size: int) -> tuple[TooBig, int] | None:
        """Take what acknowledging needs, and let the rest pass unread."""
        buffer = self._buffer
        if len(buffer) < body + 2:
            return None
        needed = 2 + int.from_bytes(buffer[body : body + 2]) + (2 if head & 0x06 else 0)
        if len(buffer) < body + needed:
            return None
        end = body + needed
        self._skip = size - needed
        packet_id = int.from_bytes(buffer[end - 2 : end]) if head & 0x06 else None
        return TooBig(size, packet_id), end


def _varint(data: bytearray, at: int) -> tuple[int, int] | None:
    """A variable byte integer (§2.2.3) and where it ends; None: more bytes are needed."""
    value = 0
    for place in range(4):
        if at + place >= len(data):
            return None
        byte = data[at + place]
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, at + place + 1
    raise Invalid("the broker sent a length of more than four bytes")
