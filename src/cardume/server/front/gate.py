"""Deadlines for what a server waits for from HTTP clients, and a bound on how many it waits for.

One timer for all of them: who has been idle, or slow, is cut a second sooner or later alike.
"""

from __future__ import annotations

import logging
from typing import Any, Protocol

from cardume.clock import Clock, SystemClock, TimerHandle
from cardume.hub.rejects import Rejects

TICK = 1.0
"""Seconds between two looks at the deadlines, and so how late one can be."""

SPARED = 5.0
"""Seconds within which few have to make room: of a crowd that comes back, all are so young."""

MAX_WAITING = 1000
MAX_CROWD = 10_000

logger = logging.getLogger("cardume.server")


class Waiting(Protocol):
    """A connection whose client has to do something."""

    def overdue(self) -> float | None:
        """It did not. It ends the connection; or says how many seconds it still has."""

    def evict(self) -> None:
        """Make room for others, at once."""


class Gate:
    """Who has to say something, and until when. The clock's times, in seconds."""

    def __init__(
        self,
        clock: Clock,
        rejects: Rejects,
        max_waiting: int = MAX_WAITING,
        max_crowd: int = MAX_CROWD,
    ) -> None:
        self.rejects = rejects
        self._clock = clock
        self._max_waiting = max_waiting
        self._max_crowd = max_crowd
        # Since when and until when, in the order in which they began to wait.
        self._waiting: dict[Waiting, tuple[float, float]] = {}
        self._timer: TimerHandle | None = None
        self._due = 0.0

    def __len__(self) -> int:
        return len(self._waiting)

    def arrive(self, waiting: Waiting, within: float) -> None:
        """As `expect`, of somebody new: for whom the oldest has to go, if there are too many."""
        self.expect(waiting, within)
        self._make_room()

    def expect(self, waiting: Waiting, within: float) -> None:
        """From now on it has `within` seconds."""
        self._waiting.pop(waiting, None)
        now = self._clock.monotonic()
        self._waiting[waiting] = (now, now + within)
        self._look_later()

    def forget(self, waiting: Waiting) -> None:
        """It has done what it had to, or is gone."""
        self._waiting.pop(waiting, None)

    def _look(self) -> None:
        self._timer = None
        now = self._clock.monotonic()
        if now - self._due > TICK:
            # It is us who were not there: what they said may wait to be read.
            self._look_later()
            return
        for waiting, (_, until) in list(self._waiting.items()):
            if until <= now:
                more = waiting.overdue()
                if more is None:
                    self.forget(waiting)
                else:
                    self.expect(waiting, more)
        self._make_room()
        if self._waiting:
            self._look_later()

    def _look_later(self) -> None:
        if self._timer is None:
            self._due = self._clock.monotonic() + TICK
            self._timer = self._clock.call_later(TICK, self._look)

    def _make_room(self) -> None:
        while len(self._waiting) > self._max_waiting:
            oldest, (since, _) = next(iter(self._waiting.items()))
            is_young = self._clock.monotonic() - since < SPARED
            if is_young and len(self._waiting) <= self._max_crowd:
                return
            del self._waiting[oldest]
            oldest.evict()


def gate_of(server_state: Any) -> Gate:
    """The gate of a server; one of its own where nobody put one there."""
    gate: Gate | None = getattr(server_state, "gate", None)
    if gate is None:
        clock = SystemClock()
        gate = server_state.gate = Gate(clock, Rejects(logger, clock))
    return gate
