"""How long readings are kept one by one. The rest of their time they are hours."""

from __future__ import annotations

import logging

from sqlalchemy import select

from cardume.apps.aquarium.measurements import first_id
from cardume.clock import Clock
from cardume.storage.database import Storage
from cardume.storage.rollups import retire
from cardume.storage.tables import readings

EVERY = 600.0
"""Seconds between two looks for readings that are old enough."""

FIRST = 60.0
"""Seconds from the start to the first look, and from one that failed to the next."""

BATCH = 100
"""Readings moved in one transaction: what devices send waits for it, 2 ms."""

PAUSE = 0.02
"""Seconds between two transactions, so that whoever waits has its turn many times over."""

DAY = 86_400.0

JUMP = 3600.0
"""Seconds by which the wall clock may move against the other between two runs."""

logger = logging.getLogger("cardume.aquarium")


class Retention:
    """Moves what came more than `days` ago into hours; 0 keeps everything as it came."""

    def __init__(self, storage: Storage, clock: Clock, days: float) -> None:
        self._storage = storage
        self._clock = clock
        self._days = days
        self._offset = clock.now() - clock.monotonic()
        self._next = clock.monotonic()

    async def tend(self) -> None:
        """To be called each `FIRST` seconds: `run`, where the last one is `EVERY` seconds ago.

        Raises:
            Unavailable: as `run`.
        """
        if self._clock.monotonic() >= self._next:
            await self.run()
            self._next = self._clock.monotonic() + EVERY

    async def run(self) -> int:
        """Move all that is due, a little at a time; how many readings.

        Raises:
            Unavailable: the rest was not moved; the next run goes on.
        """
        if not self._days or not self._is_steady():
            return 0
        before = first_id(self._clock.now() - self._days * DAY)
        moved = 0
        try:
            while await self._is_due(before):
                async with self._storage.write() as tx:
                    batch = await retire(tx, before, BATCH)
                moved += batch
                await self._clock.sleep(PAUSE)
        finally:
            if moved:
                logger.info("%d readings became hours", moved)
        return moved

    def _is_steady(self) -> bool:
        """Whether the time of day can be believed: what was moved does not come back.

        A clock that was set, rightly or not, is believed at the next run.
        """
        offset = self._clock.now() - self._clock.monotonic()
        moved, self._offset = offset - self._offset, offset
        if abs(moved) > JUMP:
            logger.warning("the wall clock was set by %+.0f s: no readings are moved yet", moved)
        return abs(moved) <= JUMP

    async def _is_due(self, before: int) -> bool:
        """Asked of a reader: most of the time there is nothing to do, and no turn to take."""
        oldest = select(readings.c.id).where(readings.c.id < before).limit(1)
        async with self._storage.read() as connection:
            return (await connection.execute(oldest)).first() is not None
