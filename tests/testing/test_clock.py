"""The clock that tests move by hand."""

from __future__ import annotations

import asyncio
from functools import partial

from cardume.testing import FakeClock


async def test_timers_fire_in_order_at_their_times() -> None:
    clock, fired = FakeClock(), list[tuple[str, float]]()

    def fire(name: str) -> None:
        fired.append((name, clock.monotonic()))

    for name, delay in (("b", 2.0), ("a", 1.0), ("c", 2.0)):
        clock.call_later(delay, partial(fire, name))
    clock.call_later(1.5, lambda: fired.append(("never", 0.0))).cancel()
    await clock.advance(1.0)
    assert fired == [("a", 1.0)]
    await clock.advance(5.0)
    assert fired == [("a", 1.0), ("b", 2.0), ("c", 2.0)]
    assert clock.monotonic() == 6.0


async def test_a_sleeper_that_sleeps_again_is_woken_within_one_advance() -> None:
    clock, woken = FakeClock(), list[float]()

    async def sleeper() -> None:
        for _ in range(3):
            await clock.sleep(1.0)
            woken.append(clock.monotonic())

    task = asyncio.create_task(sleeper())
    await clock.advance(10.0)
    assert woken == [1.0, 2.0, 3.0]
    await task


async def test_wall_time_steps_alone() -> None:
    clock = FakeClock(start=1000.0)
    clock.step_wall(3600.0)
    assert (clock.now(), clock.monotonic()) == (4600.0, 0.0)
