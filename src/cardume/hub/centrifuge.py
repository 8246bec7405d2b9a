"""Clients of the `centrifuge` dialect: many channels on one connection, pings that we send.

The order of a subscription is that of `entry`: join, read, answer, go live. Here what was missed
is part of the answer.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from cardume.auth.identity import Identity
from cardume.errors import Invalid, Refused, Unavailable
from cardume.hub.access import Access, access
from cardume.hub.centrifuge_commands import TABLE, lifetime
from cardume.hub.channel import Subscription
from cardume.hub.commands import respond
from cardume.hub.connection import Connection
from cardume.hub.entry import Entry, prepare
from cardume.hub.hub import Hub
from cardume.hub.limits import Strikes, TokenBucket
from cardume.hub.outbox import Frame
from cardume.hub.tags import parse
from cardume.wire import codes
from cardume.wire.dialects.centrifuge import PING, CentrifugeDialect
from cardume.wire.messages import (
    ENVELOPE,
    Admitted,
    Connect,
    Position,
    Put,
    Reply,
    Subscribe,
    Subscribed,
    Taken,
    weight,
)

DIALECT: Final = CentrifugeDialect()

PING_EVERY = 25.0
PONG_WITHIN = 8.0
"""Seconds, as Centrifugo's; a ping that is not answered ends the connection with 3012."""

ROOM_AFTER = 0.01
ROOM_EVERY = 0.25
"""Seconds between two looks at an outbox that has to empty first: at the beginning, at most."""
ROOM_WITHIN = 60.0
"""Seconds after which one that still reads nothing is slow (3008)."""

LOST = Position("-", 0)
"""Where nothing can be resumed from."""

_PING = Frame(PING)

logger = logging.getLogger("cardume.hub")

Hearer = Callable[[Identity, Any], Awaitable[None]]


