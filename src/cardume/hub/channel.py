"""A channel and those who are on it: one encode per dialect, one frame for all.

Delivery never waits. What goes to many directly is written in the loop's next turn, so that
publications of one turn share a write, and in slices where the audience is large; whatever else
a subscriber is told comes after what was published before it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from cardume.hub.filters import TypeFilter
from cardume.hub.groups import Group, Kind, Parcel
from cardume.hub.namespaces import ChannelOptions
from cardume.hub.outbox import Frame
from cardume.hub.replayed import Replayed
from cardume.hub.stats import HubStats
from cardume.hub.subscription import Subscription
from cardume.hub.tags import Tags, tags_of
from cardume.wire import codes
from cardume.wire.dialects import Dialect
from cardume.wire.messages import Member, Position, Publication

if TYPE_CHECKING:
    from cardume.hub.connection import Connection

Soon = Callable[[Callable[[], object]], object]
"""Calls something in the loop's next turn."""


class Channel:
    """Members grouped by dialect and filter, so that cost is per group and not per subscriber."""

    __slots__ = (
        "_arrive",
        "_groups",
        "_joining",
        "_listeners",
        "_replayed",
        "_scheduled",
        "_soon",
        "_stats",
        "attached",
        "delivered",
        "gate",
        "name",
        "options",
        "position",
    )

    def __init__(
        self,
        name: str,
        options: ChannelOptions,
        arrive: Callable[[Subscription], object],
        soon: Soon,
        stats: HubStats,
    ) -> None:
        """`arrive` is told of those who are present from now on, where the channel has presence."""
        self.name = name
        self.options = options
        self._arrive = arrive
        self._soon = soon
        self._stats = stats
        self._scheduled = False
        """Whether something may be on its way to those who are written to directly."""
        self.position = Position()
        """The cursor of every live subscriber: where its first one came in, then what followed."""
        self.delivered = Position()
        """The last publication that the engine delivered here; what was read may be newer."""
        self.attached = False
        """Whether the engine delivers it to this node; `gate` guards the change."""
        self.gate = asyncio.Lock()
        self._groups: dict[Kind, Group] = {}
        self._joining: set[Subscription] = set()
        self._listeners: set[Subscription] = set()
        """Those who hear who comes and goes."""
        self._replayed: dict[Dialect, Replayed] = {}

    def __len__(self) -> int:
        return len(self._joining) + sum(map(len, self._groups.values()))

    def members(self) -> list[Subscription]:
        return [*self._joining, *(member for group in self._groups.values() for member in group)]

    def join(self, connection: Connection, types: TypeFilter) -> Subscription:
        """Become a member whose publications are buffered until `release`."""
        subscription = Subscription(connection, self, types)
        self._joining.add(subscription)
        return subscription

    def release(self, subscription: Subscription, position: Position) -> bool:
        """Go live after `position`: send what was buffered beyond it, then deliver directly.

        False: something between is missing, and the subscriber has to start over.
        """
        if subscription not in self._joining:
            return True  # it left meanwhile
        self.flush()
        here, missed = self._merge(subscription, position)
        if subscription.lost:
            self._joining.discard(subscription)
            return False
        self.replay(subscription, missed)
        if subscription.joins:
            self._listeners.add(subscription)
        if here != self.position and (self._groups or _is_before(here, self.position)):
            # What it has read and what the engine has delivered differ still: it waits.
            subscription.buffer = []
            subscription.ahead = here
            self._note_arrival(subscription)
            return True
        self._joining.discard(subscription)
        subscription.buffer = None
        subscription.ahead = None
        self._group_of(subscription).add(subscription)
        self.position = here
        self._note_arrival(subscription)
        return True

    def _note_arrival(self, subscription: Subscription) -> None:
        if self.options.presence and subscription.member is None:
            self._arrive(subscription)

    def _merge(
        self, subscription: Subscription, position: Position
    ) -> tuple[Position, list[Publication]]:
        """What follows `position` in the buffer, and where that leads; marks what got lost."""
        offset = position.offset
        missed: list[Publication] = []
        for place, publication in subscription.buffer or ():
            subscription.lost |= place.epoch != position.epoch
            if publication.offset:
                if publication.offset <= offset:
                    continue
                offset += 1
                subscription.lost |= publication.offset != offset
            missed.append(publication)
        here = Position(position.epoch, offset)
        # Delivered before it joined, and not in what it read: a replica that lags behind.
        subscription.lost |= _is_before(here, self.delivered)
        return here, missed

    def leave(self, subscription: Subscription) -> None:
        self._joining.discard(subscription)
        self._listeners.discard(subscription)
        self._ungroup(subscription)

    def _group_of(self, subscription: Subscription) -> Group:
        kind = subscription.kind
        group = self._groups.get(kind)
        if group is None:
            group = self._groups[kind] = Group(kind)
        return group

    def _ungroup(self, subscription: Subscription) -> None:
        group = self._groups.get(subscription.kind)
        if group is not None:
            group.discard(subscription)
            if not group:
                del self._groups[group.kind]

    def narrow(self, subscription: Subscription, types: TypeFilter) -> None:
        """Change a subscriber's filter."""
        if subscription.buffer is not None:
            subscription.types = types
            return
        self.flush()  # others, whom it may join now, are due what it did not want
        self.catch_up(subscription)
        self._ungroup(subscription)
        subscription.types = types
        self._group_of(subscription).add(subscription)

    # -- written to directly, or queued for ---------------------------------------------------

    def stall(self, subscription: Subscription) -> bool:
        """Its transport takes no more at once. False: its outbox has no room for what is due."""
        group = self._groups.get(subscription.kind)
        if subscription.buffer is not None or group is None:
            return True
        return group.stall(subscription)

    def resume(self, subscription: Subscription) -> None:
        """Its transport takes whatever it is given."""
        group = self._groups.get(subscription.kind)
        if subscription.buffer is None and group is not None:
            self.flush()  # it had that already
            group.resume(subscription)

    def catch_up(self, subscription: Subscription) -> None:
        """Write what is on its way to one that is told something else next, or leaves."""
        if not self._scheduled:  # a client may be on many channels, and most are quiet
            return
        group = self._groups.get(subscription.kind)
        if group is not None and group.busy:
            self.flush()
            self._stats.messages_sent += group.catch_up(subscription)

    def written(self, subscription: Subscription) -> int:
        """How many frames one that is written to directly was handed since it is."""
        group = self._groups.get(subscription.kind)
        if group is None or subscription not in group.direct:
            return 0
        return group.sent - subscription.since

    def flush(self) -> None:
        """Write what waits for the loop's next turn."""
        for group in list(self._groups.values()):
            self._stats.messages_sent += group.flush()

    def _turn(self) -> None:
        try:
            self.flush()
            for group in list(self._groups.values()):
                self._stats.messages_sent += group.step()
        finally:
            self._scheduled = False
            if any(group.busy for group in self._groups.values()):
                self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._soon(self._turn)

    # -- publications -------------------------------------------------------------------------

    def deliver(self, publication: Publication, position: Position) -> int:
        """Hand a publication to everyone here. Never waits, never raises for a slow reader.

        Returns for how many it is queued, or held until they are told what they missed.
        """
        told = sum(1 for member in self._joining if member.wants(publication))
        for subscription in self._joining:
            subscription.hold(position, publication)
        if not _is_before(position, self.delivered):
            self.delivered = position
        # What everyone live was told by a replay already is not told again.
        if not (position and (_is_before(position, self.position) or position == self.position)):
            if self._groups and not self._follows(position):
                self._cut_live()
            self.position = position
            told += self._fan_out(publication)
        for subscription in [member for member in self._joining if member.ahead is not None]:
            if not self.release(subscription, subscription.cursor):
                subscription.connection.lose(subscription)
        return told

    def lose(self, top: Position) -> None:
        """What led to `top` did not arrive here, or never was: everyone live starts over."""
        self._cut_live()
        for member in self._waiting:
            member.connection.lose(member)
        self.position = self.delivered = top

    def tell_membership(self, member: Member, joined: bool) -> None:
        """Say to those who asked that somebody came or went; one encode per dialect."""
        self.flush()
        frames: dict[Dialect, Frame | None] = {}
        for listener in list(self._listeners):
            dialect = listener.connection.dialect
            if dialect not in frames:
                said = dialect.membership(self.name, member, joined)
                frames[dialect] = None if said is None else Frame(said)
            frame = frames[dialect]
            if frame is not None and not listener.connection.offer(frame):
                listener.connection.close(codes.SLOW)

    def _fan_out(self, publication: Publication) -> int:
        frames: dict[Dialect, Frame] = {}
        policy = self.options.on_slow
        key = None if publication.key is None else f"{self.name} {publication.key}"
        overflowed: list[Subscription] = []
        told = 0
        seen: Tags | None = None
        for (dialect, types, tags, _, _), group in self._groups.items():
            if types is not None and dialect.event_type(publication) not in types:
                continue
            if tags is not None:
                seen = tags_of(publication) if seen is None else seen
                if not tags.matches(seen):
                    continue
            frame = frames.get(dialect)
            if frame is None:
                frame = frames[dialect] = Frame(dialect.publication(self.name, publication))
            overflowed += group.deliver(Parcel(frame, key, policy))
            told += len(group)
            if group.heavy:
                self._stats.messages_sent += group.flush()
            if group.busy:
                self._schedule()
        for member in overflowed:
            member.connection.close(codes.SLOW)
        return told - len(overflowed)

    def replay(self, subscription: Subscription, publications: Iterable[Publication]) -> None:
        """Send what a returning subscriber missed, through its filter; encoded once for all."""
        connection = subscription.connection
        for publication in publications:
            if not subscription.wants(publication):
                continue
            frame = self._frame(connection.dialect, publication)
            if not connection.offer(frame):
                connection.close(codes.SLOW)

    def _frame(self, dialect: Dialect, publication: Publication) -> Frame:
        replayed = self._replayed.get(dialect)
        if replayed is None:
            replayed = self._replayed[dialect] = Replayed()
        frame = replayed.get(publication)
        if frame is None:
            frame = Frame(dialect.publication(self.name, publication))
            replayed.put(publication, frame)
        return frame

    def _follows(self, position: Position) -> bool:
        """Whether nothing is missing between the last publication and this one."""
        return not position or position == Position(self.position.epoch, self.position.offset + 1)

    @property
    def live(self) -> bool:
        """Whether anybody here is told by delivery alone."""
        return bool(self.cursors)

    @property
    def cursors(self) -> frozenset[Position]:
        """Where those stand who are told by delivery alone: the live ones, and each that waits."""
        waiting = frozenset(member.cursor for member in self._waiting)
        return waiting | {self.position} if self._groups else waiting

    @property
    def _waiting(self) -> list[Subscription]:
        return [member for member in self._joining if member.ahead is not None]

    def _cut_live(self) -> None:
        for member in [member for group in self._groups.values() for member in group]:
            member.connection.lose(member)


def _is_before(position: Position, other: Position) -> bool:
    return position.epoch == other.epoch and position.offset < other.offset
