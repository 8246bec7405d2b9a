"""What stands in each packet but PUBLISH, in both versions: one reader per kind. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from cardume.mqtt.codec.cursor import Body, MalformedPacket, ProtocolError
from cardume.mqtt.codec.packets import (
    LEVEL,
    LEVEL_5,
    NO_LOCAL,
    RETAIN_HANDLING,
    Auth,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Puback,
    Pubcomp,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
    Will,
)
from cardume.mqtt.codec.properties import (
    IN_ANSWER,
    IN_AUTH,
    IN_CONNACK,
    IN_CONNECT,
    IN_DISCONNECT,
    IN_SUBSCRIBE,
    IN_UNSUBSCRIBE,
    IN_WILL,
    NONE,
    Properties,
    read,
)
from cardume.mqtt.topics import SHARED, valid_filter, valid_topic

Reader = Callable[[Body], Packet]
Answer = TypeVar("Answer", Puback, Pubrec, Pubrel, Pubcomp)


def connect(body: Body) -> Connect:
    """CONNECT is the packet that says which version the others are in."""
    name = body.binary()
    if name not in (b"MQTT", b"MQIsdp"):
        raise MalformedPacket("no MQTT client")
    level = body.byte()
    if name == b"MQIsdp" or level not in (LEVEL, LEVEL_5):
        return Connect("", level=level if name == b"MQTT" else 3)
    five = level == LEVEL_5
    flags, keepalive = body.byte(), body.number()
    properties = read(body, IN_CONNECT) if five else NONE
    if properties.authentication_data is not None and properties.authentication_method is None:
        raise ProtocolError("authentication data without a method")  # §3.1.2.11.10
    client_id = body.text()
    will = None
    if flags & 0x04:
        will = _will(body, flags, five=five)
    elif flags & 0x38:
        raise MalformedPacket("will flags without a will")
    # §3.1.2.3; §3.1.2.9 of 3.1.1: no password without a user name
    if flags & 1 or (not five and flags & 0xC0 == 0x40):
        raise MalformedPacket("connect flags that exclude each other")
    username = body.text() if flags & 0x80 else None
    password = body.binary() if flags & 0x40 else None
    body.end()
    return Connect(
        client_id, flags & 2 != 0, keepalive, username, password, will, level, properties
    )


def _will(body: Body, flags: int, *, five: bool) -> Will:
    properties = read(body, IN_WILL) if five else NONE
    will = Will(body.text(), body.binary(), flags >> 3 & 3, flags & 0x20 != 0, properties)
    if will.qos == 3 or not valid_topic(will.topic):
        raise MalformedPacket("a will that cannot be published")
    return will


def _connack(allowed: frozenset[int] | None) -> Reader:
    def reading(body: Body) -> Connack:
        flags, code = body.byte(), body.byte()
        properties = _said(body, allowed)
        body.end()
        if flags > 1:
            raise MalformedPacket("reserved connack flags")
        return Connack(code, flags == 1, properties)

    return reading


def _said(body: Body, allowed: frozenset[int] | None) -> Properties:
    return NONE if allowed is None else read(body, allowed)


def _answer(kind: type[Answer]) -> Reader:
    def reading(body: Body) -> Answer:
        packet = kind(body.packet_id())
        body.end()
        return packet

    return reading


def _answer_5(kind: type[Answer]) -> Reader:
    def reading(body: Body) -> Answer:
        packet = kind(body.packet_id(), *_ended(body, IN_ANSWER))
        body.end()
        return packet

    return reading


def _ended(body: Body, allowed: frozenset[int]) -> tuple[int, Properties]:
    """§3.4.2.1: a reason that is left out is 0, properties that are left out are none."""
    reason = body.byte() if body else 0
    return reason, read(body, allowed) if body else NONE


def _subscribe(body: Body) -> Subscribe:
    packet_id, filters = body.packet_id(), []
    while body:
        name, qos = _filter(body), body.byte()
        if qos > 2:
            raise MalformedPacket("a QoS above 2")
        filters.append((name, qos))
    return Subscribe(packet_id, _some(filters))


def _subscribe_5(body: Body) -> Subscribe:
    packet_id, properties, filters = body.packet_id(), read(body, IN_SUBSCRIBE), []
    if len(properties.subscription_ids) > 1:  # §3.8.2.1.2
        raise ProtocolError("a SUBSCRIBE has one subscription identifier")
    while body:
        name, options = _filter(body), body.byte()
        if options & 0xC0 or options & 3 == 3:
            raise MalformedPacket("reserved subscription options")
        if options & RETAIN_HANDLING == RETAIN_HANDLING:
            raise ProtocolError("a retain handling above 2")
        if options & NO_LOCAL and name.startswith(SHARED):  # §3.8.3.1
            raise ProtocolError("no local, and yet shared")
        filters.append((name, options))
    return Subscribe(packet_id, _some(filters), properties)


def _suback(allowed: frozenset[int] | None) -> Reader:
    def reading(body: Body) -> Suback:
        packet_id, properties = body.packet_id(), _said(body, allowed)
        return Suback(packet_id, _rest(body), properties)

    return reading


def _unsubscribe(allowed: frozenset[int] | None) -> Reader:
    def reading(body: Body) -> Unsubscribe:
        packet_id, properties, filters = body.packet_id(), _said(body, allowed), []
        while body:
            filters.append(_filter(body))
        return Unsubscribe(packet_id, _some(filters), properties)

    return reading


def _unsuback(body: Body) -> Unsuback:
    packet_id = body.packet_id()
    body.end()
    return Unsuback(packet_id)


def _unsuback_5(body: Body) -> Unsuback:
    packet_id, properties = body.packet_id(), read(body, IN_ANSWER)
    return Unsuback(packet_id, _rest(body), properties)


def _disconnect_5(body: Body) -> Disconnect:
    packet = Disconnect(*_ended(body, IN_DISCONNECT))
    body.end()
    return packet


def _auth(body: Body) -> Auth:
    packet = Auth(*_ended(body, IN_AUTH))
    body.end()
    return packet


T = TypeVar("T")


def _some(filters: list[T]) -> tuple[T, ...]:
    if not filters:  # §3.8.3, §3.10.3
        raise MalformedPacket("a list of filters is empty")
    return tuple(filters)


def _rest(body: Body) -> tuple[int, ...]:
    codes = []
    while body:
        codes.append(body.byte())
    return tuple(codes)


def _filter(body: Body) -> str:
    name = body.text()
    if not valid_filter(name):
        raise MalformedPacket("not a topic filter")
    return name


def _empty(packet: Packet) -> Reader:
    def reading(body: Body) -> Packet:
        body.end()
        return packet

    return reading


# §2.1.3: the whole first byte, since every kind but PUBLISH has fixed flags.
READERS: Final[Mapping[int, Reader]] = {
    0x10: connect,
    0x20: _connack(None),
    0x40: _answer(Puback),
    0x50: _answer(Pubrec),
    0x62: _answer(Pubrel),
    0x70: _answer(Pubcomp),
    0x82: _subscribe,
    0x90: _suback(None),
    0xA2: _unsubscribe(None),
    0xB0: _unsuback,
    0xC0: _empty(Pingreq()),
    0xD0: _empty(Pingresp()),
    0xE0: _empty(Disconnect()),
}
READERS_5: Final[Mapping[int, Reader]] = {
    0x10: connect,
    0x20: _connack(IN_CONNACK),
    0x40: _answer_5(Puback),
    0x50: _answer_5(Pubrec),
    0x62: _answer_5(Pubrel),
    0x70: _answer_5(Pubcomp),
    0x82: _subscribe_5,
    0x90: _suback(IN_ANSWER),
    0xA2: _unsubscribe(IN_UNSUBSCRIBE),
    0xB0: _unsuback_5,
    0xC0: _empty(Pingreq()),
    0xD0: _empty(Pingresp()),
    0xE0: _disconnect_5,
    0xF0: _auth,
}
