"""Deadlines of many things behind one timer. Pure: time comes in as an argument."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class Wheel(Generic[T]):
    """Items in slots of `grain` seconds. Setting, moving and discarding cost one dict step each.

    Deadlines are meant to be lazy: a thing that is active does not move its entry, it answers with
    a later deadline when its slot comes up.
    """

    def __init__(self, grain: float) -> None:
        self.grain = grain
        self._slots: dict[int, set[T]] = {}
        self._where: dict[T, int] = {}

    def __len__(self) -> int:
        return len(self._where)

    def set(self, item: T, due: float) -> None:
        """Enter `item`, or move it. It comes up at `due` or up to one grain later."""
        self.discard(item)
        slot = int(due / self.grain) + 1
        self._where[item] = slot
        self._slots.setdefault(slot, set()).add(item)

    def discard(self, item: T) -> None:
        slot = self._where.pop(item, None)
        if slot is not None:
            items = self._slots[slot]
            items.remove(item)
            if not items:
                del self._slots[slot]

    def expire(self, now: float) -> list[T]:
        """Take out everything whose slot has passed."""
        current = int(now / self.grain)
        due = [slot for slot in self._slots if slot <= current]
        items = [item for slot in sorted(due) for item in self._slots.pop(slot)]
        for item in items:
            del self._where[item]
        return items
