from __future__ import annotations

import logging

from cardume.mqtt.doors.deadlines import GRAIN, Deadlines
from cardume.mqtt.faults import Faults
from cardume.testing import FakeClock


class Client:
    """Notes when it was checked; asks for another check if it is told to."""

    def __init__(self, deadlines: Deadlines, again: float | None = None) -> None:
        self.checked: list[float] = []
        self._deadlines = deadlines
        self._again = again

    def check(self, now: float) -> None:
        self.checked.append(now)
        if self._again is not None:
            self._deadlines.arm(self, now + self._again)


class Broken:
    def check(self, now: float) -> None:
        raise RuntimeError("a bug")


async def test_each_is_checked_in_its_time_and_one_that_fails_spares_the_others() -> None:
    clock = FakeClock()
    faults = Faults(logging.getLogger("tests"), clock)
    deadlines = Deadlines(clock, faults)
    began = clock.monotonic()
    once, often, gone = Client(deadlines), Client(deadlines, again=2.0), Client(deadlines)
    deadlines.arm(Broken(), began + 1.0)
    deadlines.arm(once, began + 1.0)
    deadlines.arm(often, began + 1.0)
    deadlines.arm(gone, began + 1.0)
    deadlines.discard(gone)
    deadlines.arm(Client(deadlines), float("inf"))
    await clock.advance(0.9)
    assert once.checked == []
    await clock.advance(20.0)
    assert began + 1.0 <= once.checked[0] <= began + 1.0 + 2 * GRAIN
    assert (len(once.checked), len(often.checked), len(gone.checked)) == (1, 8, 0)
    assert faults.count == 1
    deadlines.stop()
    await clock.advance(20.0)
    assert len(often.checked) == 8
