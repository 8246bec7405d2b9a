"""Where messages wait for clients: what all sessions draw from, and one session's share of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from cardume.clock import Clock
from cardume.hub.rejects import Rejects
from cardume.mqtt.limits import Limits
from cardume.mqtt.ports import Delivery
from cardume.mqtt.retained import Retained
from cardume.mqtt.sessions.backlog import Backlog, Parcel
from cardume.mqtt.sessions.message import Quota


@dataclass(slots=True)
class Depot:
    """What all sessions draw from."""

    limits: Limits
    rejects: Rejects
    retained: Retained
    room: Quota
    clock: Clock
    sent: int = field(default=0)
    """Publishes written to clients."""


class Shelf:
    """One session's backlog within its bounds, and what its messages weigh until acknowledged."""

    __slots__ = ("_backlog", "_depot", "_weight", "name")

    def __init__(self, name: str, depot: Depot) -> None:
        self.name = name
        self._depot = depot
        self._backlog: Backlog | None = None
        self._weight = 0

    def _keep(self, parcel: Parcel) -> bool:
        """Put it behind the others, whatever may be dropped for it; False: no room."""
        while not self._has_room(parcel):
            if not self._make_room():
                reason = "session_queue_full" if parcel.qos else "qos0_slow_reader"
                self._depot.rejects.note(reason, self.name)
                if parcel.receipt is not None:
                    parcel.receipt.ended(Delivery.DROPPED)
                return False
        self._answer_for(parcel, 1)
        if self._backlog is None:
            self._backlog = Backlog()
        self._backlog.add(parcel)
        return True

    def _has_room(self, parcel: Parcel) -> bool:
        limits = self._depot.limits
        # At QoS 0 it waits for the connection, whose transport holds a part of its bound already.
        most = limits.session_bytes if parcel.qos else limits.outbound // 2
        return (
            len(self._backlog or ()) < limits.session_messages
            and self._weight + parcel.weight <= most
            and self._depot.room.has(parcel.weight)
        )

    def _take(self, parcel: Parcel) -> bool:
        """Answer for a message that goes out at once; False: there is no room."""
        if not self._has_room(parcel):
            return False
        self._answer_for(parcel, 1)
        return True

    def _answer_for(self, parcel: Parcel, sign: int) -> None:
        """From now on (1), or no longer (-1)."""
        self._weight += sign * parcel.weight
        self._depot.room.used += sign * parcel.weight

    def _make_room(self) -> bool:
        """Drop what is worth least; whether there was something."""
        backlog = self._backlog
        if backlog is None:
            return False
        expired = backlog.take_expired(self._depot.clock.monotonic())
        if expired:
            self._drop(expired, "message_expired", Delivery.EXPIRED)
        elif backlog.zeros:
            self._drop((backlog.zeros.popleft(),), "qos0_slow_reader", Delivery.DROPPED)
        else:
            return False
        return True

    def _drop_unless_tracked(self) -> None:
        if self._backlog is not None and self._backlog.zeros:
            gone = self._backlog.take_unless(lambda parcel: parcel.qos > 0)
            self._drop(gone, "qos0_while_away", Delivery.DROPPED)

    def _drop(self, parcels: Iterable[Parcel], why: str, how: Delivery) -> None:
        self._depot.rejects.note(why, self.name, count=self._let_go(parcels, how))

    def _let_go(self, parcels: Iterable[Parcel], how: Delivery) -> int:
        """Answer for them no longer; how many they are."""
        count = 0
        for count, parcel in enumerate(parcels, 1):  # noqa: B007
            self._answer_for(parcel, -1)
            if parcel.receipt is not None:
                parcel.receipt.ended(how)
        return count
