"""What a client publishes, from PUBLISH to its last acknowledgement.

The handler keeps a message first, then it is routed and acknowledged, in the order in which the
publishes came (§4.6). At QoS 2 the session remembers the identifier until PUBREL, so a message that
comes twice is offered once.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import Final

from cardume.mqtt.codec.encoder import encode
from cardume.mqtt.codec.packets import LEVEL, Packet, Puback, Pubcomp, Publish, Pubrec
from cardume.mqtt.codec.properties import NONE, Properties, forwarded
from cardume.mqtt.codec.reasons import Reason
from cardume.mqtt.doors.wire import Wire
from cardume.mqtt.host import ACKS, INTAKE, Host, State
from cardume.mqtt.ports import Inbound, Principal
from cardume.mqtt.sessions.aliases import Aliases, AliasFault
from cardume.mqtt.sessions.message import NEVER, Message
from cardume.mqtt.sessions.outlet import Terms
from cardume.mqtt.sessions.session import Session

_MAX_DEFERRED: Final = 256


class Uplink(Wire):
    """The publishing half of a connection."""

    __slots__ = (
        "_aliases",
        "_deferred",
        "_host",
        "_offered",
        "_settled",
        "_underway",
        "principal",
        "session",
        "state",
        "terms",
    )

    principal: Principal
    session: Session
    terms: Terms
    state: State

    def __init__(self, host: Host) -> None:
        super().__init__(host.loop, host.view, host.limits.outbound)
        self._host = host
        self._offered = self._settled = 0
        self._deferred: deque[tuple[int, bytes]] | None = None
        """Answers that wait for those of earlier publishes: how many, and the bytes."""
        self._aliases: Aliases | None = None
        self._underway = 0
        """QoS 1 and 2 publishes of an MQTT 5 client that are not yet acknowledged."""

    def end(self, reason: str) -> None:
        raise NotImplementedError

    def release(self, why: int) -> None:
        raise NotImplementedError

    @property
    def is_open(self) -> bool:
        return self.state is State.OPEN

    def answer(self, packet: Packet) -> None:
        """Send in the client's version. What it could not take is the end (5.0 §3.1.2.11.4)."""
        data = encode(packet, self.terms.level)
        if self.terms.fits(len(data)):
            self.send(data)
        else:
            self.end("over_client_limit")

    # -- in ----------------------------------------------------------------------------------------

    def _publish(self, packet: Publish) -> None:
        host, principal, qos = self._host, self.principal, packet.qos
        topic, properties = packet.topic, packet.properties
        if properties is not NONE:
            named = self._named(topic, properties)
            if named is None:
                return
            topic = named
        if len(packet.payload) > host.limits.max_payload:
            self.end("payload_too_large")
            return
        host.received += 1
        if qos and self.terms.level != LEVEL and not self._may_have_more():
            return
        if not principal.may_publish(topic):
            self._deny(packet)
            return
        if qos == 2 and not self._is_first(packet.packet_id):
            return
        message = Inbound(
            topic,
            packet.payload,
            qos,
            packet.dup,
            False,
            self.session.name,
            packet.packet_id or None,
            principal.name,
            host.clock.now(),
        )
        self._offered += 1
        settle = self._kept_retained if packet.retain else self._kept
        if properties is not NONE:
            settle = partial(self._kept_with, packet, self._expires(properties))
        if not host.intake.offer(message, settle):
            self.hold(INTAKE)
            host.intake.when_roomy(self._roomy)

    def _named(self, topic: str, properties: Properties) -> str | None:
        """The topic, also of a publish that says only its alias; None: that was the end."""
        if properties.subscription_ids:  # §3.3.4: for servers to say
            self.end("protocol_error")
            return None
        if properties.topic_alias is None:
            return topic
        limits = self._host.limits
        if self._aliases is None:
            self._aliases = Aliases(limits.topic_aliases, limits.alias_bytes)
        try:
            return self._aliases.resolve(properties.topic_alias, topic)
        except AliasFault as fault:
            self.end(fault.reason)
            return None

    def _may_have_more(self) -> bool:
        """§3.3.4: whoever has more under way than we said has not listened."""
        self._underway += 1
        if self._underway <= self._host.limits.receive_maximum:
            return True
        self.end("receive_maximum")
        return False

    def _expires(self, properties: Properties) -> float:
        if properties.message_expiry is None:
            return NEVER
        return self._host.clock.monotonic() + properties.message_expiry

    # -- QoS 2 -------------------------------------------------------------------------------------

    def _is_first(self, packet_id: int) -> bool:
        """Whether a QoS 2 publish is new. One that is not is answered like the first."""
        received = self.session.receiving()
        if packet_id in received.held:
            self._answer_in_turn(encode(Pubrec(packet_id)))
            return False
        if packet_id in received.pending:
            received.pending[packet_id] = self
            return False
        full = len(received) >= self._host.limits.max_received
        if full or not received.begin(packet_id, self):
            self.end("receive_maximum")
            return False
        return True

    def _let_go(self, packet_id: int) -> None:
        """PUBREL: the identifier may be used for another message."""
        received = self.session.received
        known = received is not None and received.release(packet_id)
        if not received:
            self.session.received = None
        self._underway -= self._underway > 0
        self.answer(Pubcomp(packet_id, Reason.SUCCESS if known else Reason.UNKNOWN_PACKET_ID))

    # -- what became of a message ------------------------------------------------------------------

    def _kept(self, message: Inbound, kept: bool) -> None:
        self._settle(message, kept, Message(message.topic, message.payload, message.qos))

    def _kept_retained(self, message: Inbound, kept: bool) -> None:
        self._settle(message, kept, Message(message.topic, message.payload, message.qos, True))

    def _kept_with(self, packet: Publish, expires: float, message: Inbound, kept: bool) -> None:
        said = forwarded(packet.properties)
        parts = message.topic, message.payload, message.qos, packet.retain
        self._settle(message, kept, Message(*parts, said, expires))

    def _settle(self, message: Inbound, kept: bool, routed: Message) -> None:
        self._settled += 1
        id, asker = message.packet_id, self
        if message.qos == 2 and id is not None and self.session.received is not None:
            # It may have come again, over another connection of the session.
            asker = self.session.received.settle(id, kept=kept) or self
        if kept:
            self._host.broker.publish(routed, self.session)
        if asker.is_open:
            if kept and message.qos == 1 and asker.terms.level == LEVEL and id is not None:
                self.send(b"\x40\x02" + id.to_bytes(2, "big"))
            else:
                asker.acknowledge(message, kept=kept)
        if self._deferred:
            self._answer_deferred()

    def acknowledge(self, message: Inbound, *, kept: bool) -> None:
        """Tell the client what became of its message."""
        qos, id = message.qos, message.packet_id
        if not kept:
            if id is None or self.terms.level == LEVEL:
                self.end("poisoned")  # 3.1.1 has no other way to say no
                return
            self._host.rejects.note("poisoned", self.session.name)
        if id is None:
            return
        if qos == 1 or not kept:
            self._underway -= self._underway > 0
        if not kept:
            self.answer((Puback if qos == 1 else Pubrec)(id, Reason.NOT_ACCEPTED))
        else:
            self.send((b"\x40\x02" if qos == 1 else b"\x50\x02") + id.to_bytes(2, "big"))

    def _deny(self, packet: Publish) -> None:
        """A topic it may not write to.

        In 3.1.1 acknowledged and dropped, as mosquitto does: closing would make it loop.
        """
        self._host.rejects.note("forbidden_topic", self.session.name)
        if packet.qos:
            self._underway -= self._underway > 0
            kind = Puback if packet.qos == 1 else Pubrec
            no = kind(packet.packet_id, Reason.NOT_AUTHORIZED)
            self._answer_in_turn(encode(no, self.terms.level))

    def _answer_in_turn(self, data: bytes) -> None:
        """§4.6: acknowledgements leave in the order of their PUBLISHes, all of them."""
        if self._deferred is None:
            self._deferred = deque()
        self._deferred.append((self._offered, data))
        self._answer_deferred()
        if len(self._deferred or ()) >= _MAX_DEFERRED:
            self.hold(ACKS)

    def _answer_deferred(self) -> None:
        deferred = self._deferred
        if deferred is None:
            return
        while deferred and deferred[0][0] <= self._settled:
            self.send(deferred.popleft()[1])
        if not deferred:
            self._deferred = None
            if self._held & ACKS:
                self._loop.call_soon(self.release, ACKS)

    def _roomy(self) -> None:
        self.release(INTAKE)
