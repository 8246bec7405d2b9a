"""Bugs of ours, said aloud without what the peer sent.

An exception's text may quote a payload (`KeyError`, a database driver's parameters), so only its
class and its place are logged.
"""

from __future__ import annotations

import logging
import traceback

from cardume.clock import Clock

LOG_EVERY = 10.0
"""Seconds between two tracebacks of one kind."""


class Faults:
    """Counts unexpected exceptions; logs one traceback per place, kind and `every` seconds."""

    def __init__(self, logger: logging.Logger, clock: Clock, every: float = LOG_EVERY) -> None:
        self.count = 0
        self._logger = logger
        self._clock = clock
        self._every = every
        self._said: dict[tuple[str, type[Exception]], float] = {}

    def note(self, where: str, error: Exception) -> None:
        """Record that `where` raised `error`."""
        self.count += 1
        now = self._clock.monotonic()
        kind = (where, type(error))
        last = self._said.get(kind)
        if last is not None and now - last < self._every:
            return
        self._said[kind] = now
        frames = "".join(traceback.format_tb(error.__traceback__))
        self._logger.error("%s raised %s\n%s", where, type(error).__qualname__, frames)
