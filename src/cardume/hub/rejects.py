"""What was refused or dropped: counted by reason always, logged at a bounded rate."""

from __future__ import annotations

import logging
from collections import Counter

from cardume.clock import Clock

LOG_EVERY = 10.0
"""Seconds between two log lines of one reason."""


class Rejects:
    """Counters by reason, and at most one WARNING per reason and `every` seconds.

    `note` takes a detail for the log line: ids and sizes, never a payload or a token. It is
    escaped, so a hostile name stays on one line.
    """

    def __init__(self, logger: logging.Logger, clock: Clock, every: float = LOG_EVERY) -> None:
        self.counts: Counter[str] = Counter()
        self._logger = logger
        self._clock = clock
        self._every = every
        self._last: dict[str, tuple[float, int]] = {}

    def note(self, reason: str, detail: str = "", *, count: int = 1) -> None:
        """Count `reason`, and say so in the log if it has been quiet about it long enough."""
        self.counts[reason] += count
        now = self._clock.monotonic()
        last = self._last.get(reason)
        if last is not None and now - last[0] < self._every:
            return
        total = self.counts[reason]
        unsaid = total - (last[1] if last else 0)
        self._last[reason] = (now, total)
        self._logger.warning("%s: %s (%d since last said)", reason, ascii(detail)[:200], unsaid)
