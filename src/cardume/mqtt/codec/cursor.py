"""The data types of MQTT (5.0 §1.5) read and written, and the ways in which bytes can be wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cardume.errors import Invalid

if TYPE_CHECKING:
    from cardume.mqtt.codec.packets import Packet

MAX_VARINT: Final = 268_435_455
"""§1.5.5: also the longest packet, without its fixed header."""


class BadPacket(Invalid):
    """Bytes that end a connection. `before` holds the good packets ahead of them."""

    reason = "bad_packet"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.before: list[Packet] = []


class MalformedPacket(BadPacket):
    """Cannot be read as MQTT."""

    reason = "malformed_packet"


class ProtocolError(BadPacket):
    """Can be read, and says what the protocol forbids (5.0 §4.13)."""

    reason = "protocol_error"


class TooManyProperties(BadPacket):
    """More of one kind than a bounded amount of memory and time allows."""

    reason = "too_many_properties"


class PacketTooLarge(BadPacket):
    """Announced as longer than we accept; told from the header, before anything is buffered."""

    reason = "packet_too_large"


class Body:
    """A cursor over one packet's variable header and payload."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    @property
    def left(self) -> int:
        """Bytes behind the cursor."""
        return len(self._data) - self._at

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

    def long(self) -> int:
        return int.from_bytes(self.take(4), "big")

    def varint(self) -> int:
        value = 0
        for shift in (0, 7, 14, 21):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if shift and not byte:  # §1.5.5: the shortest form, or it is malformed
                    break
                return value
        raise MalformedPacket("not a variable byte integer")

    def packet_id(self) -> int:
        number = self.number()
        if number == 0:  # §2.2.1
            raise MalformedPacket("a packet identifier is not 0")
        return number

    def binary(self) -> bytes:
        return self.take(self.number())

    def text(self) -> str:
        return utf8(self.binary())

    def end(self) -> None:
        if self:
            raise MalformedPacket("a packet holds more than it should")


def utf8(data: bytes) -> str:
    """The string in `data`."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise MalformedPacket("a string is not UTF-8") from None
    if "\0" in text:  # §1.5.4
        raise MalformedPacket("a string holds U+0000")
    return text


def varint(value: int) -> bytes:
    """A length as one to four bytes."""
    if value < 0x80:
        return bytes((value,))
    if value > MAX_VARINT:
        raise Invalid("an MQTT packet holds at most 256 MiB")
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def prefixed(data: bytes) -> bytes:
    """`data` behind its length in two bytes."""
    if len(data) > 0xFFFF:
        raise Invalid("an MQTT string holds at most 65,535 bytes")
    return len(data).to_bytes(2, "big") + data


def text(value: str) -> bytes:
    """`value` as MQTT writes strings."""
    return prefixed(value.encode())
