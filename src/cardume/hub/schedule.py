"""What the hub does by the clock: periodic jobs, and one timer under any number of leases.

Apps own no loop, queue or timer; they hand their work to these.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

from cardume.clock import Clock, TimerHandle
from cardume.errors import Unavailable
from cardume.hub.leases import Leases

K = TypeVar("K", bound=Hashable)

Job = Callable[[], Awaitable[object]]

RETRY_AFTER = 5.0
"""Seconds until expired keys are offered again to a handler that failed on them."""

logger = logging.getLogger("cardume.hub")


class Tasks:
    """Named background tasks that end with the hub; one that fails says so in the log."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._running: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def every(self, seconds: float, job: Job, name: str) -> asyncio.Task[None]:
        """Run `job` each `seconds` (± 10 %, so that many hubs do not march in step)."""
        return self.spawn(self._repeat(seconds, job, name), name)

    async def cancel(self, *tasks: asyncio.Task[None]) -> None:
        """Cancel these, or all, and wait until they have ended.

        Before a database closes: a statement that is under way then, and is cancelled once more,
        can wait for ever for aiosqlite.
        """
        ending = tasks or tuple(self._running)
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)

    async def _repeat(self, seconds: float, job: Job, name: str) -> None:
        while True:
            await self._clock.sleep(seconds * random.uniform(0.9, 1.1))
            try:
                await job()
            except Unavailable as error:
                logger.warning("%s has to wait: %s; it runs again in %g s", name, error, seconds)
            except Exception:
                logger.exception("%s failed; it runs again in %g s", name, seconds)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            logger.error("background task %s failed", task.get_name(), exc_info=error)


class LeaseTimer(Generic[K]):
    """`Leases` on a clock. `on_expire` gets the keys whose deadline has come, in one call.

    A handler that raises gets the same keys again after `RETRY_AFTER`, unless they were touched
    meanwhile. Deadlines are monotonic seconds.
    """

    def __init__(
        self, clock: Clock, tasks: Tasks, on_expire: Callable[[list[K]], Awaitable[None]], name: str
    ) -> None:
        self._clock = clock
        self._tasks = tasks
        self._on_expire = on_expire
        self._name = name
        self._leases: Leases[K] = Leases()
        self._timer: TimerHandle | None = None
        self._wakes_at = float("inf")

    def __len__(self) -> int:
        return len(self._leases)

    def __contains__(self, key: K) -> bool:
        return key in self._leases

    def touch(self, key: K, deadline: float) -> None:
        self._leases.touch(key, deadline)
        if deadline < self._wakes_at:
            self._arm()

    def touch_in(self, key: K, seconds: float) -> None:
        """The deadline is `seconds` from now."""
        self.touch(key, self._clock.monotonic() + seconds)

    def drop(self, key: K) -> None:
        self._leases.drop(key)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self._wakes_at = float("inf")

    def _arm(self) -> None:
        self.stop()
        deadline = self._leases.next_deadline()
        self._wakes_at = float("inf") if deadline is None else deadline
        if deadline is not None:
            delay = deadline - self._clock.monotonic()
            self._timer = self._clock.call_later(max(0.0, delay), self._wake)

    def _wake(self) -> None:
        self._timer = None
        due = self._leases.expire(self._clock.monotonic())
        if due:
            self._tasks.spawn(self._expired(due), self._name)
        self._arm()

    async def _expired(self, keys: list[K]) -> None:
        try:
            await self._on_expire(keys)
        except Exception as error:
            bug = None if isinstance(error, Unavailable) else error
            name = type(error).__name__
            logger.warning("%s: %d keys wait after %s", self._name, len(keys), name, exc_info=bug)
            for key in keys:
                if key not in self._leases:
                    self.touch_in(key, RETRY_AFTER)
