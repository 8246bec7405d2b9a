"""The properties of MQTT 5.0 (§2.2.2): one table of what there is, where, and in which form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from cardume.mqtt.codec.cursor import (
    Body,
    MalformedPacket,
    ProtocolError,
    TooManyProperties,
    prefixed,
    text,
    varint,
)


class Properties(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What a packet says beyond its fixed fields. None: it does not say."""

    payload_format: int | None = None
    message_expiry: int | None = None
    """Seconds."""
    content_type: str | None = None
    response_topic: str | None = None
    correlation_data: bytes | None = None
    subscription_ids: tuple[int, ...] = ()
    session_expiry: int | None = None
    """Seconds; `FOREVER` stands for without end."""
    assigned_client_id: str | None = None
    server_keep_alive: int | None = None
    authentication_method: str | None = None
    authentication_data: bytes | None = None
    request_problem_information: int | None = None
    will_delay: int | None = None
    request_response_information: int | None = None
    response_information: str | None = None
    server_reference: str | None = None
    reason_string: str | None = None
    receive_maximum: int | None = None
    topic_alias_maximum: int | None = None
    topic_alias: int | None = None
    maximum_qos: int | None = None
    retain_available: int | None = None
    user: tuple[tuple[str, str], ...] = ()
    maximum_packet_size: int | None = None
    wildcard_available: int | None = None
    subscription_ids_available: int | None = None
    shared_available: int | None = None


NONE: Final = Properties()
FOREVER: Final = 0xFFFF_FFFF
"""§3.1.2.11.2: a session that does not expire."""
_OVERHEAD: Final = 400
_PAIR_OVERHEAD: Final = 180
MAX_REPEATED: Final = 128
"""Ours, of one kind in one packet: a pair of empty strings is 5 bytes there and 100 here."""


class _Form(NamedTuple):
    read: Callable[[Body], Any]
    write: Callable[[Any], bytes]


def _flag(body: Body) -> int:
    value = body.byte()
    if value > 1:
        raise ProtocolError("a property is neither 0 nor 1")
    return value


def _positive(read: Callable[[Body], int]) -> Callable[[Body], int]:
    def reading(body: Body) -> int:
        value = read(body)
        if value == 0:
            raise ProtocolError("a property must not be 0")
        return value

    return reading


def _topic(body: Body) -> str:
    name = body.text()
    if "+" in name or "#" in name:  # §3.3.2.3.5
        raise ProtocolError("a response topic holds wildcards")
    return name


def _byte(value: int) -> bytes:
    return value.to_bytes(1, "big")


def _two(value: int) -> bytes:
    return value.to_bytes(2, "big")


def _four(value: int) -> bytes:
    return value.to_bytes(4, "big")


_FLAG: Final = _Form(_flag, _byte)
_NUMBER: Final = _Form(Body.number, _two)
_LONG: Final = _Form(Body.long, _four)
_TEXT: Final = _Form(Body.text, text)
_PAIR: Final = _Form(
    lambda body: (body.text(), body.text()), lambda pair: text(pair[0]) + text(pair[1])
)
_BINARY: Final = _Form(Body.binary, prefixed)

_TABLE: Final[Mapping[int, tuple[str, _Form]]] = {
    0x01: ("payload_format", _FLAG),
    0x02: ("message_expiry", _LONG),
    0x03: ("content_type", _TEXT),
    0x08: ("response_topic", _Form(_topic, text)),
    0x09: ("correlation_data", _BINARY),
    0x0B: ("subscription_ids", _Form(_positive(Body.varint), varint)),
    0x11: ("session_expiry", _LONG),
    0x12: ("assigned_client_id", _TEXT),
    0x13: ("server_keep_alive", _NUMBER),
    0x15: ("authentication_method", _TEXT),
    0x16: ("authentication_data", _BINARY),
    0x17: ("request_problem_information", _FLAG),
    0x18: ("will_delay", _LONG),
    0x19: ("request_response_information", _FLAG),
    0x1A: ("response_information", _TEXT),
    0x1C: ("server_reference", _TEXT),
    0x1F: ("reason_string", _TEXT),
    0x21: ("receive_maximum", _Form(_positive(Body.number), _two)),
    0x22: ("topic_alias_maximum", _NUMBER),
    0x23: ("topic_alias", _NUMBER),  # 0 has a reason code of its own: the connection judges
    0x24: ("maximum_qos", _FLAG),
    0x25: ("retain_available", _FLAG),
    0x26: ("user", _PAIR),
    0x27: ("maximum_packet_size", _Form(_positive(Body.long), _four)),
    0x28: ("wildcard_available", _FLAG),
    0x29: ("subscription_ids_available", _FLAG),
    0x2A: ("shared_available", _FLAG),
}  # fmt: skip
_MESSAGE: Final = frozenset({0x01, 0x02, 0x03, 0x08, 0x09, 0x26})
_REPEATED: Final = frozenset({"subscription_ids", "user"})

