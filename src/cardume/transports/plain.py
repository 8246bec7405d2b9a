"""The `plain` dialect at an address: the channels of a namespace, one a connection."""

from __future__ import annotations

from typing import Any, Final

from cardume.hub.commands import handle
from cardume.hub.connection import Connection
from cardume.hub.entry import Entry, enter
from cardume.hub.filters import type_filter
from cardume.hub.hub import Hub
from cardume.hub.namespaces import Namespace
from cardume.hub.subscription import Subscription
from cardume.transports.door import Scope, Visitor
from cardume.transports.stay import Admission, Stay
from cardume.wire.dialects.plain import PlainDialect
from cardume.wire.messages import Connected, Position, Snapshot

PLAIN: Final = PlainDialect()


class PlainAddress:
    """The channels of a namespace, one a connection, in the `plain` dialect."""

    dialect = PLAIN

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace

    async def admit(self, hub: Hub, visitor: Visitor, scope: Scope) -> Admission:
        """Whom the namespace's guard lets in."""
        identity = await visitor.identify(hub)
        guard = self._namespace.guard
        parameters = guard.convert(scope["path_params"])
        await guard.check(identity, parameters, scope)
        channel = self._namespace.template.fill(parameters)

        def begin(connection: Connection) -> Stay:
            connection.types = type_filter(visitor.types)
            return PlainStay(hub, connection, channel, parameters, visitor.since)

        return Admission(identity, begin)


class PlainStay:
    """A connection that holds one channel."""

    __slots__ = ("_channel", "_connection", "_hub", "_parameters", "_since", "_subscription")

    def __init__(
        self,
        hub: Hub,
        connection: Connection,
        channel: str,
        parameters: dict[str, Any] | None,
        since: Position | None,
    ) -> None:
        self._hub = hub
        self._connection = connection
        self._channel = channel
        self._parameters = parameters
        self._since = since
        self._subscription: Subscription | None = None

    async def enter(self) -> None:
        self._subscription = await enter(
            self._hub,
            self._connection,
            self._channel,
            self._since,
            greet=self.greet,
            parameters=self._parameters,
        )

    async def hear(self, text: str) -> None:
        assert self._subscription is not None
        await handle(self._hub, self._subscription, text)

    def left(self) -> None:
        """Nothing here is to be forgotten."""

    def greet(self, subscription: Subscription, entry: Entry) -> None:
        """Tell it where it stands."""
        connection = self._connection
        expires_in = self._hub.expires_in(connection.identity)
        name = subscription.channel.name
        connection.reply(
            Connected(connection.id, name, entry.position, entry.recovered, expires_in)
        )
        if entry.snapshot is not None:
            connection.reply(Snapshot(entry.snapshot, entry.position))
