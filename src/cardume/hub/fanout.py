"""The last step of a publication: the same bytes to each of an audience, at once or in slices."""

from __future__ import annotations

import logging
from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from cardume.hub import sockets

if TYPE_CHECKING:
    from cardume.hub.groups import Parcel
    from cardume.hub.subscription import Subscription

Write = Callable[[bytes], object]
"""A transport's: it keeps what the kernel does not take."""

Targets: TypeAlias = "array[int] | list[Write]"
"""An audience in its order: its file descriptors (`hub.sockets`), or what writes to it."""

SLICE = 2000
"""Writes in one turn of the loop: 10 to 12 ms."""

logger = logging.getLogger("cardume.hub")


def write(targets: Targets, data: bytes) -> list[tuple[int, int]]:
    """Hand `data` to everyone.

    Returns the place and the bytes taken of each socket that did not take all: the rest is its
    transport's (`spill`).
    """
    if isinstance(targets, array):
        return sockets.send_each(targets, data)
    write_all(targets, data)
    return []


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


def spill(rests: Iterable[tuple[int, int]], members: Sequence[Subscription], data: bytes) -> None:
    """Give what sockets did not take to their transports, which wait with it or find them dead."""
    for place, taken in rests:
        write = members[place].connection.write
        if write is not None:
            write_all([write], data[taken:])


class Run:
    """Frames on their way to more than one slice of subscribers."""

    __slots__ = ("_at", "_members", "_targets", "_waiting", "data", "parcels")

    def __init__(
        self, parcels: list[Parcel], data: bytes, members: list[Subscription], targets: Targets
    ) -> None:
        """Both lists are its own from now on."""
        self.parcels = parcels
        self.data = data
        self._members = members
        self._targets = targets
        self._at = 0
        self._waiting: set[Subscription] | None = None
        """Who has yet to be served; made where somebody does not wait for its turn."""

    @property
    def over(self) -> bool:
        return self._at >= len(self._members)

    def take(self, subscription: Subscription) -> bool:
        """Take one out. False: it was served, or is none of them."""
        if self._waiting is None:
            self._waiting = set(self._members[self._at :])
        waits = subscription in self._waiting
        self._waiting.discard(subscription)
        return waits

    def step(self) -> int:
        """Serve the next ones; how many those are."""
        begin, self._at = self._at, self._at + SLICE
        members, targets = self._members[begin : self._at], self._targets[begin : self._at]
        if self._waiting is not None:
            kept = [place for place, member in enumerate(members) if member in self._waiting]
            self._waiting.difference_update(members)
            members, targets = [members[place] for place in kept], _pick(targets, kept)
        spill(write(targets, self.data), members, self.data)
        return len(members)


def _pick(targets: Targets, places: Iterable[int]) -> Targets:
    if isinstance(targets, array):
        return array("i", [targets[place] for place in places])
    return [targets[place] for place in places]
