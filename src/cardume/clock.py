"""Time as a parameter: everything that waits or dates asks a `Clock`.

Wall time is for people and for storage; deadlines inside the process use monotonic time, so an
NTP step neither expires nor revives anybody. `cardume.testing.FakeClock` moves by hand.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol


class TimerHandle(Protocol):
    """A scheduled call that can still be called off."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """What the hub needs to know about time."""

    def now(self) -> float:
        """Wall-clock time in seconds since the Unix epoch."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary start; never goes back."""

    def call_later(self, delay: float, callback: Callable[[], object]) -> TimerHandle:
        """Call `callback` on the running loop after `delay` seconds."""

    async def sleep(self, delay: float) -> None:
        """Return after `delay` seconds."""


class SystemClock:
    """The machine's clocks and the running loop's timers."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def call_later(self, delay: float, callback: Callable[[], object]) -> TimerHandle:
        return asyncio.get_running_loop().call_later(delay, callback)

    async def sleep(self, delay: float) -> None:
        await asyncio.sleep(delay)
