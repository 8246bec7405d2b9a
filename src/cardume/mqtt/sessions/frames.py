"""A message in the form in which it goes out: encoded once for all who get it alike."""

from __future__ import annotations

from math import ceil

from msgspec.structs import replace

from cardume.clock import Clock
from cardume.mqtt.codec.encoder import encode_publish, publish_around_id
from cardume.mqtt.codec.packets import LEVEL_5, Publish
from cardume.mqtt.sessions.backlog import Parcel
from cardume.mqtt.sessions.message import NEVER, Message


class Frames:
    """One message on its way to many sessions, within one turn of the loop."""

    __slots__ = ("_around", "_clock", "_parcels", "_zeros", "message")

    def __init__(self, message: Message, clock: Clock) -> None:
        self.message = message
        self._clock = clock
        self._parcels: dict[int, Parcel] = {}
        self._around: dict[int, tuple[bytes, bytes]] = {}
        self._zeros: dict[int, bytes] = {}

    def parcel(self, qos: int, *, retain: bool) -> Parcel:
        """What every session gets that has no identifiers, and nobody asks after."""
        key = qos << 1 | retain
        parcel = self._parcels.get(key)
        if parcel is None:
            message = self.message
            parcel = self._parcels[key] = Parcel(message, qos, message.weight, retain)
        return parcel

    def zero(self, level: int, retain: bool) -> bytes:
        """The same at QoS 0, which most fan-out is."""
        key = level << 1 | retain
        frame = self._zeros.get(key)
        if frame is None:
            frame = self._zeros[key] = self.frame(self.parcel(0, retain=retain), level, 0)
        return frame

    def frame(self, parcel: Parcel, level: int, packet_id: int) -> bytes:
        """The PUBLISH that brings `parcel`, which is of this message."""
        if parcel.ids:
            return frame_of(parcel, level, self._clock, packet_id)
        key = level << 3 | parcel.qos << 1 | parcel.retain
        around = self._around.get(key)
        if around is None:
            packet = _publish(parcel, level, self._clock, packet_id, dup=False)
            around = self._around[key] = publish_around_id(packet, level)
        before, after = around
        return before + packet_id.to_bytes(2, "big") + after if packet_id else before + after


def frame_of(
    parcel: Parcel, level: int, clock: Clock, packet_id: int = 0, *, dup: bool = False
) -> bytes:
    """The PUBLISH that brings `parcel` now."""
    return encode_publish(_publish(parcel, level, clock, packet_id, dup=dup), level)


def _publish(parcel: Parcel, level: int, clock: Clock, packet_id: int, *, dup: bool) -> Publish:
    message = parcel.message
    properties = message.properties
    if level == LEVEL_5:
        if parcel.ids:
            properties = replace(properties, subscription_ids=parcel.ids)
        if message.expires != NEVER:
            left = max(0, ceil(message.expires - clock.monotonic()))
            properties = replace(properties, message_expiry=left)
    return Publish(
        message.topic, message.payload, parcel.qos, parcel.retain, dup, packet_id, properties
    )
