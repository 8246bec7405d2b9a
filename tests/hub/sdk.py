"""Clients in the `centrifuge` dialect, of which one connection may hold many channels."""

from __future__ import annotations

from typing import Any

from cardume.auth.identity import Identity
from cardume.hub.entry import Entry, enter
from cardume.hub.hub import Hub
from cardume.hub.subscription import Subscription
from cardume.hub.tags import TagFilter
from cardume.wire.dialects.centrifuge import CentrifugeDialect
from cardume.wire.messages import Position, Subscribed
from tests.support.peers import Frame, Peer

DIALECT = CentrifugeDialect()


class Client(Peer):
    """One connection; `pushes` are what it was told unasked."""

    def __init__(self, hub: Hub, user: str = "anna", *, stalled: bool = False) -> None:
        super().__init__(hub, Identity(user), stalled=stalled, dialect=DIALECT)

    async def subscribe(
        self,
        channel: str,
        since: Position | None = None,
        *,
        joins: bool = False,
        tags: TagFilter | None = None,
        info: Any = None,
    ) -> Entry:
        """Come onto a channel; what it was told first."""
        told: list[Entry] = []

        def greet(subscription: Subscription, entry: Entry) -> None:
            subscription.joins, subscription.tags, subscription.info = joins, tags, info
            told.append(entry)
            reply = Subscribed(channel, entry.position, entry.recovered, snapshot=entry.snapshot)
            self.connection.reply(reply, 1)

        found = self.hub.namespaces.find(channel)
        parameters = found[1] if found is not None else {}
        self.subscription = await enter(
            self.hub, self.connection, channel, since, greet=greet, parameters=parameters
        )
        return told[0]

    def unsubscribe(self, channel: str) -> None:
        self.hub.leave(self.connection.subscriptions[channel])

    def pushes(self, kind: str) -> list[Frame]:
        """The members called `kind` of the pushes it got: `pub`, `join`, `leave`, `unsubscribe`."""
        pushes = [frame["push"] for frame in self.frames if "push" in frame]
        return [push[kind] for push in pushes if kind in push]

    def heard(self) -> list[tuple[str, str]]:
        """Who came (`join`) and went (`leave`), by connection id."""
        pushes = [frame["push"] for frame in self.frames if "push" in frame]
        return [
            (kind, push[kind]["info"]["client"])
            for push in pushes
            for kind in ("join", "leave")
            if kind in push
        ]

    def told(self) -> list[Any]:
        """The data of the publications it got."""
        return [pub["data"] for pub in self.pushes("pub")]