class Clients:
    """All clients of this dialect on one hub."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.hearer: Hearer | None = None
        """Who gets what clients `send`."""
        self.tokens = hub.leases(self._expired, "subscription tokens")
        self._pings = hub.leases(self._ping, "centrifuge pings")
        self._here: dict[str, Client] = {}

    def __len__(self) -> int:
        return len(self._here)

    def admit(
        self,
        connection: Connection,
        scope: Mapping[str, Any],
        first: Connect,
        rest: str = "",
        *,
        session: str = "",
    ) -> Client:
        """The client that said `first`, and `rest` in the same frame; `forget` is its end."""
        client = self._here[connection.id] = Client(self, connection, scope, first, rest, session)
        limits = self.hub.options
        if limits.messages_per_minute:
            # One that comes back subscribes to all its channels in the first frame.
            burst = limits.messages_per_minute + limits.channels_per_connection
            now = self.hub.clock.monotonic()
            connection.bucket = TokenBucket(limits.messages_per_minute / 60, burst, now)
        # And all of them may have been closed to it meanwhile.
        connection.errors = Strikes(connection.errors.allowed + limits.channels_per_connection)
        self._pings.touch_in(connection.id, PING_EVERY)
        # An SDK forgets what it is told of before the answer to `connect`.
        connection.outbox.cork()
        return client

    def forget(self, client: Client) -> None:
        """It is gone."""
        self._here.pop(client.connection.id, None)
        self._pings.drop(client.connection.id)
        client.drop_tokens()

    def get(self, id: str) -> Client | None:
        return self._here.get(id)

    def answered(self, client: Client) -> None:
        """A pong came in."""
        if not client.pinged:
            client.connection.close(codes.BAD_REQUEST_CLOSE)  # nobody asked
            return
        client.pinged = False
        self._pings.touch_in(client.connection.id, PING_EVERY)

    def excuse(self, client: Client) -> None:
        """We read what it says again: its answer has to be there soon."""
        client.excused = False
        if client.pinged:
            self._pings.touch_in(client.connection.id, PONG_WITHIN)

    async def _ping(self, ids: list[str]) -> None:
        for client in filter(None, map(self._here.get, ids)):
            if client.connection.id in self._pings:
                continue  # it answered between the timer and this task
            if client.pinged and client.busy:
                client.excused = True  # its answer may wait to be read
                continue
            if client.pinged:
                client.connection.close(codes.NO_PONG)
                continue
            client.pinged = True
            if not client.connection.offer(_PING):
                client.connection.close(codes.SLOW)
            self._pings.touch_in(client.connection.id, PONG_WITHIN)

    async def _expired(self, keys: list[tuple[str, str]]) -> None:
        for id, channel in keys:
            client = self._here.get(id)
            # A new token may have come between the timer and this task.
            if client is not None and (id, channel) not in self.tokens:
                client.expire(channel)


class Client:
    """One connection of the dialect."""

    __slots__ = (
        "_ends",
        "_first",
        "_later",
        "_rest",
        "_session",
        "busy",
        "clients",
        "connection",
        "excused",
        "pinged",
        "scope",
    )

    def __init__(
        self,
        clients: Clients,
        connection: Connection,
        scope: Mapping[str, Any],
        first: Connect,
        rest: str,
        session: str,
    ) -> None:
        self.clients = clients
        self.connection = connection
        self.scope = scope
        """Of the handshake, for guards that look at it."""
        self.pinged = False
        """Whether a ping of ours waits for its answer."""
        self.busy = False
        """Whether we answer it, and read nothing until that is done."""
        self.excused = False
        """Whether its time to answer a ping ended meanwhile."""
        self._ends: dict[str, Subscription] = {}
        """What it is subscribed to by a token, by channel."""
        self._first = first
        self._later: list[str] = []
        """Channels of the claim `subs` that are too much for the answer to `connect`."""
        self._rest = rest
        self._session = session

    @property
    def hub(self) -> Hub:
        return self.clients.hub

    async def enter(self) -> None:
        """Answer `connect`, with the channels that its token's claim `subs` puts it on.

        What does not fit into one answer follows, channel by channel.
        """
        with self._answering():
            joined = await self._server_side()
            self._admit(tuple(told(entry, sub, since) for sub, entry, since in joined))
            for subscription, entry, _ in joined:
                self._release(subscription, entry)
            for channel in self._later:
                with self._no_reason_to_refuse(channel):
                    await self._put(channel)
        self._later = []
        await self.hear(self._rest)
        self._rest = ""

    def _admit(self, subscriptions: tuple[Subscribed, ...]) -> None:
        connection, hub = self.connection, self.hub
        if connection.closing:
            return
        left = lifetime(hub.expires_in(connection.identity))
        answer = Admitted(connection.id, left, round(PING_EVERY), subscriptions, self._session)
        frame = Frame(DIALECT.reply(answer, id=self._first.id, time=hub.clock.now()))
        if not connection.outbox.uncork(frame):
            connection.close(codes.SLOW)
            return
        connection.transport.wake()

    async def hear(self, text: str) -> None:
        """Answer the commands of one frame, one a line."""
        lines = [line for line in text.split("\n") if line and not line.isspace()]
        if len(lines) > self.hub.options.commands_per_frame:
            self.hub.rejects.note("too_many_commands", self.connection.id)
            self.connection.close(codes.BAD_REQUEST_CLOSE)
            return
        with self._answering():
            for line in lines:
                await self._room()
                if self.connection.closing:
                    return
                await respond(self.hub, self.connection, line, TABLE, self)

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """A pong that comes meanwhile is read afterwards, and not too late."""
        self.busy = True
        try:
            yield
        finally:
            self.busy = False
            if self.excused:
                self.clients.excuse(self)

    async def _room(self, size: int = 0) -> None:
        """Wait until `size` bytes have room; who does not read our answers is asked nothing more.

        Each of many channels in one frame may bring half an outbox of what was missed.
        """
        outbox, clock = self.connection.outbox, self.hub.clock
        most = max(0, min(outbox.limit // 4, outbox.limit - size))
        ends, pause = clock.monotonic() + ROOM_WITHIN, ROOM_AFTER
        while outbox.size > most and not self.connection.closing:
            if clock.monotonic() >= ends:
                self.connection.close(codes.SLOW)
                return
            await clock.sleep(pause)
            pause = min(2 * pause, ROOM_EVERY)

    # -- channels ---------------------------------------------------------------------------

    async def subscribe(self, command: Subscribe, granted: Access) -> None:
        """Put it on a channel that it may be on, and answer.

        Raises:
            Invalid: no filter by tags.
            Refused: already there, too many; nothing to resume (112) where it is `strict`.
            Unavailable: the engine or the snapshot is out of reach.
        """
        channel, since = command.channel, command.since
        tags = None if command.filter is None else parse(command.filter)
        subscription = await self.hub.join(self.connection, channel, self.connection.types)
        subscription.tags, subscription.joins = tags, command.joins
        subscription.info = granted.info
        entry = await self._read(subscription, since, granted.parameters)
        if command.strict and since is not None and not entry.recovered:
            self.hub.leave(subscription)
            raise Refused(codes.UNRECOVERABLE_POSITION)
        await self._room_for(subscription, entry)
        expires_in = self.watch(subscription, granted.expires_at)
        self._tell(subscription, told(entry, subscription, since, expires_in), command.id)
        self._release(subscription, entry)

    def watch(self, subscription: Subscription, expires_at: float | None) -> int | None:
        """Take it off the channel when its token ends; the seconds it is told."""
        channel = subscription.channel.name
        if expires_at is None:
            self._unwatch(channel)
            return None
        left = expires_at - self.hub.clock.now()
        self._ends[channel] = subscription
        self.clients.tokens.touch_in((self.connection.id, channel), left)
        return lifetime(max(0, int(left)))

    def expire(self, channel: str) -> None:
        """Its token for a channel has ended: it comes back to it with another one."""
        subscription = self._ends.pop(channel, None)
        # It may be there again meanwhile, and by another right.
        if subscription is not None and self._is_on(subscription):
            self.hub.leave(subscription)
            code = codes.CHANNEL_EXPIRED
            self.connection.reply(Taken(channel, code.number, code.reason))

    def leave(self, channel: str) -> None:
        """Take it off a channel, as it asked."""
        self._unwatch(channel)
        subscription = self.connection.subscriptions.get(channel)
        if subscription is not None:
            self.hub.leave(subscription, for_good=True)

    def drop_tokens(self) -> None:
        """No token of its ends any more: it is gone."""
        for channel in tuple(self._ends):
            self._unwatch(channel)

    def _unwatch(self, channel: str) -> None:
        if self._ends.pop(channel, None) is not None:
            self.clients.tokens.drop((self.connection.id, channel))

    async def access(self, channel: str, token: str | None = None) -> Access:
        """Whether it may be on a channel; see `access`."""
        return await access(self.hub, self.connection.identity, channel, self.scope, token)

    async def _server_side(self) -> list[tuple[Subscription, Entry, Position | None]]:
        """Join the channels in the claim `subs`, an object by channel as Centrifugo's.

        One that fails is no reason to refuse the others. All of them have one answer, with room
        for so much; what is beyond it starts over, and a snapshot is left for later.
        """
        subs = self.connection.identity.claims.get("subs")
        joined: list[tuple[Subscription, Entry, Position | None]] = []
        room = self.connection.outbox.limit // 4
        for channel in subs if isinstance(subs, Mapping) else ():
            since = self._first.since.get(channel)
            if since is not None and room <= 0:
                since = LOST
            with self._no_reason_to_refuse(channel):
                subscription, entry = await self._join(channel, since)
                if entry.snapshot is not None and len(entry.snapshot) > room:
                    self.hub.leave(subscription)
                    self._later.append(channel)
                    continue
                room -= _size(entry)
                joined.append((subscription, entry, since))
        # Others have been waited for: what was joined first may be gone again.
        return [each for each in joined if self._is_on(each[0])]

    async def _put(self, channel: str) -> None:
        """Put it on a channel of the claim `subs`, and tell it so."""
        await self._room()
        if self.connection.closing:
            return
        subscription, entry = await self._join(channel, None)
        await self._room_for(subscription, entry)
        self._tell(subscription, Put(told(entry, subscription, None)))
        self._release(subscription, entry)

    async def _join(self, channel: str, since: Position | None) -> tuple[Subscription, Entry]:
        parameters = self.parameters(channel)
        subscription = await self.hub.join(self.connection, channel, self.connection.types)
        subscription.server_side = True
        return subscription, await self._read(subscription, since, parameters)

    @contextmanager
    def _no_reason_to_refuse(self, channel: str) -> Iterator[None]:
        try:
            yield
        except (Refused, Invalid, Unavailable) as error:
            if isinstance(error, Refused) and error.code is codes.ALREADY_SUBSCRIBED:
                return  # by `hub.subscribe`, which tells it
            self.hub.rejects.note("server_side_subscription", f"{channel}: {error}")
        except Exception:
            logger.exception("%s: not put on %s", self.connection.id, channel)

    def parameters(self, channel: str) -> dict[str, Any] | None:
        """Of a channel that somebody declared."""
        found = self.hub.namespaces.find(channel)
        return None if found is None else found[0].guard.convert(found[1])

    async def _read(
        self,
        subscription: Subscription,
        since: Position | None,
        parameters: Mapping[str, Any] | None,
    ) -> Entry:
        """What it has to be told; what comes meanwhile is held until `_release`."""
        try:
            entry = await prepare(self.hub, subscription, since, parameters)
        except BaseException:
            if self._is_on(subscription):
                self.hub.leave(subscription)
            raise
        self._check_on(subscription)
        return entry

    async def _room_for(self, subscription: Subscription, entry: Entry) -> None:
        """Wait until what it has to be told fits; it may be taken off the channel meanwhile."""
        await self._room(_size(entry) + ENVELOPE + len(subscription.channel.name))
        self._check_on(subscription)

    def _tell(self, subscription: Subscription, reply: Reply, id: int | str | None = None) -> None:
        try:
            self.connection.reply(reply, id)
        except BaseException:  # it does not learn that it is there
            self.hub.leave(subscription)
            raise

    def _is_on(self, subscription: Subscription) -> bool:
        return self.connection.subscriptions.get(subscription.channel.name) is subscription

    def _check_on(self, subscription: Subscription) -> None:
        """Nobody is told that it is subscribed who was taken off while it waited."""
        if not self._is_on(subscription):
            raise Refused(codes.NOT_AVAILABLE, "taken off the channel meanwhile")

    def _release(self, subscription: Subscription, entry: Entry) -> None:
        if not subscription.channel.release(subscription, entry.last):
            self.connection.lose(subscription)


def told(
    entry: Entry, subscription: Subscription, since: Position | None, expires_in: int | None = None
) -> Subscribed:
    """What a subscriber is told first.

    Where its filter leaves nothing of what it missed, it need not be told that again either.
    """
    missed = tuple(filter(subscription.wants, entry.missed))
    return Subscribed(
        subscription.channel.name,
        entry.position if missed else entry.last,
        None if since is None else entry.recovered,
        missed,
        entry.snapshot,
        expires_in,
    )


def _size(entry: Entry) -> int:
    """About how many bytes it takes to tell."""
    return sum(map(weight, entry.missed)) + len(entry.snapshot or b"")
