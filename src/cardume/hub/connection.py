"""One client: who it is, how it speaks, what waits for it. It sees its transport as write/close."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

from cardume.auth.identity import Identity
from cardume.errors import Invalid, Refused
from cardume.hub.channel import Subscription
from cardume.hub.entry import enter
from cardume.hub.filters import TypeFilter, bounded, with_types, without_types
from cardume.hub.limits import Strikes, TokenBucket
from cardume.hub.outbox import Frame, Outbox, SlowPolicy
from cardume.wire import codes, json
from cardume.wire.codes import CloseCode
from cardume.wire.dialects import Dialect
from cardume.wire.messages import Reply, Said, Taken, check_texts

if TYPE_CHECKING:
    from cardume.hub.membership import Membership


class Transport(Protocol):
    """The way to the peer. Both calls return at once."""

    def wake(self) -> None:
        """The outbox has something to write."""

    def close(self, code: CloseCode, *, flush: bool) -> None:
        """Write what is queued if `flush`, say goodbye with `code`, let go in bounded time."""


class Connection:
    """A peer that was let in. Everything that leaves it leaves through its outbox.

    `Hub.connection(id)` hands it to your own code: `join`, `leave`, `subscribe`, `unsubscribe`,
    `send` and `metadata` do from here what the client could ask for itself, or better.
    """

    __slots__ = (
        "_hub",
        "_metadata",
        "address",
        "bucket",
        "client_id",
        "close_code",
        "connected_at",
        "dialect",
        "errors",
        "excess",
        "id",
        "identity",
        "messages_received",
        "messages_sent",
        "outbox",
        "subscriptions",
        "transport",
        "types",
    )

    def __init__(
        self,
        hub: Membership,
        id: str,
        identity: Identity,
        dialect: Dialect,
        transport: Transport,
        *,
        outbox: Outbox,
        bucket: TokenBucket,
        address: str | None = None,
    ) -> None:
        self.id = id
        self.address = address
        """The peer's, where it is known."""
        self.client_id = id
        """A label that the client chose; others may have the same."""
        self.identity = identity
        self.dialect = dialect
        self.transport = transport
        self.outbox = outbox
        self.bucket = bucket
        self.excess = Strikes(allowed=10)
        self.errors = Strikes(allowed=20)
        self.subscriptions: dict[str, Subscription] = {}
        self.types: TypeFilter = None
        """The filter of the whole connection."""
        self.close_code: CloseCode | None = None
        self.connected_at = hub.clock.now()
        """Wall-clock seconds."""
        self.messages_sent = 0
        self.messages_received = 0
        self._hub = hub
        self._metadata: dict[str, Any] | None = None

    @property
    def closing(self) -> bool:
        return self.close_code is not None

    @property
    def metadata(self) -> dict[str, Any]:
        """Whatever your code wants to remember here, anything with a JSON form.

        A client of the `rooms` dialect reads it with `info`, and cannot write it.
        """
        if self._metadata is None:
            self._metadata = {}
        return self._metadata

    # -- for the application ----------------------------------------------------------------

    async def join(self, room: str) -> None:
        """Put the client on a channel, live from now on. No frame says so; joining twice is fine.

        Nobody is asked whether it may: your code decided.

        Raises:
            Refused: nobody declared the channel; too many; a dialect of one channel.
            Unavailable: the engine is out of reach.
        """
        if not self.dialect.many:
            raise Refused(
                codes.NOT_AVAILABLE, f"a connection in `{self.dialect.name}` has one channel"
            )
        if room not in self.subscriptions:
            await enter(self._hub, self, room)

    def leave(self, room: str) -> bool:
        """Take the client off a channel. False: it was not there."""
        if not self.dialect.many:
            raise Refused(
                codes.NOT_AVAILABLE, f"a connection in `{self.dialect.name}` has one channel"
            )
        subscription = self.subscriptions.get(room)
        if subscription is None:
            return False
        self._hub.leave(subscription)
        return True

    def subscribe(self, types: Iterable[str]) -> None:
        """Add event types to the filter of the whole connection; no filter lets all through.

        Raises:
            Refused: more than a filter holds.
        """
        self.narrow(bounded(with_types(self.types, types)))

    def unsubscribe(self, types: Iterable[str] | None = None) -> None:
        """Remove event types from the filter, or all of it; an empty filter is none."""
        self.narrow(without_types(self.types, types))

    def send(self, type: str, data: Any = None, *, source: str | None = None) -> bool:
        """Say something to this client alone: on no channel, through no filter, kept nowhere.

        `data` is anything with a JSON form, None an empty object. False: it is leaving.

        Raises:
            Invalid: no JSON, a text of over 255 characters, a type that is the dialect's own.
            Refused: larger than an outbox (106).
        """
        check_texts(type=type, source=source)
        if type in self.dialect.reserved:
            raise Invalid(f"type {type!r} is the hub's own")
        self.reply(Said(type, json.encode({} if data is None else data), source))
        return not self.closing

    # -- for the hub ------------------------------------------------------------------------

    def narrow(self, types: TypeFilter) -> None:
        """Change the filter of the whole connection."""
        self.types = types
        for subscription in self.subscriptions.values():
            subscription.channel.narrow(subscription, types)

    def offer(
        self, frame: Frame, key: str | None = None, policy: SlowPolicy = SlowPolicy.DISCONNECT
    ) -> bool:
        """Queue a frame. False: the outbox is full, and the caller cuts the reader."""
        if self.close_code is not None:
            return True
        if not self.outbox.offer(frame, key, policy):
            return False
        self.transport.wake()
        return True

    def reply(self, reply: Reply, id: int | str | None = None) -> None:
        """Queue an answer for this peer alone.

        Raises:
            Invalid: it has no JSON form.
            Refused: it is larger than an outbox, and no fault of a reader that is slow (106).
        """
        frame = Frame(self.dialect.reply(reply, id=id, time=self._hub.clock.now()))
        if len(frame) > self.outbox.limit:
            raise Refused(codes.LIMIT_EXCEEDED, "the answer is larger than an outbox")
        if not self.offer(frame):
            self.close(codes.SLOW)

    def lose(self, subscription: Subscription) -> None:
        """What it would be told on a channel has a gap: it comes back to it, and resumes.

        A client that put itself there comes back to the channel; another one comes back whole.
        """
        if self.close_code is not None:
            return
        if not self.dialect.moves or subscription.server_side:
            self.close(codes.INSUFFICIENT_STATE)
            return
        self._hub.leave(subscription)
        code = codes.CHANNEL_STATE_LOST
        self.reply(Taken(subscription.channel.name, code.number, code.reason))

    def close(self, code: CloseCode) -> None:
        """End the connection. The first reason given is the one that counts."""
        if self.close_code is not None:
            return
        self.close_code = code
        # A slow reader is not waited for, and one that lost its place gets nothing more.
        flush = code.number not in _CUT
        if not flush:
            self.outbox.clear()
        goodbye = self.dialect.goodbye(code, time=self._hub.clock.now())
        if goodbye is not None:
            self.outbox.push(Frame(goodbye))
            flush = True
        self.transport.close(code, flush=flush)


_CUT = frozenset({codes.SLOW.number, codes.INSUFFICIENT_STATE.number})
