"""The hub: connections on one side, channels in the middle, publishers on the other.

Flows in: identities with a transport, commands, publications. Flows out: frames, through each
connection's outbox. It knows ports (`Engine`, `Verifier`, `Transport`), opens no socket and
keeps no truth.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
from collections.abc import Awaitable, Callable, Hashable, Mapping
from contextvars import ContextVar
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self, TypeVar

from cardume.auth.identity import Identity
from cardume.clock import Clock, SystemClock
from cardume.engines import engine_from_url
from cardume.engines.base import Engine, KeyReused
from cardume.errors import ConfigurationError, HubNotRunning, Invalid, Refused, Unavailable
from cardume.hub.actions import Actions, Handler
from cardume.hub.channel import Subscription
from cardume.hub.connection import Connection, Transport
from cardume.hub.filters import TypeFilter
from cardume.hub.limits import TokenBucket
from cardume.hub.namespaces import ChannelOptions, Namespace, Namespaces
from cardume.hub.options import HubOptions
from cardume.hub.outbox import Outbox
from cardume.hub.rejects import Rejects
from cardume.hub.roster import Roster
from cardume.hub.schedule import LeaseTimer, Tasks
from cardume.hub.stats import HubStats
from cardume.wire import codes, json
from cardume.wire.dialects import Dialect
from cardume.wire.events import EventType
from cardume.wire.messages import (
    Position,
    Publication,
    check_channel,
    check_tags,
    check_texts,
)

K = TypeVar("K", bound=Hashable)

Hearer = Callable[[Identity], None]
"""Told who speaks, at every message of a client. Returns at once and raises nothing."""

_told: ContextVar[list[int] | None] = ContextVar("cardume_told", default=None)
"""Where a publish that wants to know counts the connections its publication goes to."""

logger = logging.getLogger("cardume.hub")


class Verifier(Protocol):
    """Who a token speaks for."""

    async def verify(self, token: str) -> Identity:
        """Raises `InvalidToken`, or `Unavailable` where an issuer's keys are out of reach."""


class Announced(NamedTuple):
    """A publication that was accepted."""

    position: Position
    delivered_to: int
    """Connections of this node that it was queued for, each channel's filter counted."""


