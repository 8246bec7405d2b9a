"""The embedded listener of MQTT 3.1.1 and 5.0: devices connect straight to us, without a broker."""

from __future__ import annotations

import asyncio
import logging
from typing import NamedTuple

from cardume.clock import Clock
from cardume.errors import ConfigurationError
from cardume.hub.rejects import Rejects
from cardume.mqtt.broker import Broker
from cardume.mqtt.codec.packets import Connect
from cardume.mqtt.connection import Connection
from cardume.mqtt.doors.deadlines import Deadlines
from cardume.mqtt.doors.sockets import Sockets, Turned
from cardume.mqtt.doors.tls import Handshakes, TlsPort
from cardume.mqtt.doors.wire import READ_AT_ONCE
from cardume.mqtt.downlink import ListenerDownlink
from cardume.mqtt.faults import Faults
from cardume.mqtt.host import STOP, Host, State
from cardume.mqtt.intake import Intake
from cardume.mqtt.limits import Limits
from cardume.mqtt.login import Refusal, judge
from cardume.mqtt.ports import Gatekeeper

log = logging.getLogger("cardume.mqtt")

_ANOTHER_PORT = "--mqtt-port or CARDUME_MQTT_PORT"


class ListenerStats(NamedTuple):
    """Counts since the start, and how many there are now."""

    connections: int
    parked_sessions: int
    retained: int
    received: int
    """Publishes from clients."""
    sent: int
    """Publishes to clients."""
    faults: int
    """Unexpected exceptions; each is a bug of ours or of a port."""
    drops: dict[str, int]
    """Everything refused, dropped or cut, by reason."""


