"""Coming onto a channel without a gap: the race between subscribing and publishing, closed.

Publications are buffered from the moment of joining; then the top, the history or the snapshot
is read; then the buffer is merged, dropping what is old and demanding that nothing is missing.
A snapshot read after the top may already hold later events; each of them carries absolute state.
The order is centrifuge's (`internal/recovery`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from cardume.errors import Unavailable
from cardume.hub.subscription import Subscription
from cardume.wire import json
from cardume.wire.messages import ENVELOPE, Position, Publication, weight

if TYPE_CHECKING:
    from cardume.hub.connection import Connection
    from cardume.hub.membership import Membership

logger = logging.getLogger("cardume.hub")


class Entry(msgspec.Struct, frozen=True):
    """What a fresh or returning subscriber is told first."""

    position: Position
    """Before the first publication that follows."""
    recovered: bool
    missed: tuple[Publication, ...] = ()
    snapshot: bytes | None = None

    @property
    def last(self) -> Position:
        """The place after all that was missed."""
        offset = self.missed[-1].offset if self.missed else self.position.offset
        return Position(self.position.epoch, offset)


Greet = Callable[[Subscription, Entry], object]
"""Tells a subscriber where it stands, in its dialect; what was missed follows by itself."""


async def enter(
    hub: Membership,
    connection: Connection,
    name: str,
    since: Position | None = None,
    *,
    greet: Greet | None = None,
    parameters: Mapping[str, Any] | None = None,
) -> Subscription:
    """Put a connection on a channel through its filter: greeted, told what it missed, live.

    A snapshot is read with the channel's `parameters`, and without them none is, but that of a
    keyed channel. A filter by tags, and whether it hears who comes and goes, are the
    subscription's own (`Subscription`).

    Raises:
        Refused: unknown channel, already there, too many; the snapshot's source says no; what it
            is greeted with is larger than an outbox.
        Unavailable: the engine or the snapshot is out of reach. It is not on the channel then.
    """
    subscription = await hub.join(connection, name, connection.types)
    # The filter may have changed while the engine answered.
    subscription.types = connection.types
    try:
        entry = await prepare(hub, subscription, since, parameters, told=greet is not None)
        if greet is not None:
            greet(subscription, entry)
    except BaseException:
        if connection.subscriptions.get(name) is subscription:
            hub.leave(subscription)
        raise
    channel = subscription.channel
    channel.replay(subscription, entry.missed)
    if not channel.release(subscription, entry.last):
        connection.lose(subscription)
    return subscription


async def prepare(
    hub: Membership,
    subscription: Subscription,
    since: Position | None,
    parameters: Mapping[str, Any] | None,
    *,
    told: bool = True,
) -> Entry:
    """Read what the subscriber needs, while the channel buffers for it.

    `told`: whether anybody tells it where it stands. If not, it needs no state.

    Raises:
        Refused: the snapshot's source says, as an HTTP error, that there is no such thing.
        Unavailable: history or snapshot are out of reach, or the snapshot is beyond the outbox.
    """
    channel = subscription.channel
    options = channel.options
    top = Position()
    if options.retention is not None:
        limit = hub.options.replay_limit
        replay = await hub.engine.replay(channel.name, since, options.retention, limit)
        missed = replay.publications
        if since is not None and missed is not None and _fits(hub, missed):
            return Entry(since, True, missed)
        top = replay.top
    if options.keyed and options.retention is not None:
        if not told or not _hears_state(subscription):
            return Entry(top, False)
        latest = await hub.engine.latest(channel.name, options.retention)
        top, snapshot = latest.top, snapshot_of(latest.publications or ())
    elif options.snapshot is not None and parameters is not None:
        snapshot = await hub.snapshots.read(channel.name, options.snapshot, parameters)
    else:
        return Entry(top, False)
    # `connected` goes before it, and both name the channel.
    if len(snapshot) + 2 * (ENVELOPE + len(channel.name)) > hub.options.outbox_limit:
        logger.error("the snapshot of %s has %d bytes: no outbox", channel.name, len(snapshot))
        raise Unavailable("the snapshot is larger than an outbox")
    return Entry(top, False, snapshot=snapshot)


def _hears_state(subscription: Subscription) -> bool:
    """Whether its dialect has a frame for a snapshot; `rooms` has none."""
    dialect = subscription.connection.dialect
    return dialect.moves or not dialect.many


def snapshot_of(latest: Iterable[Publication]) -> bytes:
    """The state of a keyed channel: ``{"keys": {key: data}}``, the longest unchanged first."""
    pairs = (b"%b:%b" % (json.encode(p.key), p.data) for p in latest)
    return b'{"keys":{%b}}' % b",".join(pairs)


def fitting(page: tuple[Publication, ...], budget: int) -> tuple[Publication, ...]:
    """The first of `page` that take at most `budget` bytes, and one at least."""
    size = 0
    for count, publication in enumerate(page):
        size += weight(publication)
        if size > budget and count:
            return page[:count]
    return page


def _fits(hub: Membership, missed: tuple[Publication, ...]) -> bool:
    """Whether the replay leaves half the outbox to what comes live."""
    return sum(map(weight, missed)) <= hub.options.outbox_limit // 2
