"""One client: who it is, how it speaks, what waits for it. It sees its transport as write/close."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

from cardume.auth.identity import Identity
from cardume.errors import Invalid, Refused
from cardume.hub import sockets
from cardume.hub.entry import enter
from cardume.hub.fanout import Write
from cardume.hub.filters import TypeFilter, bounded, with_types, without_types
from cardume.hub.limits import Conduct
from cardume.hub.outbox import Frame, Outbox, SlowPolicy
from cardume.hub.subscription import Subscription
from cardume.wire import codes, json
from cardume.wire.codes import CloseCode
from cardume.wire.dialects import Dialect
from cardume.wire.messages import Reply, Said, Taken, check_texts

if TYPE_CHECKING:
    from cardume.hub.membership import Membership


class Transport(Protocol):
    """The way to the peer. Both calls return at once.

    One that can write by itself whatever it is given says so by `Connection.resume`, and when it
    is full by `Connection.stall`. In between frames go to it directly, past the outbox.
    """

    def wake(self) -> None:
        """The outbox has something to write."""

    def close(self, code: CloseCode, *, flush: bool) -> None:
        """Write what is queued if `flush`, say goodbye with `code`, let go in bounded time."""


class _Nowhere:
    """Where a connection leads whose peer has left. It no longer keeps the real one alive."""

    def wake(self) -> None:
        pass

    def close(self, code: CloseCode, *, flush: bool) -> None:
        pass


_NOWHERE = _Nowhere()


class Connection:
    """A peer that was let in. Everything that leaves it leaves through its outbox.

    `Hub.connection(id)` hands it to your own code: `join`, `leave`, `subscribe`, `unsubscribe`,
    `send` and `metadata` do from here what the client could ask for itself, or better.
    """

    __slots__ = (
        "_conduct",
        "_hub",
        "_metadata",
        "_sent",
        "address",
        "client_id",
        "close_code",
        "compresses",
        "connected_at",
        "dialect",
        "fileno",
        "id",
        "identity",
        "messages_received",
        "outbox",
        "subscriptions",
        "transport",
        "types",
        "write",
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
        self.write: Write | None = None
        """Takes framed bytes at once; None: whatever there is to say is queued."""
        self.fileno = sockets.NO_FILENO
        """Under its transport, for `hub.sockets`. To be set before it is on a channel."""
        self.compresses = False
        """Whether the peer agreed on compression."""
        self.subscriptions: dict[str, Subscription] = {}
        self.types: TypeFilter = None
        """The filter of the whole connection."""
        self.close_code: CloseCode | None = None
        self.connected_at = hub.clock.now()
        """Wall-clock seconds."""
        self.messages_received = 0
        self._hub = hub
        self._sent = 0
        self._conduct: Conduct | None = None
        self._metadata: dict[str, Any] | None = None

    @property
    def closing(self) -> bool:
        return self.close_code is not None

    @property
    def conduct(self) -> Conduct:
        """How it keeps to the limits; made when it says something first."""
        if self._conduct is None:
            rate = self._hub.options.messages_per_minute
            self._conduct = Conduct(rate / 60, rate, self._hub.clock.monotonic())
        return self._conduct

    @conduct.setter
    def conduct(self, conduct: Conduct) -> None:
        self._conduct = conduct

    @property
    def messages_sent(self) -> int:
        """Messages that its transport was handed."""
        here = self.subscriptions.values()
        return self._sent + sum(each.channel.written(each) for each in here)

    def count_sent(self, messages: int) -> None:
        """Its transport was handed so many more."""
        self._sent += messages

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
        """Write a frame, or queue it. False: the outbox is full, and the caller cuts the reader."""
        if self.close_code is not None:
            return True
        if self.write is not None:
            self.write(frame.wire)
            self._sent += 1
            self._hub.stats.messages_sent += 1
            return True
        if not self.outbox.offer(frame, key, policy):
            return False
        self.transport.wake()
        return True

    def reply(self, reply: Reply, id: int | str | None = None) -> None:
        """Queue an answer for this peer alone, after what was published before it.

        Raises:
            Invalid: it has no JSON form.
            Refused: it is larger than an outbox, and no fault of a reader that is slow (106).
        """
        frame = Frame(self.dialect.reply(reply, id=id, time=self._hub.clock.now()))
        if len(frame) > self.outbox.limit:
            raise Refused(codes.LIMIT_EXCEEDED, "the answer is larger than an outbox")
        self._catch_up()
        if not self.offer(frame):
            self.close(codes.SLOW)

    def resume(self, write: Write) -> None:
        """From now on `write` takes whatever it is given; nothing is queued."""
        self.write = write
        for subscription in self.subscriptions.values():
            subscription.channel.resume(subscription)

    def stall(self) -> None:
        """The transport is full: queue what comes."""
        if self.write is None:
            return
        self.write = None
        subscriptions = self.subscriptions.values()
        if not all([each.channel.stall(each) for each in subscriptions]):
            self.close(codes.SLOW)

    def gone(self) -> None:
        """Its peer has left: nothing that is said from now on goes anywhere."""
        self.write = None
        self.transport = _NOWHERE

    def _catch_up(self) -> None:
        if self.write is not None:
            for subscription in self.subscriptions.values():
                subscription.channel.catch_up(subscription)

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
        self._catch_up()
        if self.closing:  # that was too much for it
            return
        self.close_code = code
        self.stall()
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
