"""One client: who it is, how it speaks, what waits for it. It sees its transport as write/close."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from cardume.auth.identity import Identity
from cardume.hub.channel import Subscription
from cardume.hub.limits import Strikes, TokenBucket
from cardume.hub.outbox import Frame, Outbox, SlowPolicy
from cardume.wire import codes
from cardume.wire.codes import CloseCode
from cardume.wire.dialects import Dialect
from cardume.wire.messages import Reply


class Transport(Protocol):
    """The way to the peer. Both calls return at once."""

    def wake(self) -> None:
        """The outbox has something to write."""

    def close(self, code: CloseCode, *, flush: bool) -> None:
        """Write what is queued if `flush`, say goodbye with `code`, let go in bounded time."""


class Connection:
    """A peer that was let in. Everything that leaves it leaves through its outbox."""

    __slots__ = (
        "_now",
        "bucket",
        "close_code",
        "dialect",
        "errors",
        "excess",
        "id",
        "identity",
        "outbox",
        "subscriptions",
        "transport",
    )

    def __init__(
        self,
        id: str,
        identity: Identity,
        dialect: Dialect,
        transport: Transport,
        *,
        outbox: Outbox,
        bucket: TokenBucket,
        now: Callable[[], float],
    ) -> None:
        self.id = id
        self.identity = identity
        self.dialect = dialect
        self.transport = transport
        self.outbox = outbox
        self.bucket = bucket
        self.excess = Strikes(allowed=10)
        self.errors = Strikes(allowed=20)
        self.subscriptions: dict[str, Subscription] = {}
        self.close_code: CloseCode | None = None
        self._now = now

    @property
    def closing(self) -> bool:
        return self.close_code is not None

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
        """Queue an answer for this peer alone."""
        if not self.offer(Frame(self.dialect.reply(reply, id=id, time=self._now()))):
            self.close(codes.SLOW)

    def close(self, code: CloseCode) -> None:
        """End the connection. The first reason given is the one that counts."""
        if self.close_code is not None:
            return
        self.close_code = code
        # A slow reader is not waited for, and one that lost its place gets nothing more.
        flush = code.number not in _CUT
        if not flush:
            self.outbox.clear()
        self.transport.close(code, flush=flush)


_CUT = frozenset({codes.SLOW.number, codes.INSUFFICIENT_STATE.number})
