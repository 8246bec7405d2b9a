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
        until = self._elapsed + seconds
        await settle()
        while self._timers and self._timers[0][0] <= until:
            due, _, timer = heapq.heappop(self._timers)
            if timer.cancelled:
                continue
            self._elapsed = max(self._elapsed, due)
            timer.callback()
            await settle()
        self._elapsed = until
        await settle()


async def settle(turns: int = 20) -> None:
    """Let tasks that are ready run on; enough turns for a few awaits in a row."""
    for _ in range(turns):
        await asyncio.sleep(0)
