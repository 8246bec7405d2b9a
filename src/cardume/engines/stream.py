"""A bounded log of publications with positions. Pure: `now` comes in, in monotonic seconds."""

from __future__ import annotations

from collections import deque
from itertools import islice

import msgspec

from cardume.engines.base import Replay, Retention
from cardume.wire.messages import Position, Publication


class Stream:
    """Offsets 1, 2, 3… inside one epoch, the newest kept by count, by size and by age."""

    __slots__ = ("_log", "_octets", "_times", "epoch", "idle_since", "top")

    def __init__(self, epoch: str, now: float) -> None:
        self.epoch = epoch
        self.top = 0
        self.idle_since = now
        self._log: deque[Publication] = deque()
        self._times: deque[float] = deque()
        self._octets = 0

    def __len__(self) -> int:
        return len(self._log)

    @property
    def position(self) -> Position:
        return Position(self.epoch, self.top)

    def append(self, publication: Publication, retention: Retention, now: float) -> Publication:
        """Give `publication` the next offset and keep it."""
        self.top += 1
        self.idle_since = now
        numbered = msgspec.structs.replace(publication, offset=self.top)
        self._log.append(numbered)
        self._times.append(now)
        self._octets += len(numbered.data)
        self.trim(retention, now)
        return numbered

    def trim(self, retention: Retention, now: float) -> None:
        """Forget what is beyond the retention."""
        oldest = now - retention.ttl
        while self._log and (
            len(self._log) > retention.size
            or self._octets > retention.octets
            or self._times[0] < oldest
        ):
            self._octets -= len(self._log.popleft().data)
            self._times.popleft()

    def replay(
        self, since: Position | None, retention: Retention, limit: int, now: float
    ) -> Replay:
        """The top, and all that follows `since` if every one of them is still here."""
        self.trim(retention, now)
        if since is None or since.epoch != self.epoch or not self._holds(since.offset, limit):
            return Replay(self.position, None)
        skip = len(self._log) - (self.top - since.offset)
        return Replay(self.position, tuple(islice(self._log, skip, None)))

    def _holds(self, offset: int, limit: int) -> bool:
        missed = self.top - offset
        return 0 <= missed <= min(len(self._log), limit)
