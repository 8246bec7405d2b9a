"""Who is on which channel."""

from __future__ import annotations

from collections.abc import Callable

from cardume.auth.identity import Identity
from cardume.errors import Refused, Unavailable
from cardume.hub.connection import Connection
from cardume.hub.core import Core
from cardume.hub.filters import TypeFilter
from cardume.hub.presence import Count
from cardume.hub.subscription import Subscription
from cardume.wire import codes
from cardume.wire.messages import Member


class Membership(Core):
    """The subscribers' side of a hub."""

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
            self.rejects.note("channel_limit", connection.id)
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

    def leave(self, subscription: Subscription, *, for_good: bool = False) -> None:
        """Take a connection off a channel; the last one detaches it from the engine.

        `for_good`: nobody expects it back, so its absence is announced without any grace.
        """
        channel, connection = subscription.channel, subscription.connection
        channel.leave(subscription)
        connection.subscriptions.pop(channel.name, None)
        if subscription.member is not None:
            at_once = for_good or self.draining or not self.running
            grace = 0.0 if at_once else channel.options.presence_grace
            lost = connection.id not in self._connections
            self._presence.depart(subscription, grace, lost=lost)
        if self.running:
            self._roster.settle(channel)

    def presence(self, channel: str) -> dict[str, Member]:
        """Who is on `channel` now, by the connection that each came with first.

        Raises:
            Refused: presence is off there.
        """
        self._check_presence(channel)
        return self._presence.members(channel)

    def presence_stats(self, channel: str) -> Count:
        """How many connections and users are on `channel` now; as cheap for 10,000 as for one.

        Raises:
            Refused: presence is off there.
        """
        self._check_presence(channel)
        return self._presence.count(channel)

    def audience(self, channel: str) -> int:
        """How many subscriptions `channel` has on this node."""
        here = self._roster.get(channel)
        return len(here) if here is not None else 0

    def channels(self) -> dict[str, int]:
        """The channels with subscriptions on this node, and how many."""
        return {channel.name: len(channel) for channel in self._roster if channel}

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

    def _check_presence(self, channel: str) -> None:
        if not self.options_of(channel).presence:
            raise Refused(codes.NOT_AVAILABLE, f"presence is off on {channel!r}")
