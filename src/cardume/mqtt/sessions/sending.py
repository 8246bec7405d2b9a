"""What goes out to a client, and in which order: the earlier ones again, then what is retained,
then what waits; never more at a time than it takes.
"""

from __future__ import annotations

from cardume.mqtt.codec.encoder import encode
from cardume.mqtt.codec.packets import Pubrel
from cardume.mqtt.ports import Delivery
from cardume.mqtt.sessions.backlog import Parcel
from cardume.mqtt.sessions.depot import Depot, Shelf
from cardume.mqtt.sessions.frames import Frames, frame_of
from cardume.mqtt.sessions.inflight import Inflight
from cardume.mqtt.sessions.outlet import Outlet
from cardume.mqtt.topics import matches


class Sending(Shelf):
    """The sending half of a session."""

    __slots__ = ("_inflight", "_owed", "_resend", "identifiers", "outlet")

    def __init__(self, name: str, depot: Depot) -> None:
        super().__init__(name, depot)
        self.outlet: Outlet | None = None
        self.identifiers: dict[str, int] | None = None
        """Those of its subscriptions that have one."""
        self._inflight: Inflight | None = None
        self._resend: list[int] = []
        """Identifiers, the next one last."""
        self._owed: dict[str, int] = {}
        """Topics whose retained message it is to get, and the QoS at most."""

    def pump(self) -> None:
        """Send what is waiting, as far as the client and the window allow."""
        outlet = self.outlet
        if outlet is not None:
            while not outlet.choked and self._step(outlet):
                pass

    def _step(self, outlet: Outlet) -> bool:
        """Send one; False: nothing can be sent now. QoS 0 does not wait for a full window."""
        backlog = self._backlog
        if self._resend:
            if self._send_again(outlet, self._resend[-1]):
                return True
        elif self._owed:
            if self._step_owed(outlet):
                return True
        elif backlog and backlog.tracked and self._is_open(outlet):
            self._send_waiting(outlet, backlog.tracked.popleft())
            return True
        if backlog and backlog.zeros:
            self._send_waiting(outlet, backlog.zeros.popleft())
            return True
        if not backlog:
            self._backlog = None
        return False

    def _is_open(self, outlet: Outlet) -> bool:
        """Whether it takes one more; what is to be sent again has not been sent to this outlet."""
        inflight = self._inflight
        return inflight is None or len(inflight) - len(self._resend) < outlet.terms.window

    def _is_next(self, outlet: Outlet, qos: int) -> bool:
        """Whether a new message may go out before anything that waits."""
        backlog = self._backlog
        if outlet.choked:
            return False
        if not qos:
            return backlog is None or not backlog.zeros
        return not (backlog or self._resend or self._owed) and self._is_open(outlet)

    def _step_owed(self, outlet: Outlet) -> bool:
        topic, granted = next(iter(self._owed.items()))
        message = self._depot.retained.get(topic)
        qos = min(granted & 3, message.qos) if message is not None else 0
        if qos and not self._is_open(outlet):
            return False
        del self._owed[topic]
        if message is not None:
            # It weighs nothing here: the store answers for it already.
            ids = () if self.identifiers is None else self._ids(topic, "")
            self._send(outlet, Parcel(message, qos, 0, True, ids))
        return True

    def _send_waiting(self, outlet: Outlet, parcel: Parcel) -> None:
        if parcel.expired(self._depot.clock.monotonic()):
            self._drop((parcel,), "message_expired", Delivery.EXPIRED)
            return
        if not parcel.qos:
            self._answer_for(parcel, -1)
        self._send(outlet, parcel)

    def _send(self, outlet: Outlet, parcel: Parcel, frames: Frames | None = None) -> None:
        """Send for the first time; what is to be acknowledged has been taken into account."""
        packet_id = 0
        if parcel.qos:
            if self._inflight is None:
                self._inflight = Inflight()
            packet_id = self._inflight.add(parcel)
        level = outlet.terms.level
        if frames is None:
            frame = frame_of(parcel, level, self._depot.clock, packet_id)
        else:
            frame = frames.frame(parcel, level, packet_id)
        if self._transmit(outlet, frame):
            if parcel.receipt is not None:
                parcel.receipt.written(final=not parcel.qos)
            return
        if self._inflight is not None and packet_id:
            self._inflight.free(packet_id)
            self._answer_for(parcel, -1)
        if parcel.receipt is not None:
            parcel.receipt.ended(Delivery.DROPPED)

    def _send_again(self, outlet: Outlet, packet_id: int) -> bool:
        """PUBLISH, or PUBREL if that is the step it broke off at; False: it has to wait."""
        assert self._inflight is not None
        parcel = self._inflight.get(packet_id)
        if parcel is not None and not self._is_open(outlet):
            return False
        self._resend.pop()
        if parcel is None:
            outlet.send(encode(Pubrel(packet_id)))
        elif parcel.qos == 1 and parcel.expired(self._depot.clock.monotonic()):
            # A command that is too late must not be obeyed. At QoS 2 it has to be sent: the
            # client may remember the identifier, and would take the next message for this one.
            self._inflight.free(packet_id)
            self._drop((parcel,), "message_expired", Delivery.EXPIRED)
        else:
            level = outlet.terms.level
            outlet.send(frame_of(parcel, level, self._depot.clock, packet_id, dup=True))
            self._depot.sent += 1
        return True

    def _resend_no_more(self, packet_id: int) -> None:
        """It was answered late, for what an earlier connection brought."""
        if self._resend and packet_id not in (self._inflight or ()):
            self._resend = [id for id in self._resend if id != packet_id]

    def _transmit(self, outlet: Outlet, frame: bytes) -> bool:
        """Whether the client takes packets of this size."""
        if not outlet.terms.fits(len(frame)):
            self._depot.rejects.note("over_client_limit", self.name)
            return False
        outlet.send(frame)
        self._depot.sent += 1
        return True

    def _ids(self, topic: str, shared: str) -> tuple[int, ...]:
        held = self.identifiers or {}
        if shared:
            return (held[shared],) if shared in held else ()
        # A shared subscription's copy travels by itself; it begins with a $ and matches nothing.
        return tuple(id for name, id in held.items() if matches(name, topic))
