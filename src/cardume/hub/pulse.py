"""The heartbeat of many connections: who is asked for a sign of life, and when. One timer for all.

Connections stand in the slots of a wheel of seconds, 64 bytes each; a timer of its own would cost
each of 10,000 some 250.
"""

from __future__ import annotations

import logging
import random
from typing import Generic, Protocol, TypeVar

from cardume.clock import Clock, TimerHandle

GRAIN = 1.0
SLOTS = 32
"""More than the longest wait between two beats, in grains."""

logger = logging.getLogger("cardume.hub")


class Beating(Protocol):
    """What has a heart."""

    slot: int
    """Where it stands on the wheel; the wheel's own."""

    def beat(self) -> int:
        """Its turn. Returns the seconds until the next one; 0: never again."""


B = TypeVar("B", bound=Beating)


class Pulse(Generic[B]):
    """Calls `beat` of everything on it. Its timer runs only while there is something."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._slots: list[set[B]] = [set() for _ in range(SLOTS)]
        self._now = 0
        self._timer: TimerHandle | None = None
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, one: B, seconds: int) -> None:
        """Put `one` on the wheel; its first beat is in about `seconds`."""
        self._size += 1
        self._place(one, seconds)
        if self._timer is None:
            self._timer = self._clock.call_later(GRAIN, self._turn)

    def discard(self, one: B) -> None:
        """Take it off, if it is there."""
        slot = self._slots[one.slot]
        if one in slot:
            slot.remove(one)
            self._size -= 1

    def stop(self) -> None:
        """Nothing beats any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _place(self, one: B, seconds: int) -> None:
        one.slot = (self._now + min(seconds, SLOTS - 1)) % SLOTS
        self._slots[one.slot].add(one)

    def _turn(self) -> None:
        self._now = (self._now + 1) % SLOTS
        self._timer = None
        due = self._slots[self._now]
        while due:  # one by one: a beat may take others off
            one = due.pop()
            wait = self._beat(one)
            if wait:
                self._place(one, wait)
            else:
                self._size -= 1
        if self._size:
            self._timer = self._clock.call_later(GRAIN, self._turn)

    def _beat(self, one: B) -> int:
        try:
            return one.beat()
        except Exception:  # the others have hearts too
            logger.exception("a heartbeat failed")
            return 0


def around(seconds: float, share: float = 0.1) -> int:
    """Whole seconds, give or take a share: many that came at once do not beat at once."""
    return round(random.uniform(seconds * (1 - share), seconds * (1 + share)))
