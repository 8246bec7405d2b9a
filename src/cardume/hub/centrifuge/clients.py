"""Clients of the `centrifuge` dialect: many channels on one connection, pings that we send."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from cardume.auth.identity import Identity
from cardume.hub.centrifuge.client import DIALECT, PING_EVERY, Client
from cardume.hub.connection import Connection
from cardume.hub.hub import Hub
from cardume.hub.limits import Conduct
from cardume.hub.outbox import Frame
from cardume.wire import codes
from cardume.wire.dialects.centrifuge import PING
from cardume.wire.messages import Connect

__all__ = ["DIALECT", "PING_EVERY", "PONG_WITHIN", "Client", "Clients", "Hearer"]

PONG_WITHIN = 8.0
"""Seconds, as Centrifugo's; a ping that is not answered ends the connection with 3012."""

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
        # One that comes back subscribes to all its channels in the first frame, and all of them
        # may have been closed to it meanwhile.
        rate, channels = limits.messages_per_minute, limits.channels_per_connection
        now = self.hub.clock.monotonic()
        connection.conduct = Conduct(rate / 60, rate + channels, now, errors=20 + channels)
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
