"""What a client that was let in says, and what it is answered: every packet but PUBLISH."""

from __future__ import annotations

from typing import Final

from cardume.mqtt.codec.encoder import encode
from cardume.mqtt.codec.packets import (
    LEVEL,
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
from cardume.mqtt.codec.reasons import REFUSED, Reason
from cardume.mqtt.host import TURN
from cardume.mqtt.uplink import Uplink

_PINGRESP: Final = encode(Pingresp())


class Dialogue(Uplink):
    """The controlling half of a connection."""

    __slots__ = ("_will",)

    _will: Will | None

    def _hear(self, packet: Packet) -> None:
        match packet:
            case Puback(packet_id, reason):
                self.session.acknowledge(packet_id, refused=reason >= REFUSED)
            case Pubrec(packet_id, reason):
                self._recorded(packet_id, reason)
            case Pubrel(packet_id):
                self._let_go(packet_id)
            case Pubcomp(packet_id):
                self.session.complete(packet_id)
            case Pingreq():
                self.send(_PINGRESP)
            case Subscribe():
                self._subscribe(packet)
            case Unsubscribe(packet_id, names):
                codes = self._host.broker.subscriptions.unsubscribe(self.session, names)
                self.answer(Unsuback(packet_id, codes))
            case Disconnect():
                self._disconnect(packet)
            case Connect():
                self.end("second_connect")
            case _:
                self.end("unexpected_packet")

    def _subscribe(self, packet: Subscribe) -> None:
        subscriptions = self._host.broker.subscriptions
        codes = subscriptions.subscribe(self.session, self.principal, packet)
        if self.terms.level == LEVEL:  # §3.9.3 of 3.1.1: one code for every no
            codes = tuple(min(code, REFUSED) for code in codes)
        self.answer(Suback(packet.packet_id, codes))
        self.session.pump()
        # A wildcard walks through all retained messages: one such walk per turn.
        self.hold(TURN)
        self._loop.call_soon(self.release, TURN)

    def _recorded(self, packet_id: int, reason: int) -> None:
        """PUBREC: it has a QoS 2 publish of ours, or will not take it."""
        session = self.session
        refused = reason >= REFUSED
        known = session.acknowledge(packet_id, 2, refused=refused)
        if not refused:
            known = known or session.awaits_completion(packet_id)
            self.answer(Pubrel(packet_id, Reason.SUCCESS if known else Reason.UNKNOWN_PACKET_ID))

    def _disconnect(self, packet: Disconnect) -> None:
        expiry = packet.properties.session_expiry
        if expiry is not None:
            if expiry and not self.session.expiry:  # §3.14.2.2.2
                self.end("protocol_error")
                return
            self.session.expiry = min(expiry, self._host.limits.session_expiry)
        if packet.reason == Reason.SUCCESS:
            self._will = None  # §3.14.4
        self.end("disconnect")
