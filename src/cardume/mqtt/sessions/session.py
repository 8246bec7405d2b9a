"""What the server remembers of one client, §4.1: subscriptions and what is owed to it."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from cardume.mqtt.codec.packets import AS_PUBLISHED, Will
from cardume.mqtt.ports import Delivery, session_name
from cardume.mqtt.sessions.depot import Depot
from cardume.mqtt.sessions.frames import Frames
from cardume.mqtt.sessions.inflight import Received
from cardume.mqtt.sessions.message import NEVER
from cardume.mqtt.sessions.outlet import Outlet
from cardume.mqtt.sessions.receipts import Receipt
from cardume.mqtt.sessions.sending import Sending
from cardume.mqtt.topics import matches, split_shared


class Session(Sending):
    """One (user, client id). Nothing here awaits: it writes to its outlet or keeps.

    Most are idle, so what waits and what is under way is allocated when there is something.
    """

    __slots__ = (
        "client_id",
        "ends",
        "expiry",
        "received",
        "subscriptions",
        "user",
        "will",
        "will_due",
    )

    def __init__(self, user: str, client_id: str, *, depot: Depot, expiry: int = 0) -> None:
        super().__init__(session_name(user, client_id), depot)
        self.user = user
        self.client_id = client_id
        self.expiry = expiry
        """Seconds it outlives its connection."""
        self.subscriptions: dict[str, int] = {}
        """Filters, and what was granted: see `topics.LOCAL`."""
        self.received: Received | None = None
        self.ends = NEVER
        self.will: Will | None = None
        """Of a client that is away, while its delay runs (5.0 §3.1.3.2.2)."""
        self.will_due = NEVER

    def attach(self, outlet: Outlet) -> None:
        """The client is here. What it had not acknowledged goes first, with DUP (§4.4)."""
        self.outlet = outlet
        if self._inflight:
            self._resend = self._inflight.ids()[::-1]

    def detach(self) -> None:
        """The client is gone; QoS 1 and 2 messages wait for it."""
        self.outlet = None
        self._owed.clear()
        self._resend.clear()
        self._drop_unless_tracked()

    def discard(self) -> None:
        """Forget everything, and give back the room it took."""
        if self._backlog is not None:
            self._let_go(list(self._backlog), Delivery.DROPPED)
        if self._inflight is not None:
            self._let_go(self._inflight.parcels(), Delivery.DROPPED)
        if self.received is not None:
            self.received.clear()
        self._backlog = self._inflight = self.received = None

    def receiving(self) -> Received:
        """Its QoS 2 publishes that are not released."""
        if self.received is None:
            self.received = Received(self._depot.room)
        return self.received

    # -- what it is to get -------------------------------------------------------------------------

    def owe(self, topics: Iterable[tuple[str, int]]) -> None:
        """Deliver the retained messages of `topics` as room allows, at most at this QoS."""
        self._owed.update(topics)

    def deliver(
        self, frames: Frames, grant: int, *, shared: str = "", receipt: Receipt | None = None
    ) -> None:
        """Deliver now, or when the client can take it; at QoS 0 only if it is here.

        `shared` is the subscription of a group that it is delivered for.
        """
        message, outlet = frames.message, self.outlet
        qos = grant & 3
        if message.qos < qos:
            qos = message.qos
        retain = message.retain and grant & AS_PUBLISHED != 0
        plain = self.identifiers is None and receipt is None and self._backlog is None
        if plain and not qos and outlet is not None and not outlet.choked:
            # Most fan-out: half a microsecond, where what follows takes a whole one.
            self._transmit(outlet, frames.zero(outlet.terms.level, retain))
            return
        parcel = frames.parcel(qos, retain=retain)
        if self.identifiers is not None:
            parcel = replace(parcel, ids=self._ids(message.topic, shared))
        if receipt is not None:
            parcel = replace(parcel, receipt=receipt)
            receipt.kept()
        if outlet is None and not qos:
            self._depot.rejects.note("qos0_while_away", self.name)
            if receipt is not None:
                receipt.ended(Delivery.DROPPED)
        elif outlet is not None and self._is_next(outlet, qos) and (not qos or self._take(parcel)):
            self._send(outlet, parcel, frames)
        elif self._keep(parcel):
            self.pump()

    def forget_unsubscribed(self) -> None:
        """Drop what waits for a subscription that is no more."""
        self._owed = {t: qos for t, qos in self._owed.items() if self._selects(t)}
        if self._backlog is not None:
            gone = self._backlog.take_unless(lambda parcel: self._selects(parcel.message.topic))
            self._let_go(gone, Delivery.DROPPED)

    # -- what the client answers -------------------------------------------------------------------

    def acknowledge(self, packet_id: int, qos: int = 1, *, refused: bool = False) -> bool:
        """The client has it (PUBACK, PUBREC). False: nothing outstanding has this identifier."""
        inflight = self._inflight
        parcel = None if inflight is None else inflight.acknowledge(packet_id, qos)
        if inflight is None or parcel is None:
            return False
        if refused:
            inflight.free(packet_id)
        self._resend_no_more(packet_id)
        self._answer_for(parcel, -1)
        if parcel.receipt is not None:
            parcel.receipt.ended(Delivery.REJECTED if refused else Delivery.ACKNOWLEDGED)
        if qos == 1 or refused:
            self.pump()
        return True

    def awaits_completion(self, packet_id: int) -> bool:
        """Whether a PUBREC for this identifier was answered before."""
        inflight = self._inflight
        return inflight is not None and packet_id in inflight and inflight.get(packet_id) is None

    def complete(self, packet_id: int) -> None:
        """The client has let go of it (PUBCOMP)."""
        if self._inflight is not None and self._inflight.complete(packet_id):
            self._resend_no_more(packet_id)
            self.pump()

    def _selects(self, topic: str) -> bool:
        return any(matches(split_shared(name)[1], topic) for name in self.subscriptions)
