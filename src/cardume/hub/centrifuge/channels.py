"""A client of the `centrifuge` dialect on its channels: how it comes, what it is told, how it goes.

The order of a subscription is that of `entry`: join, read, answer, go live. Here what was missed
is part of the answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cardume.errors import Refused
from cardume.hub.access import Access, access
from cardume.hub.centrifuge.commands import lifetime
from cardume.hub.connection import Connection
from cardume.hub.entry import Entry, prepare
from cardume.hub.hub import Hub
from cardume.hub.subscription import Subscription
from cardume.hub.tags import parse
from cardume.wire import codes
from cardume.wire.messages import (
    ENVELOPE,
    Position,
    Reply,
    Subscribe,
    Subscribed,
    Taken,
    weight,
)

if TYPE_CHECKING:
    from cardume.hub.centrifuge.clients import Clients

ROOM_AFTER = 0.01
ROOM_EVERY = 0.25
"""Seconds between two looks at an outbox that has to empty first: at the beginning, at most."""
ROOM_WITHIN = 60.0
"""Seconds after which one that still reads nothing is slow (3008)."""


class Subscriber:
    """A connection that subscribes to channels, and leaves them as its tokens end."""

    __slots__ = ("_ends", "clients", "connection", "scope")

    def __init__(self, clients: Clients, connection: Connection, scope: Mapping[str, Any]) -> None:
        self.clients = clients
        self.connection = connection
        self.scope = scope
        """Of the handshake, for guards that look at it."""
        self._ends: dict[str, Subscription] = {}
        """What it is subscribed to by a token, by channel."""

    @property
    def hub(self) -> Hub:
        return self.clients.hub

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

    def parameters(self, channel: str) -> dict[str, Any] | None:
        """Of a channel that somebody declared."""
        found = self.hub.namespaces.find(channel)
        return None if found is None else found[0].guard.convert(found[1])

    # -- for the client ---------------------------------------------------------------------

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
        await self._room(size_of(entry) + ENVELOPE + len(subscription.channel.name))
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


def size_of(entry: Entry) -> int:
    """About how many bytes it takes to tell."""
    return sum(map(weight, entry.missed)) + len(entry.snapshot or b"")
