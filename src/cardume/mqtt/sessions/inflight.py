"""Packet identifiers of QoS 1 and 2, in both directions (§4.3): what is under way, and how far."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cardume.mqtt.sessions.backlog import Parcel
from cardume.mqtt.sessions.message import Quota

if TYPE_CHECKING:
    from cardume.mqtt.uplink import Uplink

_RECEIVED_WEIGHT: Final = 64
"""Bytes that a remembered identifier costs."""


class Inflight:
    """To the client: sent, and not yet acknowledged for good."""

    __slots__ = ("_last_id", "_sent")

    def __init__(self) -> None:
        self._sent: dict[int, Parcel | None] = {}
        """None from PUBREC to PUBCOMP: the client has the message, its identifier is not free."""
        self._last_id = 0

    def __len__(self) -> int:
        return len(self._sent)

    def __contains__(self, packet_id: int) -> bool:
        return packet_id in self._sent

    def add(self, parcel: Parcel) -> int:
        """Its packet identifier. There is a free one: a window is far smaller than 65,535."""
        while True:
            self._last_id = self._last_id % 0xFFFF + 1
            if self._last_id not in self._sent:
                self._sent[self._last_id] = parcel
                return self._last_id

    def get(self, packet_id: int) -> Parcel | None:
        return self._sent.get(packet_id)

    def ids(self) -> list[int]:
        """In the order in which they were sent."""
        return list(self._sent)

    def parcels(self) -> list[Parcel]:
        return [parcel for parcel in self._sent.values() if parcel is not None]

    def free(self, packet_id: int) -> None:
        self._sent.pop(packet_id, None)

    def acknowledge(self, packet_id: int, qos: int) -> Parcel | None:
        """What PUBACK (QoS 1) or PUBREC (2) answers; None if nothing waits for that."""
        parcel = self._sent.get(packet_id)
        if parcel is None or parcel.qos != qos:
            return None
        if qos == 1:
            del self._sent[packet_id]
        else:
            self._sent[packet_id] = None
        return parcel

    def complete(self, packet_id: int) -> bool:
        """PUBCOMP: whether it ends something."""
        if self._sent.get(packet_id, self) is not None:
            return False
        del self._sent[packet_id]
        return True


class Received:
    """From the client: QoS 2 publishes that were taken, up to their PUBREL.

    While one is on its way to the handler, `pending` holds the connection that is to be told.
    """

    __slots__ = ("_room", "held", "pending")

    def __init__(self, room: Quota) -> None:
        self.pending: dict[int, Uplink] = {}
        self.held: set[int] = set()
        self._room = room

    def __len__(self) -> int:
        return len(self.pending) + len(self.held)

    def begin(self, packet_id: int, asker: Uplink) -> bool:
        """One more is on its way to the handler; False: there is no room to remember it."""
        if not self._room.take(_RECEIVED_WEIGHT):
            return False
        self.pending[packet_id] = asker
        return True

    def settle(self, packet_id: int, *, kept: bool) -> Uplink | None:
        """The handler is done with it; who is to be told."""
        asker = self.pending.pop(packet_id, None)
        if asker is not None:
            if kept:
                self.held.add(packet_id)
            else:
                self._room.give(_RECEIVED_WEIGHT)
        return asker

    def release(self, packet_id: int) -> bool:
        """PUBREL: whether it was remembered."""
        if packet_id not in self.held:
            return False
        self.held.discard(packet_id)
        self._room.give(_RECEIVED_WEIGHT)
        return True

    def clear(self) -> None:
        self._room.give(_RECEIVED_WEIGHT * len(self))
        self.pending.clear()
        self.held.clear()