# §2.2.2.2: which packet may say what.
IN_CONNECT: Final = frozenset({0x11, 0x15, 0x16, 0x17, 0x19, 0x21, 0x22, 0x26, 0x27})
IN_WILL: Final = _MESSAGE | {0x18}
IN_CONNACK: Final = frozenset(
    {0x11, 0x12, 0x13, 0x15, 0x16, 0x1A, 0x1C, 0x1F, 0x21, 0x22, 0x24, 0x25, 0x26, 0x27, 0x28,
     0x29, 0x2A}
)  # fmt: skip
IN_PUBLISH: Final = _MESSAGE | {0x0B, 0x23}
IN_ANSWER: Final = frozenset({0x1F, 0x26})
IN_SUBSCRIBE: Final = frozenset({0x0B, 0x26})
IN_UNSUBSCRIBE: Final = frozenset({0x26})
IN_DISCONNECT: Final = frozenset({0x11, 0x1C, 0x1F, 0x26})
IN_AUTH: Final = frozenset({0x15, 0x16, 0x1F, 0x26})


def read(body: Body, allowed: frozenset[int]) -> Properties:
    """The properties at the cursor, behind their length.

    Raises:
        MalformedPacket: an unknown property, or one that has no place in this packet.
        ProtocolError: one is given twice, or has a value that is forbidden.
        TooManyProperties: one that may be repeated is, too often.
    """
    size = body.varint()
    if not size:
        return NONE
    inside, found = Body(body.take(size)), dict[str, Any]()
    while inside:
        id = inside.varint()
        if id not in allowed:
            raise MalformedPacket("a property that has no place here")
        name, form = _TABLE[id]
        value = form.read(inside)
        if name in _REPEATED:
            values = found.setdefault(name, [])
            if len(values) >= MAX_REPEATED:
                raise TooManyProperties("more properties than are accepted here")
            values.append(value)
        elif name in found:
            raise ProtocolError("a property is given twice")
        else:
            found[name] = value
    for name in _REPEATED & found.keys():
        found[name] = tuple(found[name])
    return Properties(**found)


def write(properties: Properties) -> bytes:
    """The wire form of `properties`, with their length in front."""
    if properties is NONE:
        return b"\0"
    out = bytearray()
    for id, (name, form) in _TABLE.items():
        value = getattr(properties, name)
        if name in _REPEATED:
            for one in value:
                out += _byte(id) + form.write(one)
        elif value is not None:
            out += _byte(id) + form.write(value)
    return varint(len(out)) + bytes(out)


def forwarded(properties: Properties) -> Properties:
    """What a server passes on unaltered with a message (§3.3.2.3): all but expiry and alias."""
    if properties is NONE:
        return NONE
    kept = Properties(
        payload_format=properties.payload_format,
        content_type=properties.content_type,
        response_topic=properties.response_topic,
        correlation_data=properties.correlation_data,
        user=properties.user,
    )
    return NONE if kept == NONE else kept


def weight_of(properties: Properties) -> int:
    """Bytes that keeping these with a message costs, roughly."""
    if properties is NONE:
        return 0
    texts = (properties.content_type, properties.response_topic, properties.correlation_data)
    pairs = sum(len(name) + len(value) + _PAIR_OVERHEAD for name, value in properties.user)
    return _OVERHEAD + sum(len(text) for text in texts if text) + pairs
