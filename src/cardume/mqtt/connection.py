"""One client: its packets in order, its acknowledgements, its will, its end."""

from __future__ import annotations

import asyncio
import logging
import secrets
from typing import Final

from cardume.mqtt.codec.cursor import BadPacket
from cardume.mqtt.codec.decoder import Decoder
from cardume.mqtt.codec.encoder import encode
from cardume.mqtt.codec.packets import (
    LEVEL_5,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Publish,
    Will,
)
from cardume.mqtt.codec.reasons import OF_END
from cardume.mqtt.dialogue import Dialogue
from cardume.mqtt.handshake import negotiate, objection, welcome
from cardume.mqtt.host import CHOKED, ENDED, LOGIN, Host, State
from cardume.mqtt.login import Refusal
from cardume.mqtt.ports import Principal
from cardume.mqtt.sessions.outlet import Terms

log = logging.getLogger("cardume.mqtt")

_STRANGER: Final = Terms()
_STRANGER_5: Final = Terms(LEVEL_5)
"""Until it is let in a client has no terms but its version."""
_QUIET: Final = frozenset({"disconnect", "lost", "stopping", "disconnected_by_us"})
"""Ends that are nobody's fault and are not counted among the rejects."""


class Connection(Dialogue):
    """NEW → LOGIN → OPEN → ENDED; only `receive`, `admit`, `refuse` and `end` move it on.

    A client is handled synchronously while nothing is in its way. Whatever is (a login, a full
    intake, its own unread answers) holds its reading, and packets already decoded are parked.
    """

    __slots__ = (
        "_decoder",
        "_fault",
        "_heard",
        "_login",
        "_made",
        "_parked",
        "_patience",
        "_stalled",
        "peer",
    )

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self.state = State.NEW
        self.terms = _STRANGER
        self.peer = "?"
        self._decoder = Decoder(host.limits.max_packet, max_connect_size=host.limits.max_connect)
        self._made = self._heard = host.clock.monotonic()
        self._stalled = 0.0
        self._patience = 0.0
        self._parked: list[Packet] = []
        self._fault: str | None = None
        self._login: asyncio.Task[None] | None = None
        self._will: Will | None = None

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

    def _control(self, packet: Packet) -> None:
        if self.state is State.NEW:
            if isinstance(packet, Connect):
                self._connect(packet)
            else:
                self.end("no_connect")
            return
        self._hear(packet)

    # -- coming in ---------------------------------------------------------------------------------

    def _connect(self, packet: Connect) -> None:
        if packet.level == LEVEL_5:
            self.terms = _STRANGER_5
        refusal = objection(packet, self._host.limits)
        if refusal is not None:
            self.refuse(refusal)
            return
        self.state = State.LOGIN
        self.hold(LOGIN)
        self._login = self._host.log_in(self, packet)

    def refuse(self, why: Refusal) -> None:
        """Say no, and close."""
        if self.state in (State.NEW, State.LOGIN):
            self.answer(Connack(why.code(self.terms.level)))
            self.end(why.value)

    def admit(self, principal: Principal, packet: Connect) -> None:
        """Let the client in as `principal`."""
        if self.state is not State.LOGIN:
            return
        host = self._host
        self._login = None
        self.principal = principal
        client_id = packet.client_id or f"auto-{secrets.token_hex(8)}"
        grant = negotiate(packet, host.limits)
        self.terms = grant.terms
        self.session, present = host.broker.attach(
            self, principal, client_id, clean=packet.clean, expiry=grant.expiry
        )
        self.state = State.OPEN
        self._will = packet.will
        self._patience = grant.keepalive * 1.5  # §3.1.2.10
        self._heard = now = host.clock.monotonic()
        if not grant.keepalive:
            self.probe()
        log.info("connected %s from %s", ascii(self.session.name), self.peer)
        self.answer(welcome(packet, grant, host.limits, client_id, present=present))
        if not self.is_open:
            return
        self.session.pump()
        host.arm(self, self._deadline(now)[0])
        self.release(LOGIN)

    # -- holding, and the end ----------------------------------------------------------------------

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
        self._deferred = None
        if self._login is not None:
            self._login.cancel()
        name = self.peer
        if was is State.OPEN:
            name = self.session.name
            will, self._will = self._will, None
            host.broker.detach(self.session, will)
            self._say_goodbye(reason)
        log.info("disconnected %s: %s", ascii(name), reason)
        if reason not in _QUIET:
            host.rejects.note(reason, name)
        if reason == "slow_reader":
            self.wire.abort()
            return
        self.flush()
        self.wire.close()
        host.arm(self, host.clock.monotonic() + host.limits.linger)

    def _say_goodbye(self, reason: str) -> None:
        """Only 5.0 has a DISCONNECT from our side."""
        why = OF_END.get(reason) if self.terms.level == LEVEL_5 else None
        if why is not None:
            goodbye = encode(Disconnect(why), LEVEL_5)
            if self.terms.fits(len(goodbye)):
                self.send(goodbye)

    def forgo_will(self) -> None:
        """We are leaving, not the client: its will stays unpublished."""
        self._will = None
