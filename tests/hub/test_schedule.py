"""Background tasks and lease timers by a clock that moves by hand."""

from __future__ import annotations

import asyncio
import logging

import pytest

from cardume.hub.schedule import RETRY_AFTER, LeaseTimer, Tasks
from cardume.testing import FakeClock
from cardume.testing.clock import settle


class Expired:
    def __init__(self, failures: int = 0) -> None:
        self.calls: list[list[str]] = []
        self.failures = failures

    async def __call__(self, keys: list[str]) -> None:
        self.calls.append(keys)
        if self.failures:
            self.failures -= 1
            raise OSError("the database is away")


def timer(clock: FakeClock, handler: Expired) -> LeaseTimer[str]:
    return LeaseTimer(clock, Tasks(clock), handler, "test leases")


async def test_a_lease_ends_once_and_on_time() -> None:
    clock, handler = FakeClock(), Expired()
    leases = timer(clock, handler)
    leases.touch_in("a", 10)
    await clock.advance(9.99)
    assert handler.calls == []
    await clock.advance(0.02)
    assert handler.calls == [["a"]]
    await clock.advance(1000)
    assert handler.calls == [["a"]]


async def test_touching_prolongs_and_shortens() -> None:
    clock, handler = FakeClock(), Expired()
    leases = timer(clock, handler)
    leases.touch_in("long", 10)
    leases.touch_in("short", 100)
    await clock.advance(9)
    leases.touch_in("long", 10)
    leases.touch_in("short", 5)
    await clock.advance(5)
    assert handler.calls == [["short"]]
    await clock.advance(5)
    assert handler.calls == [["short"], ["long"]]


async def test_those_due_together_come_in_one_call() -> None:
    clock, handler = FakeClock(), Expired()
    leases = timer(clock, handler)
    for key in "abc":
        leases.touch_in(key, 5)
    leases.drop("b")
    await clock.advance(5)
    assert handler.calls == [["a", "c"]]
    assert len(leases) == 0


async def test_a_deadline_that_has_passed_ends_at_once() -> None:
    clock, handler = FakeClock(), Expired()
    leases = timer(clock, handler)
    leases.touch_in("a", -5)
    await clock.advance(0)
    assert handler.calls == [["a"]]


async def test_a_handler_that_failed_is_asked_again() -> None:
    clock, handler = FakeClock(), Expired(failures=2)
    leases = timer(clock, handler)
    leases.touch_in("a", 1)
    leases.touch_in("b", 1)
    await clock.advance(1)
    assert handler.calls == [["a", "b"]]
    leases.touch_in("b", 60)
    await clock.advance(RETRY_AFTER)
    assert handler.calls == [["a", "b"], ["a"]], "b was touched meanwhile"
    await clock.advance(RETRY_AFTER)
    assert handler.calls[2:] == [["a"]]
    await clock.advance(RETRY_AFTER)
    assert len(handler.calls) == 3


async def test_a_stopped_timer_works_again_when_touched() -> None:
    """A hub that is entered again has timers that were stopped before."""
    clock, handler = FakeClock(), Expired()
    leases = timer(clock, handler)
    leases.touch_in("a", 10)
    leases.stop()
    await clock.advance(11)
    assert handler.calls == []
    leases.touch_in("b", 30)
    await clock.advance(30)
    assert [key for keys in handler.calls for key in keys] == ["a", "b"]


async def test_an_ntp_step_ends_nothing() -> None:
    clock, handler = FakeClock(), Expired()
    leases = timer(clock, handler)
    leases.touch_in("a", 10)
    clock.step_wall(3600)
    await clock.advance(1)
    assert handler.calls == []
    clock.step_wall(-7200)
    await clock.advance(9)
    assert handler.calls == [["a"]]


async def test_a_task_that_fails_says_so(caplog: pytest.LogCaptureFixture) -> None:
    tasks = Tasks(FakeClock())

    async def fails() -> None:
        raise ZeroDivisionError

    task = tasks.spawn(fails(), "doomed")
    await asyncio.wait({task})
    await settle()
    [record] = caplog.records
    assert (record.levelno, record.getMessage()) == (
        logging.ERROR,
        "background task doomed failed",
    )
    assert record.exc_info is not None
    await tasks.cancel()


async def test_cancel_ends_everything_even_what_never_began() -> None:
    tasks = Tasks(FakeClock())
    began: list[str] = []

    async def waits(name: str) -> None:
        began.append(name)
        await asyncio.Event().wait()

    running = tasks.spawn(waits("running"), "running")
    await settle()
    fresh = tasks.spawn(waits("fresh"), "fresh")
    await tasks.cancel()
    assert running.cancelled()
    assert fresh.cancelled()
    assert began == ["running"]


async def test_a_job_runs_on_after_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    tasks = Tasks(clock)
    runs: list[float] = []

    async def job() -> None:
        runs.append(clock.monotonic())
        if len(runs) == 1:
            raise OSError("once")

    tasks.every(10, job, "sweep")
    await clock.advance(100)
    await tasks.cancel()
    gaps = [later - earlier for earlier, later in zip([0.0, *runs], runs, strict=False)]
    assert all(9 <= gap <= 11 for gap in gaps)
    assert len(set(gaps)) > 1, "many hubs must not march in step"
    assert 9 <= len(runs) <= 11
    assert [record.getMessage() for record in caplog.records] == [
        "sweep failed; it runs again in 10 s"
    ]
