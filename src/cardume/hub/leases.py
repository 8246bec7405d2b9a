"""Someone promised to speak again before T. Pure: a heap with lazy deletion.

Token expiry, device silence, delayed alert clearing, and later agents, tasks and runs are all
leases. `cardume.hub.schedule.LeaseTimer` puts one timer under a whole `Leases`.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from operator import itemgetter
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

_SLACK = 64


class Leases(Generic[K]):
    """Deadlines by key; touching is O(log n), asking for the next is O(1) amortised."""

    def __init__(self) -> None:
        self._held: dict[K, tuple[float, int]] = {}
        """Deadline, and the number of the one heap entry that counts."""
        self._heap: list[tuple[float, int, K]] = []
        self._pushed = 0

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, key: K) -> bool:
        return key in self._held

    def touch(self, key: K, deadline: float) -> None:
        """Set the deadline of `key`; an earlier one is forgotten."""
        held = self._held.get(key)
        if held is not None and held[0] <= deadline:
            # Its entry wakes us in time and is pushed on then: no churn per message.
            self._held[key] = (deadline, held[1])
        else:
            self._push(key, deadline)

    def drop(self, key: K) -> None:
        """Forget `key`."""
        self._held.pop(key, None)

    def next_deadline(self) -> float | None:
        """When to call `expire` next; it may be early, never late."""
        while self._heap and self._stale(self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def expire(self, now: float) -> list[K]:
        """Remove and return the keys whose deadline has come, earliest first."""
        due: list[tuple[float, K]] = []
        while self._heap and self._heap[0][0] <= now:
            entry = heapq.heappop(self._heap)
            if self._stale(entry):
                continue
            key = entry[2]
            deadline = self._held[key][0]
            if deadline <= now:
                del self._held[key]
                due.append((deadline, key))
            else:
                self._push(key, deadline)
        # A lease that was prolonged comes up at its first deadline, before others that end sooner.
        due.sort(key=itemgetter(0))
        return [key for _, key in due]

    def _stale(self, entry: tuple[float, int, K]) -> bool:
        held = self._held.get(entry[2])
        return held is None or held[1] != entry[1]

    def _push(self, key: K, deadline: float) -> None:
        self._pushed += 1
        self._held[key] = (deadline, self._pushed)
        heapq.heappush(self._heap, (deadline, self._pushed, key))
        if len(self._heap) > 2 * len(self._held) + _SLACK:
            # Dropped keys leave their entries behind, with day tokens for a day: sweep them out.
            self._heap = [entry for entry in self._heap if not self._stale(entry)]
            heapq.heapify(self._heap)
