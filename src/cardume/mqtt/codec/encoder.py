"""Packets in, bytes out. Pure."""

from __future__ import annotations

from cardume.mqtt.codec.cursor import prefixed, text, varint
from cardume.mqtt.codec.packets import (
    LEVEL,
    LEVEL_5,
    Auth,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
)
from cardume.mqtt.codec.properties import NONE, Properties, write

_ANSWERS = {Puback: 0x40, Pubrec: 0x50, Pubrel: 0x62, Pubcomp: 0x70}


def encode_publish(packet: Publish, level: int = LEVEL) -> bytes:
    """The wire form of a PUBLISH; the other kinds go through `encode`."""
    before, after = publish_around_id(packet, level)
    return before + packet.packet_id.to_bytes(2, "big") + after if packet.qos else before + after


def publish_around_id(packet: Publish, level: int = LEVEL) -> tuple[bytes, bytes]:
    """A PUBLISH up to its packet identifier, and from there on: the same for all who get it."""
    topic = packet.topic.encode()
    first = 0x30 | packet.dup << 3 | packet.qos << 1 | packet.retain
    after = packet.payload
    if level == LEVEL_5:
        after = write(packet.properties) + after
    remaining = 2 + len(topic) + (2 if packet.qos else 0) + len(after)
    return bytes((first,)) + varint(remaining) + len(topic).to_bytes(2, "big") + topic, after


def encode(packet: Packet, level: int = LEVEL) -> bytes:
    """The wire form of any packet in the version with this protocol level.

    Raises:
        Invalid: a string is longer than 65,535 bytes, or the whole than 256 MiB.
    """
    match packet:
        case Publish():
            return encode_publish(packet, level)
        case Puback() | Pubrec() | Pubrel() | Pubcomp():
            return _answer(packet, level)
        case Connect():
            return _frame(0x10, _connect(packet))
        case Connack(code, present, properties):
            return _frame(0x20, bytes((present, code)) + _said(properties, level))
        case Subscribe(packet_id, asked, properties):
            body = b"".join(text(name) + bytes((options,)) for name, options in asked)
            return _frame(0x82, _headed(packet_id, properties, level) + body)
        case Suback(packet_id, codes, properties):
            return _frame(0x90, _headed(packet_id, properties, level) + bytes(codes))
        case Unsubscribe(packet_id, names, properties):
            body = b"".join(map(text, names))
            return _frame(0xA2, _headed(packet_id, properties, level) + body)
        case Unsuback(packet_id, codes, properties):
            body = bytes(codes) if level == LEVEL_5 else b""
            return _frame(0xB0, _headed(packet_id, properties, level) + body)
        case Pingreq():
            return b"\xc0\x00"
        case Pingresp():
            return b"\xd0\x00"
        case Disconnect(reason, properties):
            return _frame(0xE0, _ended(reason, properties) if level == LEVEL_5 else b"")
        case Auth(reason, properties):
            return _frame(0xF0, _ended(reason, properties))


def _answer(packet: Puback | Pubrec | Pubrel | Pubcomp, level: int) -> bytes:
    id = packet.packet_id.to_bytes(2, "big")
    if level != LEVEL_5 or not (packet.reason or packet.properties is not NONE):
        return b"%c\x02%b" % (_ANSWERS[type(packet)], id)
    return _frame(_ANSWERS[type(packet)], id + _ended(packet.reason, packet.properties))


def _ended(reason: int, properties: Properties) -> bytes:
    """§3.4.2.1, §3.14.2.1: what is left out means 0, and nothing."""
    if properties is NONE:
        return bytes((reason,)) if reason else b""
    return bytes((reason,)) + write(properties)


def _headed(packet_id: int, properties: Properties, level: int) -> bytes:
    return packet_id.to_bytes(2, "big") + _said(properties, level)


def _said(properties: Properties, level: int) -> bytes:
    return write(properties) if level == LEVEL_5 else b""


def _frame(first: int, body: bytes) -> bytes:
    return bytes((first,)) + varint(len(body)) + body


def _connect(packet: Connect) -> bytes:
    will, flags = packet.will, packet.clean << 1
    tail = _said(packet.properties, packet.level) + text(packet.client_id)
    if will is not None:
        flags |= 0x04 | will.qos << 3 | will.retain << 5
        tail += _said(will.properties, packet.level) + text(will.topic) + prefixed(will.payload)
    if packet.username is not None:
        flags |= 0x80
        tail += text(packet.username)
    if packet.password is not None:
        flags |= 0x40
        tail += prefixed(packet.password)
    head = text("MQTT") + bytes((packet.level, flags))
    return head + packet.keepalive.to_bytes(2, "big") + tail
