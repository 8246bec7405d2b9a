"""A bounded log of publications with positions. Pure: `now` comes in, in monotonic seconds."""

from __future__ import annotations

from collections import deque
from itertools import islice

import msgspec

from cardume.engines.base import Page, Replay, Retention, StateFull
from cardume.wire.messages import Position, Publication, weight

NOTHING = b"null"
"""The data that takes a key away."""


class Stream:
    """Offsets 1, 2, 3… inside one epoch, the newest kept by count, by size and by age."""

    __slots__ = (
        "_keyed",
        "_keyed_octets",
        "_log",
        "_octets",
        "_times",
        "_weights",
        "epoch",
        "idle_since",
        "top",
    )

    def __init__(self, epoch: str, now: float) -> None:
        self.epoch = epoch
        self.top = 0
        self.idle_since = now
        self._log: deque[Publication] = deque()
        self._times: deque[float] = deque()
        self._weights: deque[int] = deque()
        self._octets = 0
        self._keyed: dict[str, tuple[Publication, int]] = {}
        """The latest by key and its weight, the longest unchanged first."""
        self._keyed_octets = 0

    def __len__(self) -> int:
        return len(self._log)

    @property
    def position(self) -> Position:
        return Position(self.epoch, self.top)

    def append(self, publication: Publication, retention: Retention, now: float) -> Publication:
        """Give `publication` the next offset and keep it.

        Raises:
            StateFull: there is no room for its key; the stream is as it was.
        """
        octets = weight(publication)
        if retention.keys and publication.key is not None:
            self._check_room(publication, publication.key, octets, retention)
        self.top += 1
        self.idle_since = now
        numbered = msgspec.structs.replace(publication, offset=self.top)
        self._log.append(numbered)
        self._times.append(now)
        self._weights.append(octets)
        self._octets += octets
        if retention.keys and numbered.key is not None:
            self._put(numbered, numbered.key, octets)
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
            self._log.popleft()
            self._times.popleft()
            self._octets -= self._weights.popleft()

    def clear(self) -> None:
        """Forget everything but the position."""
        self._forget_log()
        self._keyed.clear()
        self._keyed_octets = 0

    def skip(self) -> None:
        """Leave out an offset: nobody can resume from before it. The latest of each key stays."""
        self._forget_log()
        self.top += 1

    def _forget_log(self) -> None:
        self._log.clear()
        self._times.clear()
        self._weights.clear()
        self._octets = 0

    def replay(
        self, since: Position | None, retention: Retention, limit: int, now: float
    ) -> Replay:
        """The top, and all that follows `since` if every one of them is still here."""
        self.trim(retention, now)
        if since is None or since.epoch != self.epoch or not self._holds(since.offset, limit):
            return Replay(self.position, None)
        skip = len(self._log) - (self.top - since.offset)
        return Replay(self.position, tuple(islice(self._log, skip, None)))

    def page(
        self,
        since: Position | None,
        retention: Retention,
        limit: int,
        reverse: bool,
        now: float,
    ) -> Page:
        """A page of what is kept; None where it would not follow on `since`."""
        self.trim(retention, now)
        first = self.top - len(self._log) + 1
        start = self.top if reverse else first
        if since is not None:
            if since.epoch not in ("", self.epoch):
                return Page(self.position, None)
            start = since.offset - 1 if reverse else since.offset + 1
            if start > self.top + (not reverse) or (start < first and not reverse):
                return Page(self.position, None)
        if reverse:
            begin = max(first, start - limit + 1)
            found = tuple(islice(self._log, begin - first, max(0, start - first + 1)))[::-1]
        else:
            found = tuple(islice(self._log, start - first, start - first + limit))
        return Page(self.position, found)

    def latest(self) -> Page:
        """The latest publication of each key."""
        return Page(self.position, tuple(publication for publication, _ in self._keyed.values()))

    @property
    def keys(self) -> int:
        """How many keys have a value."""
        return len(self._keyed)

    def _check_room(
        self, publication: Publication, key: str, octets: int, retention: Retention
    ) -> None:
        if publication.data == NOTHING:
            return
        held = self._keyed.get(key)
        keys = len(self._keyed) + (held is None)
        octets += self._keyed_octets - (0 if held is None else held[1])
        if keys > retention.keys or octets > retention.octets:
            raise StateFull

    def _put(self, publication: Publication, key: str, octets: int) -> None:
        held = self._keyed.pop(key, None)
        if held is not None:
            self._keyed_octets -= held[1]
        if publication.data != NOTHING:
            self._keyed[key] = (publication, octets)
            self._keyed_octets += octets

    def _holds(self, offset: int, limit: int) -> bool:
        missed = self.top - offset
        return 0 <= missed <= min(len(self._log), limit)
