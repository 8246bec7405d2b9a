"""The embedded MQTT 3.1.1 listener: devices connect straight to us, no broker to install."""

from __future__ import annotations

import asyncio
import logging
from typing import Final, NamedTuple

from cardume.clock import Clock, TimerHandle
from cardume.errors import ConfigurationError, Invalid
from cardume.hub.rejects import Rejects
from cardume.mqtt.broker import Broker
from cardume.mqtt.connection import Connection
from cardume.mqtt.faults import Faults
from cardume.mqtt.host import STOP, Host, State
from cardume.mqtt.intake import Intake
from cardume.mqtt.limits import Limits
from cardume.mqtt.login import Refusal, judge
from cardume.mqtt.packets import Connect
from cardume.mqtt.ports import Gatekeeper
from cardume.mqtt.topics import valid_topic
from cardume.mqtt.wheel import Wheel
from cardume.mqtt.wire import READ_AT_ONCE

log = logging.getLogger("cardume.mqtt")

_GRAIN: Final = 0.5
"""Seconds by which a deadline may be late."""
_BACKLOG: Final = 1024


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
    ) -> None:
        self._address = (host, port)
        self._gatekeeper = gatekeeper
        self._intake = intake
        self._clock = clock
        self._limits = limits or Limits()
        self._rejects = Rejects(log, clock)
        self._faults = Faults(log, clock)
        self._broker = Broker(self._limits, self._rejects)
        self._wheel: Wheel[Connection] = Wheel(_GRAIN)
        self._timer: TimerHandle | None = None
        self._connections: set[Connection] = set()
        self._empty = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._host: Host | None = None

    async def start(self) -> None:
        """Listen.

        Raises:
            ConfigurationError: the port cannot be had; the message says what to do.
        """
        loop = asyncio.get_running_loop()
        host, port = self._address
        self._host = Host(
            loop=loop,
            clock=self._clock,
            limits=self._limits,
            rejects=self._rejects,
            faults=self._faults,
            intake=self._intake,
            broker=self._broker,
            arm=self._arm,
            log_in=self._log_in,
            lost=self._lost,
            view=memoryview(bytearray(READ_AT_ONCE)),
        )
        try:
            self._server = await loop.create_server(
                self._accept, host, port, reuse_address=True, backlog=_BACKLOG
            )
        except OSError as error:
            raise ConfigurationError(
                f"the MQTT listener cannot listen on {host}:{port} ({error.strerror or error}): "
                "stop what else uses that port, or choose another with CARDUME_MQTT_PORT"
            ) from error
        self._intake.start()
        log.info("listening for MQTT on %s:%d", host, self.port)

    @property
    def port(self) -> int:
        """The port in use, also when it was asked for as 0."""
        if self._server is None or not self._server.sockets:
            return self._address[1]
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def stop(self, grace: float) -> None:
        """Accept and read no more, acknowledge what is pending, close. At most `grace` seconds.

        Wills stay unpublished: it is us who leave, and a device that is well must not be declared
        lost by every restart.
        """
        if self._server is None:
            return
        self._server.close()
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
        await self._server.wait_closed()
        self._server = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def publish(self, topic: str, payload: bytes, *, qos: int = 0, retain: bool = False) -> int:
        """Send from the hub to whoever subscribed; how many sessions that are, parked included.

        Raises:
            Invalid: no topic, QoS above 1, or a payload over the limit.
        """
        if not valid_topic(topic) or qos not in (0, 1):
            raise Invalid("a publish needs a topic without wildcards, and QoS 0 or 1")
        if len(payload) > self._limits.max_payload:
            raise Invalid(f"a payload holds at most {self._limits.max_payload} bytes")
        return self._broker.publish(topic, payload, qos, retain=retain)

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

    # -- for the connections -----------------------------------------------------------------------

    def _accept(self) -> asyncio.BaseProtocol:
        assert self._host is not None
        if len(self._connections) >= self._limits.max_connections:
            self._rejects.note("too_many_connections")
            return _Turned()
        connection = Connection(self._host)
        self._connections.add(connection)
        return connection

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
        self._wheel.discard(connection)
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

    def _arm(self, connection: Connection, due: float) -> None:
        if due != float("inf"):
            self._wheel.set(connection, due)
            if self._timer is None:
                self._timer = self._clock.call_later(_GRAIN, self._tick)

    def _tick(self) -> None:
        self._timer = None
        now = self._clock.monotonic()
        for connection in self._wheel.expire(now):
            try:
                connection.check(now)
            except Exception as error:  # the timer serves the others too
                self._faults.note("an MQTT deadline", error)
        if len(self._wheel) and self._timer is None:
            self._timer = self._clock.call_later(_GRAIN, self._tick)


class _Turned(asyncio.Protocol):
    """A connection over the cap: closed before a byte is read."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()
