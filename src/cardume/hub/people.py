"""Who is connected, by connection, user and address; who is sent away, and who may not come."""

from __future__ import annotations

import itertools
import logging
import secrets
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from cardume.auth.identity import Identity
from cardume.errors import Refused
from cardume.hub.connection import Connection, Transport
from cardume.hub.entry import Entry, enter
from cardume.hub.membership import Membership
from cardume.hub.outbox import Outbox
from cardume.hub.subscription import Subscription
from cardume.wire import codes
from cardume.wire.codes import CloseCode
from cardume.wire.dialects import Dialect
from cardume.wire.messages import Position, Put, Subscribed, Taken

logger = logging.getLogger("cardume.hub")


class People(Membership):
    """The connections of a hub."""

    def __init__(self, **ports: Any) -> None:
        super().__init__(**ports)
        # Unlike those of a process before; nothing is granted for knowing one.
        start = secrets.token_hex(4)
        self._ids = (f"{start}-{n}" for n in itertools.count(1))
        self._expiry = self.leases(self._expired, "token expiry")
        self._strangers: Counter[str | None] = Counter()
        self.strangers = 0
        """Sockets that were accepted, and have yet to say who they are."""

    # -- coming and going -------------------------------------------------------------------

    @contextmanager
    def stranger(self, address: str | None) -> Iterator[None]:
        """Count one more of them at the door, until it is known or gone."""
        self.strangers += 1
        self._strangers[address] += 1
        try:
            yield
        finally:
            self.strangers -= 1
            self._strangers[address] -= 1
            if not self._strangers[address]:
                del self._strangers[address]

    def refusal(self, identity: Identity, address: str | None = None) -> CloseCode | None:
        """Why one more connection of this identity would be one too many; None lets it in.

        What it says is counted in `rejects`. Sockets that have not said who they are keep nobody
        out here: this is for good, and at the door such a client is told to come again.
        """
        limits, now = self.options, self.clock.monotonic()
        if self._blocks.holds(identity.sub, now):
            self.rejects.note("blocked_user", identity.sub)
            return codes.PERMISSION_DENIED_CLOSE
        if limits.max_connections is not None and len(self._connections) >= limits.max_connections:
            self.rejects.note("connection_limit", address or "?")
            return codes.CONNECTION_LIMIT
        most = limits.connections_per_user
        if most is not None and self._by_user.count(identity.sub) >= most:
            self.rejects.note("user_connection_limit", identity.sub)
            return codes.CONNECTION_LIMIT
        if self._has_most(self._by_address.count(address) if address is not None else 0):
            self.rejects.note("address_connection_limit", address or "?")
            return codes.CONNECTION_LIMIT
        return None

    def is_crowded(self, address: str | None) -> bool:
        """Whether one more socket from `address` would be one too many."""
        if address is None:
            return False
        return self._has_most(self._by_address.count(address) + self._strangers[address])

    def _has_most(self, from_one_address: int) -> bool:
        most = self.options.connections_per_address
        return most is not None and from_one_address >= most

    def connect(
        self,
        identity: Identity,
        dialect: Dialect,
        transport: Transport,
        *,
        address: str | None = None,
    ) -> Connection:
        """Let a peer in. Its way out is `disconnect`, called by the transport exactly once."""
        connection = Connection(
            self,
            next(self._ids),
            identity,
            dialect,
            transport,
            outbox=Outbox(self.options.outbox_limit),
            address=address,
        )
        self._connections[connection.id] = connection
        self._by_user.add(identity.sub, connection)
        if address is not None and self.options.connections_per_address is not None:
            self._by_address.add(address, connection)
        self.stats.active_connections += 1
        self.stats.total_connections += 1
        self.watch_expiry(connection)
        if logger.isEnabledFor(logging.INFO):
            logger.info("%s connected: %s %s", connection.id, dialect.name, ascii(identity.sub))
        if self.draining:  # it was at the door when the goodbyes were said
            connection.close(codes.SHUTDOWN)
        return connection

    def disconnect(self, connection: Connection, peer_code: int | None = None) -> None:
        """Forget a peer that left; `peer_code` is what it said, where it said something."""
        if self._connections.pop(connection.id, None) is None:
            return
        for subscription in connection.subscriptions.values():
            subscription.channel.leave(subscription)  # before all else: see `hub.sockets`
        self._by_user.discard(connection.identity.sub, connection)
        if connection.address is not None:
            self._by_address.discard(connection.address, connection)
        self._expiry.drop(connection.id)
        ours = connection.close_code
        for_good = ours is not None and not ours.reconnect
        for subscription in list(connection.subscriptions.values()):
            self.leave(subscription, for_good=for_good)
        self._presence.lose(connection.id)
        connection.gone()
        self.stats.active_connections -= 1
        self.stats.total_disconnections += 1
        self.stats.superseded_or_dropped += connection.outbox.superseded + connection.outbox.dropped
        if ours is not None:
            self.stats.closes[ours.number] += 1
        code = ours.number if ours is not None else peer_code
        logger.info("%s disconnected: %s", connection.id, code or "lost")
        if not self._connections:
            self._emptied()

    def connection(self, id: str) -> Connection | None:
        """A connection that is here now, to be joined, filtered or spoken to."""
        return self._connections.get(id)

    def connections(self) -> list[Connection]:
        """All connections that are here now."""
        return list(self._connections.values())

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

    # -- users ------------------------------------------------------------------------------

    @property
    def users(self) -> int:
        """How many users have a connection on this node."""
        return len(self._by_user)

    def connections_of(self, sub: str, client: str | None = None) -> list[Connection]:
        """The connections of a user on this node, or of them the one with the id `client`."""
        return [one for one in self._by_user.of(sub) if client in (None, one.id)]

    def close_user(
        self,
        sub: str,
        code: CloseCode = codes.FORCE_DISCONNECT,
        *,
        except_: Collection[str] = (),
    ) -> int:
        """Close a user's connections, but for those whose ids are in `except_`; how many."""
        leaving = [one for one in self._by_user.of(sub) if one.id not in except_]
        for connection in leaving:
            connection.close(code)
        return len(leaving)

    def block_user(self, sub: str, seconds: float | None = None) -> int:
        """Send a user away with 3507, and let no connection of its in for `seconds`.

        None: until `unblock_user`, or the end of the process. Returns how many were closed.
        """
        self._blocks.add(sub, seconds, self.clock.monotonic())
        return self.close_user(sub, codes.PERMISSION_DENIED_CLOSE)

    def unblock_user(self, sub: str) -> bool:
        """Let a user in again. False: it was not blocked."""
        return self._blocks.lift(sub)

    async def subscribe(
        self,
        sub: str,
        channel: str,
        *,
        client: str | None = None,
        info: Any = None,
        since: Position | None = None,
    ) -> int:
        """Put a user's connections, or the one that is `client`, on `channel`.

        Not those that hold one channel only. Nobody is asked whether they may: your code decided.
        Clients whose dialect can say so are told. `info` is what others there know of it, `since`
        from where it is told what it missed. Returns how many are there that were not.

        Raises:
            Refused: nobody declared the channel.
            Unavailable: the engine or the snapshot is out of reach.
        """
        self.options_of(channel)
        put = 0
        for connection in self.connections_of(sub, client):
            if connection.dialect.many and not connection.closing:
                put += await self._put(connection, channel, info, since)
        return put

    def unsubscribe(self, sub: str, channel: str, *, client: str | None = None) -> int:
        """Take a user's connections, or the one that is `client`, off `channel`; how many.

        One that held this channel only has nothing left, and is closed with 3503.
        """
        taken = 0
        for connection in self.connections_of(sub, client):
            subscription = connection.subscriptions.get(channel)
            if subscription is None:
                continue
            taken += 1
            if not connection.dialect.many:
                connection.close(codes.FORCE_DISCONNECT)
                continue
            self.leave(subscription, for_good=True)
            if connection.dialect.moves:
                code = codes.UNSUBSCRIBED
                connection.reply(Taken(channel, code.number, code.reason))
        return taken

    async def _put(
        self, connection: Connection, channel: str, info: Any, since: Position | None
    ) -> bool:
        def greet(subscription: Subscription, entry: Entry) -> None:
            subscription.server_side = True
            subscription.info = info
            # It may have been taken off again while the snapshot was read.
            here = connection.subscriptions.get(channel) is subscription
            if here and connection.dialect.moves:
                recovered = None if since is None else entry.recovered
                told = Subscribed(channel, entry.position, recovered, snapshot=entry.snapshot)
                connection.reply(Put(told))  # what was missed follows as publications

        found = self.namespaces.find(channel)
        moves = connection.dialect.moves
        parameters = found[0].guard.convert(found[1]) if found is not None and moves else None
        try:
            subscription = await enter(
                self, connection, channel, since, greet=greet, parameters=parameters
            )
        except Refused as refused:
            if refused.code not in (codes.ALREADY_SUBSCRIBED, codes.LIMIT_EXCEEDED):
                raise
            return False
        return connection.subscriptions.get(channel) is subscription

    # -- for the hub ------------------------------------------------------------------------

    def _emptied(self) -> None:
        """The last connection left."""

    async def _expired(self, ids: list[str]) -> None:
        for id in ids:
            connection = self._connections.get(id)
            if connection is None or id in self._expiry:
                continue
            # Between the timer and this task a token without an end may have come as well.
            if connection.identity.expires_at is not None:
                connection.close(codes.EXPIRED)
