"""The Engine port: where positions are issued and how publications reach this node.

An engine appends a publication and announces it to every node in one step; each node's hub then
receives it through the `Deliver` callable, in offset order per channel. Memory does both inside
one call; Redis will append in a script and deliver from its subscription. The hub relies on
nothing else, so an engine that survives the process needs no change above this line.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import msgspec

from cardume.wire.messages import Position, Publication

Deliver = Callable[[str, Publication, Position], None]
"""Called on the hub's loop with the channel, a publication that has its offset, its position."""

IDEMPOTENCY_WINDOW = 300.0
"""Seconds during which the same idempotency key answers the first position."""


class Retention(msgspec.Struct, frozen=True, gc=False):
    """How much of a channel an engine keeps.

    `size` publications of `octets` bytes between them (`weight`), none older than `ttl` seconds.
    Of `keys` keys, with as many bytes again, the latest publication is kept until null is
    published under the key.
    """

    size: int
    ttl: float
    octets: int = 4 * 1024 * 1024
    keys: int = 0


class Replay(msgspec.Struct, frozen=True, gc=False):
    """What a channel holds after a position.

    `publications` is everything after the position asked for, or None where that is not wholly
    known: another epoch, trimmed history, a position from the future, more than the limit.
    A part of it is never given. `top` is the position it was read at.
    """

    top: Position
    publications: tuple[Publication, ...] | None


class Page(NamedTuple):
    """What is kept of a channel, as a reader of history asks for it.

    None: the place asked for is not known, so that something between might be missing.
    """

    top: Position
    publications: tuple[Publication, ...] | None


class StateFull(Exception):  # noqa: N818 - the caller's state, not a malfunction
    """A new key, or more data under one, than a channel may keep."""


class KeyReused(Exception):  # noqa: N818 - the caller's state, not a malfunction
    """The idempotency key was used with another body within the window."""


class Engine(Protocol):
    """Issues positions, keeps history, carries publications between nodes.

    Every coroutine may raise `cardume.errors.Unavailable`: the publication was not kept.
    """

    async def start(self, deliver: Deliver) -> None:
        """Begin; `deliver` is called for every channel this node subscribed to."""

    async def stop(self) -> None:
        """Release everything. Publications already accepted stay accepted."""

    async def publish(
        self,
        channel: str,
        publication: Publication,
        retention: Retention | None,
        idempotency_key: str | None = None,
    ) -> Position:
        """Append (where `retention` says to keep) and announce.

        Returns the position given; the empty one without retention.

        Raises:
            KeyReused: same key, other body.
            StateFull: the channel's keyed state can hold no more; nothing was appended.
        """

    async def replay(
        self, channel: str, since: Position | None, retention: Retention, limit: int
    ) -> Replay:
        """Read the top and, given `since`, what follows it."""

    async def history(
        self,
        channel: str,
        since: Position | None,
        retention: Retention,
        limit: int,
        reverse: bool,
    ) -> Page:
        """Read the top, and at most `limit` publications after `since`, or before it backwards.

        Without `since` from the oldest, or from the newest backwards. An empty epoch is the
        current one.
        """

    async def latest(self, channel: str, retention: Retention) -> Page:
        """Read the top, and the latest publication of each key, by offset."""

    async def remove(self, channel: str) -> None:
        """Forget what was said and every key; offsets go on from where they are."""

    async def skip(self, channel: str, retention: Retention) -> Position:
        """Leave out an offset that nobody will ever be told, and forget what was said before it.

        Whoever resumes from before it starts over. The latest of each key stays. Returns the top.
        """

    async def subscribe(self, channel: str) -> None:
        """This node has its first subscriber on `channel`."""

    async def unsubscribe(self, channel: str) -> None:
        """This node's last subscriber has left `channel`."""
