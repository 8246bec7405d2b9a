"""The measurements themselves: each is a round on a server whose subscribers are there."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass

from contest.crowd import Crowd, Heard
from contest.process import TargetError
from contest.publishers import dated
from contest.targets import Stage

WARM = 5
"""Publications ahead of the first round: buffers grow, and how long one takes is seen."""


AT_ONCE = 2_000
"""Clients that come without a pause: Cardume as shipped lets in as many in a second."""


NAP = 200
"""Microseconds between two looks of the subscribers, but for latency.

Else each frame wakes them, or not, by how busy they are with the one before, and a server pays for
waking a process that in real life is on another machine.
"""


@dataclass(frozen=True, slots=True)
class Round:
    """One round."""

    cpu: float
    """Microseconds of the server's CPU per delivered publication."""
    seconds: float
    """By the wall clock, from the first publication to the last delivery."""
    heard: Heard

    @property
    def rate(self) -> float:
        """Deliveries a second, to all subscribers together."""
        return self.heard.heard / self.seconds


def arrive(stage: Stage, crowd: Crowd, size: int) -> float:
    """Have so many there, as fast as they are let in; the CPU seconds that it took the server."""
    spent = 0.0
    for count in range(min(AT_ONCE, size), size + AT_ONCE, AT_ONCE):
        if count > AT_ONCE:
            time.sleep(1.0)
        before = stage.cpu()
        crowd.come(min(count, size))
        spent += stage.cpu() - before
    return spent


class Party:
    """A server with its subscribers."""

    def __init__(self, stage: Stage, crowd: Crowd) -> None:
        self.stage = stage
        self._crowd = crowd
        self._number = 0
        self._began = 0
        self._each = 0.0

    def warm(self) -> None:
        """Publish a little; afterwards `fitting` knows."""
        began = time.monotonic()
        self.closed_loop(WARM)
        self._each = (time.monotonic() - began) / WARM

    def fitting(self, seconds: float) -> int:
        """How many publications take so long."""
        return max(4, min(400, round(seconds / self._each)))

    def closed_loop(self, publications: int) -> Round:
        """Publish one after the other, each once the one before was answered."""
        with closing(self.stage.publisher()) as publisher:
            before = self._begin(publications)
            for _ in range(publications):
                publisher.publish(self._next())
            return self._end(before, publications)

    def lock_step(self, publications: int) -> Round:
        """Publish one after the other, each once everybody has the one before.

        Nothing can be joined with what comes next, which a server that answers first may do.
        """
        spent, took = self.stage.cpu(), 0.0
        with closing(self.stage.publisher()) as publisher:
            for _ in range(publications):
                before = self._begin(1)
                publisher.publish(self._next())
                last = self._end(before, 1)
                took += last.seconds
        spent = self.stage.cpu() - spent
        return Round(spent / publications / last.heard.heard * 1e6, took / publications, last.heard)

    def burst(self, requests: int, size: int = 50) -> Round:
        """The same with `size` publications in each request."""
        assert self.stage.batch is not None
        say = self.stage.batch()
        before = self._begin(requests * size)
        for _ in range(requests):
            say([self._next() for _ in range(size)])
        return self._end(before, requests * size)

    def paced(self, rate: float, seconds: float) -> Round:
        """So many a second: what latency is about."""
        publications = round(rate * seconds)
        with closing(self.stage.publisher()) as publisher:
            before, began = self._begin(publications, nap=0), time.monotonic()
            for number in range(publications):
                time.sleep(max(0.0, began + number / rate - time.monotonic()))
                publisher.publish(self._next())
            return self._end(before, publications)

    def _begin(self, publications: int, nap: int = NAP) -> float:
        self._crowd.zero()
        self._crowd.expect(publications, nap)
        self._began = time.monotonic_ns()
        return self.stage.cpu()

    def _end(self, before: float, publications: int) -> Round:
        heard = self._crowd.heard()
        spent = self.stage.cpu() - before
        if not heard.least == heard.most == publications:
            raise TargetError(
                f"{publications} publications, but subscribers had {heard.least} to "
                f"{heard.most}, {heard.lost} were lost, closed with {heard.closes or 'nothing'}"
            )
        seconds = (heard.last - self._began) / 1e9
        return Round(spent / heard.heard * 1e6, seconds, heard)

    def _next(self) -> bytes:
        self._number += 1
        return dated(self._number)
