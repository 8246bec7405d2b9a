"""The deadlines of everything that came in, behind one timer."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final, Protocol

from cardume.clock import Clock, TimerHandle
from cardume.mqtt.doors.wheel import Wheel
from cardume.mqtt.faults import Faults

GRAIN: Final = 0.5
"""Seconds by which a deadline may be late."""


class Timed(Hashable, Protocol):
    """What has a deadline."""

    def check(self, now: float) -> None:
        """It has come, or one that was set before it."""


class Deadlines:
    """Calls `check` of what is armed. The timer runs while there is anything."""

    def __init__(self, clock: Clock, faults: Faults) -> None:
        self._clock = clock
        self._faults = faults
        self._wheel: Wheel[Timed] = Wheel(GRAIN)
        self._timer: TimerHandle | None = None

    def arm(self, item: Timed, due: float) -> None:
        """Check `item` at this monotonic time, or a little later; its earlier deadline is void."""
        if due != float("inf"):
            self._wheel.set(item, due)
            self._run()

    def discard(self, item: Timed) -> None:
        self._wheel.discard(item)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _run(self) -> None:
        if self._timer is None:
            self._timer = self._clock.call_later(GRAIN, self._tick)

    def _tick(self) -> None:
        self._timer = None
        now = self._clock.monotonic()
        for item in self._wheel.expire(now):
            try:
                item.check(now)
            except Exception as error:  # the timer serves the others too
                self._faults.note("an MQTT deadline", error)
        if len(self._wheel):
            self._run()
