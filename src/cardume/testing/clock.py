"""A clock that moves only when a test says so."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable

_START = 1_795_000_000.0  # November 2026: dates in test failures look like dates


class _Timer:
    __slots__ = ("callback", "cancelled")

    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class FakeClock:
    """A `cardume.clock.Clock` whose timers fire inside `advance`."""

    def __init__(self, start: float = _START) -> None:
        self._start = start
        self._elapsed = 0.0
        self._order = itertools.count()
        self._timers: list[tuple[float, int, _Timer]] = []

    def now(self) -> float:
        return self._start + self._elapsed

    def monotonic(self) -> float:
        return self._elapsed

    def call_later(self, delay: float, callback: Callable[[], object]) -> _Timer:
        timer = _Timer(callback)
        heapq.heappush(self._timers, (self._elapsed + max(0.0, delay), next(self._order), timer))
        return timer

    async def sleep(self, delay: float) -> None:
        woken = asyncio.Event()
        timer = self.call_later(delay, woken.set)
        try:
            await woken.wait()
        finally:
            timer.cancel()

    def step_wall(self, seconds: float) -> None:
        """Move wall time alone, as an NTP step would."""
        self._start += seconds

    async def advance(self, seconds: float) -> None:
        """Let `seconds` pass: due timers fire in order, tasks they wake run before the next."""
        await self.advance_until(lambda: False, seconds)

    async def advance_until(self, condition: Callable[[], object], within: float) -> bool:
        """As `advance`, but time stands still as soon as `condition()` holds. False: it never did.

        Nothing passes if it holds once the tasks that are ready have run.
        """
        until = self._elapsed + within
        await settle()
        while not condition():
            timer = self._next(until)
            if timer is None:
                self._elapsed = max(self._elapsed, until)
                await settle()
                return bool(condition())
            timer.callback()
            await settle()
        return True

    def _next(self, until: float) -> _Timer | None:
        """The timer that is due first, with the time moved to it; None if none is, by `until`."""
        while self._timers and self._timers[0][0] <= until:
            due, _, timer = heapq.heappop(self._timers)
            if not timer.cancelled:
                self._elapsed = max(self._elapsed, due)
                return timer
        return None


async def settle(turns: int = 20) -> None:
    """Let tasks that are ready run on; enough turns for a few awaits in a row."""
    for _ in range(turns):
        await asyncio.sleep(0)
