"""Clients of the `centrifuge` dialect: many channels on one connection, pings that we send.

The order of a subscription is that of `entry`: join, read, answer, go live. Here what was missed
is part of the answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from cardume.auth.identity import Identity
from cardume.errors import Invalid, Refused
from cardume.hub.access import Access, access
from cardume.hub.centrifuge_commands import TABLE, lifetime
from cardume.hub.channel import Subscription
from cardume.hub.commands import respond
from cardume.hub.connection import Connection
from cardume.hub.entry import ENVELOPE, Entry, prepare
from cardume.hub.hub import Hub
from cardume.hub.limits import Strikes, TokenBucket
from cardume.hub.outbox import Frame
from cardume.hub.tags import parse
from cardume.wire import codes
from cardume.wire.dialects.centrifuge import PING, CentrifugeDialect
from cardume.wire.messages import Admitted, Connect, Position, Subscribe, Subscribed, Taken

DIALECT: Final = CentrifugeDialect()

PING_EVERY = 25.0
PONG_WITHIN = 8.0
"""Seconds, as Centrifugo's; a ping that is not answered ends the connection with 3012."""

ROOM_EVERY = 0.01
"""Seconds between two looks at an outbox that has to empty first."""

LOST = Position("-", 0)
"""Where nothing can be resumed from."""

_PING = Frame(PING)

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

    async def _ping(self, ids: list[str]) -> None:
        for client in filter(None, map(self._here.get, ids)):
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
            if client is not None:
                client.expire(channel)


class Client:
    """One connection of the dialect."""

    __slots__ = ("_ends", "_first", "_rest", "_session", "clients", "connection", "pinged", "scope")

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
        self._ends: set[str] = set()
        """The channels that it is on by a token."""
        self._first = first
        self._rest = rest
        self._session = session

    @property
    def hub(self) -> Hub:
        return self.clients.hub

    async def enter(self) -> None:
        """Answer `connect`, with the channels that its token's claim `subs` puts it on.

        Raises:
            Unavailable: the engine is out of reach.
        """
        connection = self.connection
        joined = await self._server_side()
        connection.reply(
            Admitted(
                connection.id,
                lifetime(self.hub.expires_in(connection.identity)),
                round(PING_EVERY),
                tuple(told(entry, sub, since) for sub, entry, since in joined),
                self._session,
            ),
            self._first.id,
        )
        for subscription, entry, _ in joined:
            self._release(subscription, entry)
        await self.hear(self._rest)
        self._rest = ""

    async def hear(self, text: str) -> None:
        """Answer the commands of one frame, one a line."""
        lines = [line for line in text.split("\n") if line and not line.isspace()]
        if len(lines) > self.hub.options.commands_per_frame:
            self.hub.rejects.note("too_many_commands", self.connection.id)
            self.connection.close(codes.BAD_REQUEST_CLOSE)
            return
        for line in lines:
            await self._room()
            if self.connection.closing:
                return
            await respond(self.hub, self.connection, line, TABLE, self)

    async def _room(self) -> None:
        """Who does not read our answers is not asked for its next question.

        Each of many channels in one frame may bring half an outbox of what was missed.
        """
        outbox = self.connection.outbox
        while outbox.size > outbox.limit // 4 and not self.connection.closing:
            await self.hub.clock.sleep(ROOM_EVERY)

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
        expires_in = self.watch(channel, granted.expires_at)
        self.connection.reply(told(entry, subscription, since, expires_in), command.id)
        self._release(subscription, entry)

    def watch(self, channel: str, expires_at: float | None) -> int | None:
        """Take it off the channel when its token ends; the seconds it is told."""
        if expires_at is None:
            self._unwatch(channel)
            return None
        left = expires_at - self.hub.clock.now()
        self._ends.add(channel)
        self.clients.tokens.touch_in((self.connection.id, channel), left)
        return lifetime(max(0, int(left)))

    def expire(self, channel: str) -> None:
        """Its token for a channel has ended: it comes back to it with another one."""
        self._ends.discard(channel)
        subscription = self.connection.subscriptions.get(channel)
        if subscription is not None:
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
        if channel in self._ends:
            self._ends.discard(channel)
            self.clients.tokens.drop((self.connection.id, channel))

    async def access(self, channel: str, token: str | None = None) -> Access:
        """Whether it may be on a channel; see `access`."""
        return await access(self.hub, self.connection.identity, channel, self.scope, token)

    async def _server_side(self) -> list[tuple[Subscription, Entry, Position | None]]:
        """Join the channels in the claim `subs`, an object by channel as Centrifugo's.

        One that is no channel of ours is its issuer's fault, and no reason to refuse.
        """
        subs = self.connection.identity.claims.get("subs")
        joined: list[tuple[Subscription, Entry, Position | None]] = []
        room = self.connection.outbox.limit // 4
        for channel in subs if isinstance(subs, Mapping) else ():
            since = self._first.since.get(channel)
            if since is not None and room <= 0:
                since = LOST
            try:
                parameters = self.parameters(channel)
                subscription = await self.hub.join(self.connection, channel, self.connection.types)
                subscription.server_side = True
                entry = await self._read(subscription, since, parameters)
            except (Refused, Invalid) as error:
                self.hub.rejects.note("server_side_subscription", f"{channel}: {error}")
                continue
            room -= sum(len(publication.data) + ENVELOPE for publication in entry.missed)
            joined.append((subscription, entry, since))
        return joined

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
            return await prepare(self.hub, subscription, since, parameters)
        except BaseException:
            if self.connection.subscriptions.get(subscription.channel.name) is subscription:
                self.hub.leave(subscription)
            raise

    def _release(self, subscription: Subscription, entry: Entry) -> None:
        if not subscription.channel.release(subscription, entry.last):
            self.connection.lose(subscription)


def told(
    entry: Entry, subscription: Subscription, since: Position | None, expires_in: int | None = None
) -> Subscribed:
    """What a subscriber is told first."""
    return Subscribed(
        subscription.channel.name,
        entry.position,
        None if since is None else entry.recovered,
        tuple(filter(subscription.wants, entry.missed)),
        entry.snapshot,
        expires_in,
    )
