"""Clients of a hub without a socket: an in-memory transport, and the session a client saw."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

from cardume.auth.identity import Identity
from cardume.hub.channel import Channel
from cardume.hub.commands import handle
from cardume.hub.connection import Connection
from cardume.hub.entry import Entry, enter
from cardume.hub.hub import Hub
from cardume.hub.namespaces import ChannelOptions, ChannelTemplate, Namespace, Snapshot
from cardume.hub.subscription import Subscription
from cardume.wire.codes import CloseCode
from cardume.wire.dialects.plain import PlainDialect
from cardume.wire.messages import Connected, Position
from cardume.wire.messages import Snapshot as SnapshotReply

PLAIN = PlainDialect()
ANNA = Identity("anna")

Frame = dict[str, Any]


class OpenGuard:
    """Lets everybody in, with the parameters as they are."""

    def convert(self, raw: Mapping[str, str]) -> dict[str, Any]:
        return dict(raw)

    async def check(
        self, identity: Identity, parameters: Mapping[str, Any], scope: Mapping[str, Any]
    ) -> None:
        return None


class Nobody:
    """A verifier that no test asks."""

    async def verify(self, token: str) -> Identity:
        raise AssertionError("nobody comes with a token here")


def declare(hub: Hub, template: str, *, snapshot: Snapshot | None = None, **options: Any) -> None:
    """Make channels like `template` known to `hub`, open to all."""
    declared = ChannelOptions(snapshot=snapshot, **options)
    hub.declare(Namespace(ChannelTemplate(template), declared, OpenGuard()))


class MemoryTransport:
    """`cardume.hub.connection.Transport` whose peer reads at once, or not at all if `stalled`."""

    def __init__(self, *, stalled: bool = False) -> None:
        self.stalled = stalled
        self.frames: list[Frame] = []
        self.close_code: CloseCode | None = None
        self.on_close: Callable[[], object] | None = None
        self._connection: Connection | None = None

    def attach(self, connection: Connection) -> None:
        self._connection = connection

    def wake(self) -> None:
        if not self.stalled:
            self.read()

    def close(self, code: CloseCode, *, flush: bool) -> None:
        assert self.close_code is None, "closed twice"
        if flush and not self.stalled:
            self.read()
        self.close_code = code
        if self.on_close is not None:
            self.on_close()

    def read(self) -> None:
        """Take what is queued, as a reader that caught up."""
        if self._connection is None:
            return
        while (frame := self._connection.outbox.take()) is not None:
            self.frames.append(json.loads(frame.payload))


class Peer:
    """One client of one channel, as `transports.asgi` drives it, with all that it was sent."""

    def __init__(
        self, hub: Hub, identity: Identity = ANNA, *, stalled: bool = False, dialect: Any = PLAIN
    ) -> None:
        self.hub = hub
        self.transport = MemoryTransport(stalled=stalled)
        self.connection = hub.connect(identity, dialect, self.transport)
        self.transport.attach(self.connection)
        # As every transport does: first the goodbye, then, soon, `disconnect`.
        self.transport.on_close = lambda: asyncio.get_running_loop().call_soon(self.leave)
        self.subscription: Subscription | None = None

    @property
    def frames(self) -> list[Frame]:
        return self.transport.frames

    @property
    def code(self) -> int | None:
        """What the connection was closed with."""
        code = self.transport.close_code
        return None if code is None else code.number

    @property
    def live(self) -> bool:
        return self.transport.close_code is None

    @property
    def channel(self) -> Channel:
        assert self.subscription is not None
        return self.subscription.channel

    def of_type(self, type: str) -> list[Frame]:
        return [frame for frame in self.frames if frame["type"] == type]

    def offsets(self) -> list[int]:
        """The offsets of the publications it got."""
        return [frame["offset"] for frame in self.frames if "channel" in frame]

    async def enter(
        self, channel: str, since: Position | None = None, types: frozenset[str] | None = None
    ) -> Peer:
        """Join and be told, as the first frames of a connection are."""
        found = self.hub.namespaces.find(channel)
        assert found is not None
        self.connection.types = types
        self.subscription = await enter(
            self.hub, self.connection, channel, since, greet=self._greet, parameters=found[1]
        )
        return self

    def _greet(self, subscription: Subscription, entry: Entry) -> None:
        connection, name = self.connection, subscription.channel.name
        connection.reply(Connected(connection.id, name, entry.position, entry.recovered, None))
        if entry.snapshot is not None:
            connection.reply(SnapshotReply(entry.snapshot, entry.position))

    async def say(self, message: Any) -> Frame | None:
        """Send a command; the last frame after it."""
        assert self.subscription is not None
        text = message if isinstance(message, str) else json.dumps(message)
        await handle(self.hub, self.subscription, text)
        return self.frames[-1] if self.frames else None

    def leave(self) -> None:
        """The socket is gone."""
        self.hub.disconnect(self.connection)
