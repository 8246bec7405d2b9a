"""A channel and those who are on it: one encode per dialect, one frame for all."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

from cardume.hub.filters import TypeFilter
from cardume.hub.namespaces import ChannelOptions
from cardume.hub.outbox import Frame
from cardume.wire import codes
from cardume.wire.dialects import Dialect
from cardume.wire.messages import Position, Publication

if TYPE_CHECKING:
    from cardume.hub.connection import Connection

MAX_BUFFERED = 1000
"""Publications held for one subscriber while its snapshot loads. Beyond it, it starts over."""

Group = tuple[Dialect, TypeFilter]


class Subscription:
    """One connection on one channel.

    While `buffer` is a list, live publications wait in it: the subscriber is still being told
    what it missed. `None` means live. `lost` says that the buffer could not hold them all.
    """

    __slots__ = ("buffer", "channel", "connection", "lost", "types")

    def __init__(self, connection: Connection, channel: Channel, types: TypeFilter) -> None:
        self.connection = connection
        self.channel = channel
        self.types = types
        self.buffer: list[Publication] | None = []
        self.lost = False

    @property
    def group(self) -> Group:
        return (self.connection.dialect, self.types)


class Channel:
    """Members grouped by dialect and filter, so that cost is per group and not per subscriber."""

    __slots__ = ("_groups", "_joining", "attached", "gate", "name", "options", "position")

    def __init__(self, name: str, options: ChannelOptions) -> None:
        self.name = name
        self.options = options
        self.position = Position()
        """The last publication delivered here: the cursor of every live subscriber."""
        self.attached = False
        """Whether the engine delivers it to this node; `gate` guards the change."""
        self.gate = asyncio.Lock()
        self._groups: dict[Group, set[Subscription]] = {}
        self._joining: set[Subscription] = set()

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
        buffered = subscription.buffer or ()
        self._joining.discard(subscription)
        subscription.buffer = None
        expected = position.offset
        missed: list[Publication] = []
        for publication in buffered:
            if publication.offset:
                if publication.offset <= expected:
                    continue
                expected += 1
                subscription.lost |= publication.offset != expected
            missed.append(publication)
        if subscription.lost:
            return False
        self._groups.setdefault(subscription.group, set()).add(subscription)
        self.replay(subscription, missed)
        self.position = Position(position.epoch, expected)
        return True

    def leave(self, subscription: Subscription) -> None:
        self._joining.discard(subscription)
        group = self._groups.get(subscription.group)
        if group is not None:
            group.discard(subscription)
            if not group:
                del self._groups[subscription.group]

    def narrow(self, subscription: Subscription, types: TypeFilter) -> None:
        """Change a subscriber's filter."""
        if subscription.buffer is not None:
            subscription.types = types
            return
        self.leave(subscription)
        subscription.types = types
        self._groups.setdefault(subscription.group, set()).add(subscription)

    def deliver(self, publication: Publication, position: Position) -> None:
        """Hand a publication to everyone here. Never waits, never raises for a slow reader."""
        if self._groups and not self._follows(position):
            self._close_live(codes.INSUFFICIENT_STATE)
        self.position = position
        for subscription in self._joining:
            _hold(subscription, publication)
        frames: dict[Dialect, Frame] = {}
        policy = self.options.on_slow
        key = None if publication.key is None else f"{self.name} {publication.key}"
        overflowed: list[Subscription] = []
        for (dialect, types), members in self._groups.items():
            if types is not None and dialect.event_type(publication) not in types:
                continue
            frame = frames.get(dialect)
            if frame is None:
                frame = frames[dialect] = Frame(dialect.publication(self.name, publication))
            overflowed += [
                member for member in members if not member.connection.offer(frame, key, policy)
            ]
        for member in overflowed:
            member.connection.close(codes.SLOW)

    def replay(self, subscription: Subscription, publications: Iterable[Publication]) -> None:
        """Send what a returning subscriber missed, through its filter."""
        for publication in publications:
            self._send_to(subscription, publication)

    def _follows(self, position: Position) -> bool:
        """Whether nothing is missing between the last publication and this one."""
        return not position or position == Position(self.position.epoch, self.position.offset + 1)

    def _close_live(self, code: codes.CloseCode) -> None:
        for members in self._groups.values():
            for member in members:
                member.connection.close(code)

    def _send_to(self, subscription: Subscription, publication: Publication) -> None:
        dialect, types = subscription.group
        if types is None or dialect.event_type(publication) in types:
            frame = Frame(dialect.publication(self.name, publication))
            if not subscription.connection.offer(frame):
                subscription.connection.close(codes.SLOW)


def _hold(subscription: Subscription, publication: Publication) -> None:
    if subscription.buffer is None:
        return
    if len(subscription.buffer) >= MAX_BUFFERED:
        subscription.lost = True
        subscription.buffer.clear()
    subscription.buffer.append(publication)
