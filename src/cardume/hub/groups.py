"""The live subscribers of a channel that see the same frames: one encode, one loop, one write.

Those whose transport takes whatever it is given are written to directly; publications that come
in one turn of the loop leave as one write. All others have their frames queued in their outbox,
at once. A subscriber is in one of the two places, never in both.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from cardume.hub import fanout
from cardume.hub.fanout import Run, Targets, Write
from cardume.hub.filters import TypeFilter
from cardume.hub.outbox import Frame, SlowPolicy
from cardume.hub.tags import TagFilter
from cardume.wire.dialects import Dialect

if TYPE_CHECKING:
    from cardume.hub.subscription import Subscription

PILE = 64 * 1024
"""Bytes of one turn from which a write takes no more: so much a transport may hold that is full."""


class Kind(NamedTuple):
    """What the frames of a subscriber depend on, and how they are written."""

    dialect: Dialect
    types: TypeFilter
    tags: TagFilter | None
    compressed: bool
    raw: bool
    """Whether its file descriptor is written to, and not its transport."""


class Parcel(NamedTuple):
    """A frame on its way, as an outbox wants it."""

    frame: Frame
    key: str | None
    policy: SlowPolicy


class Group:
    """Subscribers of one kind."""

    __slots__ = ("_filenos", "_octets", "_pending", "_runs", "direct", "kind", "queued", "sent")

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.direct: dict[Subscription, Write] = {}
        self.queued: set[Subscription] = set()
        self.sent = 0
        """Frames that the direct ones were written."""
        self._pending: list[Parcel] = []
        self._octets = 0
        """Of what is pending."""
        self._runs: list[Run] = []
        self._filenos: array[int] | None = None
        """Of the direct ones, as long as nobody leaves."""

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
            if self._filenos is not None:
                self._filenos.append(subscription.connection.fileno)

    def discard(self, subscription: Subscription) -> None:
        """One less."""
        self.queued.discard(subscription)
        self._forget(subscription, len(self._due(subscription)))

    def _due(self, subscription: Subscription) -> list[Parcel]:
        """What is on its way to one, who is taken out of it."""
        return [parcel for run in self._runs if run.take(subscription) for parcel in run.parcels]

    def _forget(self, subscription: Subscription, unwritten: int) -> None:
        if self.direct.pop(subscription, None) is not None:
            self._filenos = None
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
        targets = self._targets()
        if self._runs or len(targets) > fanout.SLICE:
            self._runs.append(Run(parcels, data, list(self.direct), targets[:]))
            return 0
        rests = fanout.write(targets, data)
        if rests:
            fanout.spill(rests, list(self.direct), data)
        return len(parcels) * len(targets)

    def _targets(self) -> Targets:
        if not self.kind.raw:
            return list(self.direct.values())
        if self._filenos is None:
            self._filenos = array("i", [each.connection.fileno for each in self.direct])
        return self._filenos

    def step(self) -> int:
        """Write to one more slice of a large audience. Returns how many frames."""
        if not self._runs:
            return 0
        run = self._runs[0]
        written = run.step()
        if run.over:
            self._runs.remove(run)
        return len(run.parcels) * written
