"""One client: its packets in order, its acknowledgements, its will, its end."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from typing import Final

from cardume.mqtt.decoder import BadPacket, Decoder
from cardume.mqtt.host import ACKS, CHOKED, ENDED, INTAKE, LOGIN, TURN, Host, State
from cardume.mqtt.login import Refusal
from cardume.mqtt.packets import (
    LEVEL,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Puback,
    Publish,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
    Will,
    encode,
)
from cardume.mqtt.ports import Inbound, Principal
from cardume.mqtt.sessions import Session
from cardume.mqtt.wire import Wire

log = logging.getLogger("cardume.mqtt")

_PINGRESP: Final = encode(Pingresp())
_MAX_DEFERRED: Final = 256
_QUIET: Final = frozenset({"disconnect", "lost", "stopping", "disconnected_by_us"})
"""Ends that are nobody's fault and are not counted among the rejects."""


class Connection(Wire):
    """NEW → LOGIN → OPEN → ENDED; only `receive`, `admit`, `refuse` and `end` move it on.

    A client is handled synchronously while nothing is in its way. Whatever is (a login, a full
    intake, its own unread answers) holds its reading, and packets already decoded are parked.
    """

    __slots__ = (
        "_decoder",
        "_deferred",
        "_fault",
        "_heard",
        "_host",
        "_login",
        "_made",
        "_offered",
        "_parked",
        "_patience",
        "_settled",
        "_stalled",
        "_will",
        "peer",
        "principal",
        "session",
        "state",
    )

    principal: Principal
    session: Session

    def __init__(self, host: Host) -> None:
        super().__init__(host.loop, host.view, host.limits.outbound)
        self.state = State.NEW
        self.peer = "?"
        self._host = host
        self._decoder = Decoder(host.limits.max_packet, max_connect_size=host.limits.max_connect)
        self._made = self._heard = host.clock.monotonic()
        self._stalled = 0.0
        self._patience = 0.0
        self._parked: list[Packet] = []
        self._fault: str | None = None
        self._login: asyncio.Task[None] | None = None
        self._will: Will | None = None
        self._offered = self._settled = 0
        self._deferred: deque[tuple[int, int]] = deque()

    # -- the transport's side ----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        address = transport.get_extra_info("peername")
        if isinstance(address, tuple):
            self.peer = f"{address[0]}:{address[1]}"
        self._host.arm(self, self._made + self._host.limits.connect_timeout)

    def receive(self, data: bytes) -> None:
        """Bytes from the client, in order."""
        if self.state is State.ENDED:
            return
        self._heard = self._host.clock.monotonic()
        if self.state is State.NEW and not self._decoder.partial and data[0] != 0x10:
            self.end("no_connect")  # §3.1.0.1, told from the first byte
            return
        try:
            packets = self._decoder.feed(data)
        except BadPacket as bad:
            packets = bad.before
            self._fault = bad.reason
        if self._held:  # a transport may deliver what it had already read
            self._parked += packets
        else:
            self._work(packets)

    def pause_writing(self) -> None:
        # Who does not read our answers is not asked for more to answer.
        self._choked = True
        self._stalled = self._host.clock.monotonic()
        if self.state is State.OPEN:
            self.hold(CHOKED)
            self._host.arm(self, self._deadline(self._stalled)[0])

    def resume_writing(self) -> None:
        self._choked = False
        if self.state is State.OPEN:
            self.session.pump()
            if not self._choked:
                self.release(CHOKED)

    def connection_lost(self, exc: Exception | None) -> None:
        self.end("lost")
        self._out.clear()
        self._host.lost(self)

    # -- packets -----------------------------------------------------------------------------------

    def _work(self, packets: list[Packet]) -> None:
        try:
            for place, packet in enumerate(packets):
                if type(packet) is Publish and self.state is State.OPEN:
                    self._publish(packet)
                else:
                    self._control(packet)
                if self._held:
                    if self.state is not State.ENDED:
                        self._parked = packets[place + 1 :]
                    return
        except Exception as error:
            self._host.faults.note("an MQTT connection", error)
            self.end("internal_error")
            return
        if self._fault is not None:
            self.end(self._fault)

    def _publish(self, packet: Publish) -> None:
        host, principal, qos = self._host, self.principal, packet.qos
        if qos == 2:
            self.end("qos2")
            return
        if len(packet.payload) > host.limits.max_payload:
            self.end("payload_too_large")
            return
        host.received += 1
        if not principal.may_publish(packet.topic):
            # Acknowledged and dropped, as mosquitto does: closing would make the device loop.
            host.rejects.note("forbidden_topic", self.session.name)
            if qos:
                self._acknowledge_in_turn(packet.packet_id)
            return
        message = Inbound(
            packet.topic,
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
        if not host.intake.offer(message, self._kept_retained if packet.retain else self._kept):
            self.hold(INTAKE)
            host.intake.when_roomy(self._roomy)

    def _control(self, packet: Packet) -> None:
        if self.state is State.NEW:
            if isinstance(packet, Connect):
                self._connect(packet)
            else:
                self.end("no_connect")
            return
        match packet:
            case Puback(packet_id):
                self.session.acknowledge(packet_id)
            case Pingreq():
                self.send(_PINGRESP)
            case Subscribe(packet_id, filters):
                codes = self._host.broker.subscribe(self.session, self.principal, filters)
                self.send(encode(Suback(packet_id, codes)))
                self.session.pump()
                # A wildcard walks through all retained messages: one such walk per turn.
                self.hold(TURN)
                self._loop.call_soon(self.release, TURN)
            case Unsubscribe(packet_id, names):
                self._host.broker.unsubscribe(self.session, names)
                self.send(encode(Unsuback(packet_id)))
            case Disconnect():
                self._will = None  # §3.14.4
                self.end("disconnect")
            case Connect():
                self.end("second_connect")
            case _:
                self.end("unexpected_packet")

    # -- coming in ---------------------------------------------------------------------------------

    def _connect(self, packet: Connect) -> None:
        if packet.level != LEVEL:
            self.refuse(Refusal.PROTOCOL_VERSION)
        elif len(packet.client_id) > self._host.limits.max_client_id or not (
            packet.client_id or packet.clean  # §3.1.3.1
        ):
            self.refuse(Refusal.CLIENT_ID)
        else:
            self.state = State.LOGIN
            self.hold(LOGIN)
            self._login = self._host.log_in(self, packet)

    def refuse(self, why: Refusal) -> None:
        """Say no, and close."""
        if self.state in (State.NEW, State.LOGIN):
            self.send(encode(Connack(why.code)))
            self.end(why.value)

    def admit(self, principal: Principal, packet: Connect) -> None:
        """Let the client in as `principal`."""
        if self.state is not State.LOGIN:
            return
        self._login = None
        self.principal = principal
        client_id = packet.client_id or f"auto-{secrets.token_hex(8)}"
        broker = self._host.broker
        self.session, present = broker.attach(self, principal, client_id, clean=packet.clean)
        self.state = State.OPEN
        self._will = packet.will
        self._patience = packet.keepalive * 1.5  # §3.1.2.10
        self._heard = now = self._host.clock.monotonic()
        if not packet.keepalive:
            self.probe()
        log.info("connected %s from %s", ascii(self.session.name), self.peer)
        self.send(encode(Connack(0, present)))
        self.session.pump()
        self._host.arm(self, self._deadline(now)[0])
        self.release(LOGIN)

    # -- what became of a message ------------------------------------------------------------------

    def _kept(self, message: Inbound, kept: bool) -> None:
        self._settle(message, kept=kept, retain=False)

    def _kept_retained(self, message: Inbound, kept: bool) -> None:
        self._settle(message, kept=kept, retain=True)

    def _settle(self, message: Inbound, *, kept: bool, retain: bool) -> None:
        self._settled += 1
        if not kept:
            self.end("poisoned")
            return
        self._host.broker.publish(message.topic, message.payload, message.qos, retain=retain)
        if self.state is not State.OPEN:
            return
        if message.packet_id is not None:
            self.send(b"\x40\x02" + message.packet_id.to_bytes(2, "big"))
        if self._deferred:
            self._acknowledge_deferred()

    def _acknowledge_in_turn(self, packet_id: int) -> None:
        """§4.6: PUBACKs leave in the order of their PUBLISHes, dropped ones included."""
        self._deferred.append((self._offered, packet_id))
        self._acknowledge_deferred()
        if len(self._deferred) >= _MAX_DEFERRED:
            self.hold(ACKS)

    def _acknowledge_deferred(self) -> None:
        while self._deferred and self._deferred[0][0] <= self._settled:
            self.send(encode(Puback(self._deferred.popleft()[1])))
        if self._held & ACKS and not self._deferred:
            self._loop.call_soon(self.release, ACKS)

    # -- holding, and the end ----------------------------------------------------------------------

    def _roomy(self) -> None:
        self.release(INTAKE)

    def release(self, why: int) -> None:
        """One reason to hold is gone; go on if it was the last."""
        if not self._held & why or self.state is State.ENDED:
            return
        self._held &= ~why
        if self._held:
            return
        self._heard = self._host.clock.monotonic()  # what we did not read proves no silence
        parked, self._parked = self._parked, []
        self._work(parked)
        if not self._held and not self.wire.is_closing():
            self.wire.resume_reading()

    def check(self, now: float) -> None:
        """A deadline that was asked for has come, perhaps not the one that counts."""
        if self.state is State.ENDED:
            self.wire.abort()  # its last bytes had their time
            return
        due, reason = self._deadline(now)
        if due > now:
            self._host.arm(self, due)
        else:
            self.end(reason)

    def _deadline(self, now: float) -> tuple[float, str]:
        if self.state is not State.OPEN:
            return self._made + self._host.limits.connect_timeout, "connect_timeout"
        due, reason = float("inf"), ""
        if self._patience:
            # While we do not read, a client cannot be heard: its clock stands still.
            due, reason = (now if self._held else self._heard) + self._patience, "keepalive"
        if self._choked and self._stalled + self._host.limits.stall_timeout < due:
            due, reason = self._stalled + self._host.limits.stall_timeout, "slow_reader"
        return due, reason

    def end(self, reason: str) -> None:
        """Close; publish the will unless it was discarded. Once: later calls do nothing."""
        if self.state is State.ENDED:
            return
        host, was, self.state = self._host, self.state, State.ENDED
        self._held |= ENDED
        host.intake.forget(self._roomy)
        if unread := sum(type(packet) is Publish for packet in self._parked):
            host.rejects.note("unread_at_end", self.peer, count=unread)
        self._parked = []
        self._deferred.clear()
        if self._login is not None:
            self._login.cancel()
        name = self.peer
        if was is State.OPEN:
            name = self.session.name
            host.broker.detach(self.session)
            self._publish_will()
        log.info("disconnected %s: %s", ascii(name), reason)
        if reason not in _QUIET:
            host.rejects.note(reason, name)
        if reason == "slow_reader":
            self.wire.abort()
            return
        self.flush()
        self.wire.close()
        host.arm(self, host.clock.monotonic() + host.limits.linger)

    def forgo_will(self) -> None:
        """We are leaving, not the client: its will stays unpublished."""
        self._will = None

    def _publish_will(self) -> None:
        will, self._will = self._will, None
        if will is None:
            return
        host = self._host
        message = Inbound(
            will.topic,
            will.payload,
            min(will.qos, 1),
            False,
            False,
            self.session.name,
            None,
            self.principal.name,
            host.clock.now(),
            True,
        )
        # A will is taken even beyond the intake's bound: there is one per connection.
        host.intake.offer(message, self._kept_retained if will.retain else self._kept)
