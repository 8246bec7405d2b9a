"""The live subscribers of a channel that see the same frames: one encode, one loop, one write.

Those whose transport takes whatever it is given are written to directly; publications that come
in one turn of the loop leave as one write. All others have their frames queued in their outbox,
at once. A subscriber is in one of the two places, never in both.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from cardume.hub.filters import TypeFilter
from cardume.hub.outbox import Frame, SlowPolicy
from cardume.hub.tags import TagFilter
from cardume.wire.dialects import Dialect

if TYPE_CHECKING:
    from cardume.hub.subscription import Subscription

Write = Callable[[bytes], object]

SLICE = 2000
"""Writes in one turn of the loop: 10 to 12 ms."""

PILE = 64 * 1024
"""Bytes of one turn from which a write takes no more: so much a transport may hold that is full."""

logger = logging.getLogger("cardume.hub")


class Kind(NamedTuple):
    """What the frames of a subscriber depend on."""

    dialect: Dialect
    types: TypeFilter
    tags: TagFilter | None
    compressed: bool


class Parcel(NamedTuple):
    """A frame on its way, as an outbox wants it."""

    frame: Frame
    key: str | None
    policy: SlowPolicy


class Group:
    """Subscribers of one kind."""

    __slots__ = ("_octets", "_pending", "_runs", "direct", "kind", "queued", "sent")

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.direct: dict[Subscription, Write] = {}
        self.queued: set[Subscription] = set()
        self.sent = 0
        """Frames that the direct ones were written."""
        self._pending: list[Parcel] = []
        self._octets = 0
        """Of what is pending."""
        self._runs: list[_Run] = []

    def __len__(self) -> int:
        return len(self.direct) + len(self.queued)

    def __iter__(self) -> Iterator[Subscription]:
        yield from self.direct
        yield from self.queued

    @property
    def busy(self) -> bool:
        """Whether something is on its way to the direct ones."""
        return bool(self._pending or self._runs)

    @property
    def heavy(self) -> bool:
        """Whether what is pending is enough for a write."""
        return self._octets >= PILE

    def add(self, subscription: Subscription) -> None:
        """One more, who is told what comes from now on. To be called with nothing pending."""
        write = subscription.connection.write
        if write is None:
            self.queued.add(subscription)
        else:
            self.direct[subscription] = write
            subscription.since = self.sent

    def discard(self, subscription: Subscription) -> None:
        """One less."""
        self.queued.discard(subscription)
        self._forget(subscription, len(self._due(subscription)))

    def _due(self, subscription: Subscription) -> list[Parcel]:
        """What is on its way to one, who is taken out of it."""
        return [parcel for run in self._runs if run.take(subscription) for parcel in run.parcels]

    def _forget(self, subscription: Subscription, unwritten: int) -> None:
        if self.direct.pop(subscription, None) is not None:
            subscription.connection.count_sent(self.sent - subscription.since - unwritten)

    def stall(self, subscription: Subscription) -> bool:
        """From now on it is queued for, and so is what was on its way. False: there is no room."""
        late = self._due(subscription)
        self._forget(subscription, len(late))
        self.queued.add(subscription)
        connection = subscription.connection
        return all(connection.offer(*parcel) for parcel in (*late, *self._pending))

    def resume(self, subscription: Subscription) -> None:
        """It is written to directly again. To be called with nothing pending."""
        self.queued.discard(subscription)
        self.add(subscription)

    def catch_up(self, subscription: Subscription) -> int:
        """Write what is on its way to one of the direct ones, ahead of the others; how many."""
        write, written = self.direct.get(subscription), 0
        for run in self._runs:
            if run.take(subscription) and write is not None:
                write(run.data)
                written += len(run.parcels)
        return written

    def deliver(self, parcel: Parcel) -> list[Subscription]:
        """Queue a frame for everyone. Returns those for whom there was no room."""
        if self.direct:
            self._pending.append(parcel)
            self._octets += len(parcel.frame)
        # A copy: one that has caught up by this becomes a direct one.
        return [member for member in list(self.queued) if not member.connection.offer(*parcel)]

    def flush(self) -> int:
        """Write what is pending, or have `step` do so. Returns how many frames were written."""
        parcels, self._pending, self._octets = self._pending, [], 0
        if not parcels:
            return 0
        compressed = self.kind.compressed
        frames = [each.frame.compressed if compressed else each.frame.wire for each in parcels]
        data = frames[0] if len(frames) == 1 else b"".join(frames)
        self.sent += len(parcels)
        if self._runs or len(self.direct) > SLICE:
            self._runs.append(_Run(parcels, data, self.direct))
            return 0
        # A copy: a write that fills a transport makes its subscriber a queued one.
        writes = list(self.direct.values())
        write_all(writes, data)
        return len(parcels) * len(writes)

    def step(self) -> int:
        """Write to one more slice of a large audience. Returns how many frames."""
        if not self._runs:
            return 0
        run = self._runs[0]
        writes = run.slice()
        write_all(writes, run.data)
        if run.over:
            self._runs.remove(run)
        return len(run.parcels) * len(writes)


class _Run:
    """Frames on their way to more than one slice of subscribers."""

    __slots__ = ("_at", "_subscriptions", "_waiting", "_writes", "data", "parcels")

    def __init__(
        self, parcels: list[Parcel], data: bytes, direct: Mapping[Subscription, Write]
    ) -> None:
        self.parcels = parcels
        self.data = data
        self._subscriptions = list(direct)
        self._writes = list(direct.values())
        self._at = 0
        self._waiting: set[Subscription] | None = None
        """Who has yet to be served; made where somebody does not wait for its turn."""

    @property
    def over(self) -> bool:
        return self._at >= len(self._writes)

    def take(self, subscription: Subscription) -> bool:
        """Take one out. False: it was served, or is none of them."""
        if self._waiting is None:
            self._waiting = set(self._subscriptions[self._at :])
        waits = subscription in self._waiting
        self._waiting.discard(subscription)
        return waits

    def slice(self) -> list[Write]:
        """The next ones, who are served with this."""
        begin, self._at = self._at, self._at + SLICE
        writes, waiting = self._writes[begin : self._at], self._waiting
        if waiting is None:
            return writes
        members = self._subscriptions[begin : self._at]
        kept = [write for member, write in zip(members, writes, strict=True) if member in waiting]
        waiting.difference_update(members)
        return kept


def write_all(writes: Iterable[Write], data: bytes) -> None:
    """Hand `data` to every transport; one that fails keeps nobody else from it."""
    remaining = iter(writes)
    while True:
        try:
            for write in remaining:
                write(data)
            return
        except Exception as error:
            logger.debug("a write failed: %s", type(error).__name__)
