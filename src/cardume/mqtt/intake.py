"""The way in: messages gather here, go to the handler in batches, and are settled after it.

Backpressure rather than loss: when too many are pending, `offer` says so, and whoever reads the
sockets stops reading until `when_roomy` calls it back.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from cardume.clock import Clock
from cardume.errors import Unavailable
from cardume.mqtt.faults import Faults
from cardume.mqtt.ports import Handler, Inbound

log = logging.getLogger("cardume.mqtt")

FIRST_WAIT: Final = 0.2
LONGEST_WAIT: Final = 5.0
"""Seconds: bounds of the wait before an unavailable handler is asked again (full jitter)."""

Settle = Callable[[Inbound, bool], None]
"""Told once what became of a message: True, it was kept; False, it never will be."""


class IntakeStats(NamedTuple):
    """Counts since the start, and what is pending now."""

    accepted: int
    handled: int
    poisoned: int
    """Failed in a batch and failed alone: not acknowledged, their connections were closed."""
    refused: int
    """Offered after `drain` had begun, or still pending when its time was up."""
    retries: int
    pending: int
    healthy: bool


class Intake:
    """A bounded queue in front of a handler, with one consumer.

    While one batch is being handled the next one gathers. Messages are handled in the order they
    were offered. `max_pending` is where `offer` asks for a pause; only what its caller has already
    in hand comes on top. Two batches begin at least `gather` seconds apart: a message that comes
    alone is handled at once, a steady stream in fewer commits.
    """

    def __init__(
        self,
        handler: Handler,
        clock: Clock,
        *,
        max_batch: int = 512,
        max_pending: int = 4096,
        gather: float = 0.0,
    ) -> None:
        self.healthy = True
        """False while the handler says `Unavailable`."""
        self._handler = handler
        self._clock = clock
        self._max_batch = max_batch
        self._max_pending = max_pending
        self._gather = gather
        self._queue: deque[tuple[Inbound, Settle]] = deque()
        self._pending = 0
        self._waiting: dict[Callable[[], None], None] = {}
        self._wake = asyncio.Event()
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._faults = Faults(log, clock)
        self._accepted = self._handled = self._poisoned = self._refused = self._retries = 0

    def start(self) -> None:
        """Begin to consume. Needs a running loop; a second call does nothing."""
        if self._task is None and not self._closing:
            self._task = asyncio.create_task(self._consume(), name="mqtt-intake")

    def offer(self, message: Inbound, settle: Settle) -> bool:
        """Take a message. False asks the caller to pause until `when_roomy` calls it."""
        if self._closing:
            self._refused += 1
            return False
        self._queue.append((message, settle))
        self._accepted += 1
        self._pending += 1
        if self._pending == 1:
            self._quiet.clear()
            self._wake.set()
        return self._pending < self._max_pending

    def when_roomy(self, resume: Callable[[], None]) -> None:
        """Call `resume` once, when less than half is pending; first come, first served."""
        self._waiting[resume] = None

    def forget(self, resume: Callable[[], None]) -> None:
        """Take back `when_roomy`."""
        self._waiting.pop(resume, None)

    async def settled(self, timeout: float) -> bool:
        """Wait until nothing is pending, at most `timeout` seconds; whether it came to that."""
        try:
            async with asyncio.timeout(timeout):
                await self._quiet.wait()
        except TimeoutError:
            return False
        return True

    async def drain(self, timeout: float) -> bool:
        """Take nothing more, finish what is pending within `timeout` seconds, and stop.

        What could not be finished stays unacknowledged: its sender will send it again.
        """
        self._closing = True
        done = await self.settled(timeout)
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
        self._refused += self._pending
        self._pending = 0
        self._queue.clear()
        self._waiting.clear()
        self._quiet.set()
        return done

    def stats(self) -> IntakeStats:
        return IntakeStats(
            accepted=self._accepted,
            handled=self._handled,
            poisoned=self._poisoned,
            refused=self._refused,
            retries=self._retries,
            pending=self._pending,
            healthy=self.healthy,
        )

    async def _consume(self) -> None:
        queue = self._queue
        next_at = 0.0
        while True:
            if not queue:
                self._quiet.set()
                self._wake.clear()
                await self._wake.wait()
            early = next_at - self._clock.monotonic()
            if early > 0:
                await self._clock.sleep(early)
            next_at = self._clock.monotonic() + self._gather
            batch = [queue.popleft() for _ in range(min(len(queue), self._max_batch))]
            try:
                await self._keep([message for message, _ in batch])
            except Exception as error:
                self._faults.note("the MQTT handler", error)
                await self._keep_each(batch)
            else:
                for message, settle in batch:
                    self._settle(message, settle, kept=True)
            self._make_room()

    async def _keep(self, messages: list[Inbound]) -> None:
        """Hand a batch over, for as long as it takes."""
        ceiling = FIRST_WAIT
        while True:
            try:
                await self._handler(messages)
            except Unavailable:
                if self.healthy:
                    log.warning("the MQTT handler is unavailable: messages wait unacknowledged")
                self.healthy = False
            except Exception:
                self.healthy = True
                raise
            else:
                self.healthy = True
                return
            self._retries += 1
            await self._clock.sleep(random.uniform(0.0, ceiling))
            ceiling = min(LONGEST_WAIT, ceiling * 2)

    async def _keep_each(self, batch: list[tuple[Inbound, Settle]]) -> None:
        """One bad message must not take the others of its batch with it."""
        for message, settle in batch:
            try:
                await self._keep([message])
            except Exception as error:
                self._faults.note("the MQTT handler, given one message,", error)
                self._settle(message, settle, kept=False)
            else:
                self._settle(message, settle, kept=True)

    def _settle(self, message: Inbound, settle: Settle, *, kept: bool) -> None:
        self._pending -= 1
        if kept:
            self._handled += 1
        else:
            self._poisoned += 1
        try:
            settle(message, kept)
        except Exception as error:  # one connection's fault must not stop everyone's intake
            self._faults.note("settling an MQTT message", error)

    def _make_room(self) -> None:
        if not self._waiting or self._pending >= self._max_pending // 2:
            return
        while self._waiting and self._pending < self._max_pending:
            resume = next(iter(self._waiting))
            del self._waiting[resume]
            resume()