class Hub:
    """One per process; an async context manager that may be entered again without harm."""

    def __init__(
        self,
        *,
        auth: Verifier | None = None,
        engine: Engine | str = "memory://",
        clock: Clock | None = None,
        options: HubOptions | None = None,
    ) -> None:
        self.clock: Clock = clock or SystemClock()
        self.options = options or HubOptions()
        self.engine = engine_from_url(engine, self.clock) if isinstance(engine, str) else engine
        self.namespaces = Namespaces(self.options.undeclared)
        self.actions = Actions()
        self.stats = HubStats()
        self.rejects = Rejects(logger, self.clock)
        self.tasks = Tasks(self.clock)
        rate = self.options.handshakes_per_second
        self.handshakes = TokenBucket(rate, rate, self.clock.monotonic())
        self.draining = False
        self.event_names: set[str] = {*EventType}
        """What events in rooms may be called: the built-in ones and those of `Rooms(events=…)`."""
        self.hearers: list[Hearer] = []
        self._auth = auth
        self._entered = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._roster = Roster(self.engine, self.tasks)
        self._connections: dict[str, Connection] = {}
        self._ids = (f"{secrets.token_hex(4)}-{n}" for n in itertools.count(1))
        self._farewells: list[asyncio.Event] = []
        self._timers: list[LeaseTimer[Any]] = []
        self._expiry: LeaseTimer[str] = self.leases(self._expired, "token expiry")

    # -- life -------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._entered == 0:
            if self._auth is None:
                self._auth = self._default_verifier()
            await self.engine.start(self._deliver)
            self._loop = asyncio.get_running_loop()
            self.draining = False
        self._entered += 1
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._entered -= 1
        if self._entered > 0:
            return
        try:
            await self.drain(timeout=2.0)
        finally:
            for timer in self._timers:
                timer.stop()
            await self.tasks.cancel()
            self._roster.clear()
            await self.engine.stop()
            self._loop = None

    @property
    def running(self) -> bool:
        return self._entered > 0

    @property
    def auth(self) -> Verifier:
        """Who decides whose token it is.

        Raises:
            HubNotRunning: there is none yet.
        """
        if self._auth is None:
            raise HubNotRunning
        return self._auth

    def _default_verifier(self) -> Verifier:
        raise ConfigurationError("Hub(auth=…) needs a verifier; see cardume.auth.tokens")

    def check_running(self) -> None:
        """Raise a clear error outside the lifespan, and on a loop that is not the hub's.

        Raises:
            HubNotRunning: so that the developer learns it at the first connection.
        """
        if self._loop is not asyncio.get_running_loop():
            raise HubNotRunning

    async def drain(self, *, window: float = 0.0, timeout: float = 10.0) -> None:
        """Send everyone away with 3001, spread over `window` seconds, and wait until they left.

        What is queued for them is written first. Returns after `timeout` more seconds at the
        latest; new connections are refused from now on.
        """
        self.draining = True
        leaving = list(self._connections.values())
        batch = max(1, round(len(leaving) * 0.05 / window)) if window else len(leaving)
        for index, connection in enumerate(leaving, 1):
            connection.close(codes.SHUTDOWN)
            if window and index % batch == 0 and index < len(leaving):
                await self.clock.sleep(0.05)
        if self._connections:
            # Made here and not once for all: an event belongs to the loop that waited on it.
            empty = asyncio.Event()
            self._farewells.append(empty)
            try:
                async with asyncio.timeout(timeout):
                    await empty.wait()
            except TimeoutError:
                logger.warning("%d connections did not leave in time", len(self._connections))
            finally:
                self._farewells.remove(empty)

    # -- declaring --------------------------------------------------------------------------

    def declare(self, namespace: Namespace) -> None:
        """Make a kind of channel known."""
        self.namespaces.add(namespace)

    def action(self, name: str) -> Callable[[Handler], Handler]:
        """Let clients call the decorated ``async (identity, body)`` by `name`."""

        def register(handler: Handler) -> Handler:
            self.actions.add(name, handler)
            return handler

        return register

    def on_speech(self, hearer: Hearer) -> Hearer:
        """Have `hearer` called with the identity behind each message that a client sends."""
        self.hearers.append(hearer)
        return hearer

    def leases(self, on_expire: Callable[[list[K]], Awaitable[None]], name: str) -> LeaseTimer[K]:
        """Leases on the hub's clock; `on_expire` gets the keys that were not renewed in time."""
        timer = LeaseTimer(self.clock, self.tasks, on_expire, name)
        self._timers.append(timer)
        return timer

    # -- publishing -------------------------------------------------------------------------

    async def publish(
        self,
        channel: str,
        type: str | None = None,
        data: Any = None,
        *,
        key: str | None = None,
        tags: Mapping[str, str] | None = None,
        source: str | None = None,
        idempotency_key: str | None = None,
    ) -> Position:
        """Publish `data`, anything with a JSON form, on `channel`.

        Returns its position; the empty one on a channel without history. A publish that
        returned before another was called has the lower offset. Cancelling it leaves open
        whether it happened: repeat it with the same `idempotency_key`.

        Raises:
            HubNotRunning: outside the lifespan.
            Invalid: no channel's name, no JSON, a text of over 255 characters, or a type that
                is the hub's own on that channel.
            Refused: unknown channel (102), or the key was used with another body (409).
            Unavailable: the engine did not keep it.
        """
        if self._entered == 0:
            raise HubNotRunning
        options = self.options_of(channel)
        # Before it has a place in the stream: what cannot be encoded later would be a silent gap.
        if type in options.reserved:
            raise Invalid(f"type {type!r} is the hub's own")
        check_texts(type=type, key=key, source=source, idempotency_key=idempotency_key)
        publication = Publication(
            data=json.encode(data),
            time=self.clock.now(),
            type=type,
            source=source,
            key=key,
            tags=None if tags is None else check_tags(tags),
        )
        try:
            position = await self.engine.publish(
                channel, publication, options.retention, idempotency_key
            )
        except KeyReused:
            raise Refused(codes.CONFLICT, "this key was used with another body") from None
        self.stats.publications += 1
        return position

    async def announce(
        self,
        channel: str,
        type: str | None = None,
        data: Any = None,
        *,
        key: str | None = None,
        source: str | None = None,
    ) -> Announced:
        """As `publish`, and say how many connections of this node got it.

        A subscriber whose history is being read counts: it will get it. Through an engine of
        several nodes the count is of those that were told before the engine answered.
        """
        told: list[int] = []
        before = _told.set(told)
        try:
            position = await self.publish(channel, type, data, key=key, source=source)
        finally:
            _told.reset(before)
        logger.debug("%s on %s to %d connections", ascii(type), channel, sum(told))
        return Announced(position, sum(told))

    def options_of(self, channel: str) -> ChannelOptions:
        """The options of a channel that exists or may exist.

        Raises:
            Invalid: no name of a channel.
            Refused: nobody declared it.
        """
        known = self._roster.get(channel)
        if known is not None:
            return known.options
        options = self.namespaces.options(check_channel(channel))
        if options is None:
            raise Refused(codes.UNKNOWN_CHANNEL, f"nobody declared a channel like {channel!r}")
        return options

    def _deliver(self, channel: str, publication: Publication, position: Position) -> None:
        here = self._roster.get(channel)
        if here is not None:
            count = here.deliver(publication, position)
            told = _told.get()
            if told is not None:
                told.append(count)

    # -- connections ------------------------------------------------------------------------

    def connect(self, identity: Identity, dialect: Dialect, transport: Transport) -> Connection:
        """Let a peer in. Its way out is `disconnect`, called by the transport exactly once."""
        now = self.clock.monotonic()
        per_minute = self.options.messages_per_minute
        connection = Connection(
            self,
            next(self._ids),
            identity,
            dialect,
            transport,
            outbox=Outbox(self.options.outbox_limit),
            bucket=TokenBucket(per_minute / 60, per_minute, now),
        )
        self._connections[connection.id] = connection
        self.stats.active_connections += 1
        self.stats.total_connections += 1
        self.watch_expiry(connection)
        logger.info("%s connected: %s %s", connection.id, dialect.name, ascii(identity.sub))
        if self.draining:  # it was at the door when the goodbyes were said
            connection.close(codes.SHUTDOWN)
        return connection

    def disconnect(self, connection: Connection, peer_code: int | None = None) -> None:
        """Forget a peer that left; `peer_code` is what it said, where it said something."""
        if self._connections.pop(connection.id, None) is None:
            return
        self._expiry.drop(connection.id)
        for subscription in list(connection.subscriptions.values()):
            self.leave(subscription)
        self.stats.active_connections -= 1
        self.stats.total_disconnections += 1
        self.stats.superseded_or_dropped += connection.outbox.superseded + connection.outbox.dropped
        ours = connection.close_code
        if ours is not None:
            self.stats.closes[ours.number] += 1
        code = ours.number if ours is not None else peer_code
        logger.info("%s disconnected: %s", connection.id, code or "lost")
        if not self._connections:
            for empty in self._farewells:
                empty.set()

    def connection(self, id: str) -> Connection | None:
        """A connection that is here now, to be joined, filtered or spoken to."""
        return self._connections.get(id)

    def presence(self, channel: str) -> dict[str, Identity]:
        """Who is on `channel` now, by connection id.

        Raises:
            Refused: presence is off there.
        """
        if not self.options_of(channel).presence:
            raise Refused(codes.NOT_AVAILABLE, f"presence is off on {channel!r}")
        here = self._roster.get(channel)
        members = here.members() if here is not None else []
        return {m.connection.id: m.connection.identity for m in members}

    def close_channel(
        self,
        channel: str,
        code: codes.CloseCode,
        *,
        where: Callable[[Identity], bool] | None = None,
    ) -> int:
        """Close the connections on `channel` (of those whom `where` names); how many."""
        here = self._roster.get(channel)
        members = here.members() if here is not None else []
        leaving = [m.connection for m in members if where is None or where(m.connection.identity)]
        for connection in leaving:
            connection.close(code)
        return len(leaving)

    def audience(self, channel: str) -> int:
        """How many subscriptions `channel` has on this node."""
        here = self._roster.get(channel)
        return len(here) if here is not None else 0

    def watch_expiry(self, connection: Connection) -> None:
        """Close with 3005 when its token ends, unless it is refreshed."""
        expires_at = connection.identity.expires_at
        if expires_at is None:
            self._expiry.drop(connection.id)
        else:
            self._expiry.touch_in(connection.id, expires_at - self.clock.now())

    def expires_in(self, identity: Identity) -> int | None:
        """Whole seconds left of an identity's token."""
        if identity.expires_at is None:
            return None
        return max(0, int(identity.expires_at - self.clock.now()))

    async def _expired(self, ids: list[str]) -> None:
        for id in ids:
            connection = self._connections.get(id)
            if connection is not None:
                connection.close(codes.EXPIRED)

    # -- membership -------------------------------------------------------------------------

    async def join(self, connection: Connection, name: str, types: TypeFilter) -> Subscription:
        """Put a connection on a channel, its publications buffered until `Channel.release`.

        Raises:
            Refused: unknown channel, already there, too many.
            Unavailable: the engine is out of reach, or the hub has stopped.
        """
        if not self.running:
            raise Unavailable("the hub has stopped")
        options = self.options_of(name)
        if name in connection.subscriptions:
            raise Refused(codes.ALREADY_SUBSCRIBED)
        if len(connection.subscriptions) >= self.options.channels_per_connection:
            raise Refused(codes.LIMIT_EXCEEDED, "too many channels on this connection")
        channel = await self._roster.attach(name, options)
        if name in connection.subscriptions:  # somebody else put it there meanwhile
            self._roster.settle(channel)
            raise Refused(codes.ALREADY_SUBSCRIBED)
        subscription = channel.join(connection, types)
        connection.subscriptions[name] = subscription
        if connection.id not in self._connections:  # it left while the engine answered
            self.leave(subscription)
        return subscription

    def leave(self, subscription: Subscription) -> None:
        """Take a connection off a channel; the last one detaches it from the engine."""
        channel = subscription.channel
        channel.leave(subscription)
        subscription.connection.subscriptions.pop(channel.name, None)
        if self.running:
            self._roster.settle(channel)