class Listener:
    """Accepts clients, hands their messages to `intake`, and routes between them.

    `intake` may be shared with other sources: `start` starts it, `stop` leaves it running.
    """

    def __init__(
        self,
        host: str,
        port: int,
        gatekeeper: Gatekeeper,
        intake: Intake,
        clock: Clock,
        limits: Limits | None = None,
        tls: TlsPort | None = None,
    ) -> None:
        self._address = (host, port)
        self._gatekeeper = gatekeeper
        self._intake = intake
        self._clock = clock
        self._limits = limits or Limits()
        self._rejects = Rejects(log, clock)
        self._faults = Faults(log, clock)
        self._broker = Broker(self._limits, self._rejects, clock)
        self.downlink = ListenerDownlink(self._broker, clock, self._limits)
        """To one device, with word of what became of it."""
        self._deadlines = Deadlines(clock, self._faults)
        self._connections: set[Connection] = set()
        self._empty = asyncio.Event()
        self._tls = tls
        self._sockets = Sockets()
        self._handshakes: Handshakes | None = None
        self._open = False
        self._host: Host | None = None

    async def start(self) -> None:
        """Listen.

        Raises:
            ConfigurationError: the port cannot be had; the message says what to do.
        """
        loop = asyncio.get_running_loop()
        self._host = Host(
            loop=loop,
            clock=self._clock,
            limits=self._limits,
            rejects=self._rejects,
            faults=self._faults,
            intake=self._intake,
            broker=self._broker,
            arm=self._deadlines.arm,
            log_in=self._log_in,
            lost=self._lost,
            view=memoryview(bytearray(READ_AT_ONCE)),
        )
        self._broker.on_will = self._host.publish_will
        self._open = True
        host, port = self._address
        await self._sockets.open(self._accept, host, port, _ANOTHER_PORT)
        if self._tls is not None:
            self._handshakes = Handshakes(
                self._tls.certificates,
                self.accept,
                self.note,
                self._deadlines,
                self._clock,
                self._limits.max_handshakes,
            )
            await self._listen_to(self._handshakes, self._tls)
        self._intake.start()

    async def _listen_to(self, handshakes: Handshakes, tls: TlsPort) -> None:
        host = tls.host or self._address[0]
        try:
            await self._sockets.open(handshakes, host, tls.port, "CARDUME_MQTT_TLS_PORT")
        except ConfigurationError:
            await self.stop(0.0)
            raise

    @property
    def port(self) -> int:
        """The port in use, also when it was asked for as 0."""
        return self._sockets.port(0) or self._address[1]

    @property
    def tls_port(self) -> int | None:
        """The same for TLS; None where it is not spoken."""
        return None if self._tls is None else self._sockets.port(1) or self._tls.port

    async def stop(self, grace: float) -> None:
        """Accept and read no more, acknowledge what is pending, close. At most `grace` seconds.

        Wills stay unpublished: it is us who leave, and a device that is well must not be declared
        lost by every restart.
        """
        self._open = False
        if not self._sockets:
            return
        self._sockets.close()
        if self._handshakes is not None:
            self._handshakes.stop()
        until = asyncio.get_running_loop().time() + grace
        for connection in list(self._connections):
            if connection.state is State.OPEN:
                connection.hold(STOP)
            else:
                connection.end("stopping")
        await self._intake.settled(grace)
        for connection in list(self._connections):
            connection.forgo_will()
            connection.end("stopping")
        await self._all_gone(until - asyncio.get_running_loop().time())
        for connection in list(self._connections):
            connection.wire.abort()
        await self._all_gone(1.0)
        self._broker.close()
        await self._sockets.closed()
        self._deadlines.stop()

    def publish(self, topic: str, payload: bytes, *, qos: int = 0, retain: bool = False) -> int:
        """Send from the hub to whoever subscribed; how many sessions that are, parked included.

        Raises:
            Invalid: no topic, QoS above 2, or a payload over the limit.
        """
        return self.downlink.publish(topic, payload, qos=qos, retain=retain)

    def connected(self, user: str) -> bool:
        """Whether `user` has a connection now."""
        return bool(self._broker.present(user))

    def disconnect(self, user: str) -> int:
        """End all connections of `user`, wills included; how many there were."""
        sessions = self._broker.present(user)
        for session in sessions:
            if session.outlet is not None:
                session.outlet.end("disconnected_by_us")
        return len(sessions)

    def forget(self, user: str) -> None:
        """As `disconnect`, and end the sessions of `user`: whoever gets the name is another."""
        self.disconnect(user)
        self._broker.forget(user)

    def stats(self) -> ListenerStats:
        return ListenerStats(
            connections=len(self._connections),
            parked_sessions=self._broker.parked,
            retained=len(self._broker.retained),
            received=self._host.received if self._host else 0,
            sent=self._broker.sent,
            faults=self._faults.count,
            drops=dict(self._rejects.counts),
        )

    # -- for the doors -----------------------------------------------------------------------------

    def accept(self) -> Connection | None:
        """A connection for whoever is at a door, which tells it of its transport at once.

        None: there is no room for one more, or we are leaving.
        """
        if self._host is None or not self._open:
            return None
        if len(self._connections) >= self._limits.max_connections:
            self._rejects.note("too_many_connections")
            return None
        connection = Connection(self._host)
        self._connections.add(connection)
        return connection

    def note(self, reason: str, peer: str) -> None:
        """Count somebody whom a door turned away."""
        self._rejects.note(reason, peer)

    def _accept(self) -> asyncio.BaseProtocol:
        return self.accept() or Turned()

    # -- for the connections -----------------------------------------------------------------------

    def _log_in(self, connection: Connection, packet: Connect) -> asyncio.Task[None]:
        return asyncio.create_task(self._judge(connection, packet), name="mqtt-login")

    async def _judge(self, connection: Connection, packet: Connect) -> None:
        verdict = await judge(self._gatekeeper, packet, connection.peer, self._faults)
        if isinstance(verdict, Refusal):
            connection.refuse(verdict)
            return
        try:
            connection.admit(verdict, packet)
        except Exception as error:
            self._faults.note("an MQTT login", error)
            connection.end("internal_error")

    def _lost(self, connection: Connection) -> None:
        self._deadlines.discard(connection)
        self._connections.discard(connection)
        if not self._connections:
            self._empty.set()

    async def _all_gone(self, timeout: float) -> None:
        if not self._connections:
            return
        self._empty.clear()
        try:
            async with asyncio.timeout(max(0.0, timeout)):
                await self._empty.wait()
        except TimeoutError:
            log.warning("%d MQTT connections did not close in time", len(self._connections))
