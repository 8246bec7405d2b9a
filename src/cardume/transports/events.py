"""A channel as a stream of events: `GET /api/v1/channels/{channel}/events`.

For `EventSource`, curl and everything else that reads HTTP. Each event is an envelope of the
`plain` dialect; its id is its position, so `Last-Event-ID` or `?since=` resumes.
"""

from __future__ import annotations

from typing import Final

from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from cardume.auth.handshake import header
from cardume.errors import Invalid
from cardume.hub.access import access
from cardume.hub.connection import Connection
from cardume.hub.entry import Entry
from cardume.hub.filters import type_filter
from cardume.hub.hub import Hub
from cardume.hub.outbox import Frame
from cardume.hub.subscription import Subscription
from cardume.transports.door import Visitor
from cardume.transports.entrance import serve
from cardume.transports.plain import PlainStay
from cardume.transports.sse import ChannelStream
from cardume.transports.stay import Admission, Stay
from cardume.wire import codes
from cardume.wire.dialects.events import EventsDialect
from cardume.wire.messages import Position

DIALECT: Final = EventsDialect()

PATH: Final = "/api/v1/channels/{channel}/events"

BEAT_EVERY = 25.0
"""Seconds between two comments, so that nobody on the way takes a quiet stream for a dead one."""

_BEAT = Frame(b"")


class ChannelEvents:
    """The address, as an ASGI app."""

    __name__ = "channel_events"

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.route = Route(PATH, self, methods=["GET"], name="channel_events")
        self._beats = hub.leases(self._beat, "event stream beats")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        stream = ChannelStream(scope, receive, send)
        address = _EventsAddress(self, stream, scope["path_params"]["channel"])

        async def serve_stream(scope: Scope, receive: Receive, send: Send) -> None:
            await serve(self.hub, address, scope, receive, send)

        await stream.run(serve_stream)

    def watch(self, connection: Connection) -> None:
        """Keep its stream awake."""
        self._beats.touch_in(connection.id, BEAT_EVERY)

    async def _beat(self, ids: list[str]) -> None:
        for connection in filter(None, map(self.hub.connection, ids)):
            if not connection.offer(_BEAT):
                connection.close(codes.SLOW)
            self.watch(connection)


class _EventsAddress:
    """One stream on its way to a channel."""

    dialect = DIALECT

    def __init__(self, events: ChannelEvents, stream: ChannelStream, channel: str) -> None:
        self._events = events
        self._stream = stream
        self._channel = channel

    async def admit(self, hub: Hub, visitor: Visitor, scope: Scope) -> Admission:
        """Whoever may subscribe to the channel in other dialects."""
        identity = await visitor.identify(hub)
        granted = await access(hub, identity, self._channel, scope)
        since = _last_event(scope) or visitor.since

        def begin(connection: Connection) -> Stay:
            connection.types = type_filter(visitor.types)
            self._events.watch(connection)
            stay = _EventsStay(hub, connection, self._channel, granted.parameters, since)
            stay.stream = self._stream
            return stay

        return Admission(identity, begin)


class _EventsStay(PlainStay):
    """A reader of a stream."""

    stream: ChannelStream

    def greet(self, subscription: Subscription, entry: Entry) -> None:
        self.stream.epoch = entry.position.epoch
        super().greet(subscription, entry)


def _last_event(scope: Scope) -> Position | None:
    """An id that cannot be read is one that is not known: the reader starts over."""
    try:
        id = header(scope["headers"], b"last-event-id")
        return Position.parse(id) if id else None
    except Invalid:
        return Position("-", 0)
