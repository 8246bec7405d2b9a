"""The thread that brings what the command printed to the server, and at last how it ended.

It sends the first line at once, and what gathers while a request is under way in the next. A
server that is away is tried for as long as the command runs, and `patience` seconds beyond.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from cardume.errors import CardumeError, Unavailable
from cardume.runner.backoff import delay
from cardume.runner.execution import Ended, Execution
from cardume.runner.lines import Line, LineCutter
from cardume.runner.pending import Pending
from cardume.runner.spool import Chunk, Spool
from cardume.wire.messages import rfc3339

STREAMS = {1: "stdout", 2: "stderr"}


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds."""

    renew: float = 15.0
    """A silent command is heard of this often; the server's lease is 60."""
    between: float = 0.05
    """Between two requests that are not full: a server commits each."""
    patience: float = 600.0
    """How long a server may stay away once the command has ended."""


class Delivery:
    """Runs from `start` until everything is delivered, or cannot be."""

    def __init__(
        self,
        execution: Execution,
        spool: Spool,
        pace: Pace,
        *,
        say: Callable[[str], None],
        cancelled: Callable[[], None],
    ) -> None:
        self._execution = execution
        self._spool = spool
        self._pace = pace
        self._say = say
        self._cancelled = cancelled
        self._pending = Pending()
        self._cutters = {stream: LineCutter() for stream in STREAMS}
        self._lines: Iterator[tuple[Line, str, str]] = iter(())
        self._ending: tuple[int, str | None] = (1, None)
        self._heard_at = time.monotonic()
        self._finished_at: float | None = None
        self._away = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="delivery", daemon=True)
        self.reported = False
        """The server knows how the command ended."""
        self.over = False
        """The execution had ended before the command, and took no more."""

    @property
    def accepted(self) -> int:
        return self._pending.accepted

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def start(self) -> None:
        self._thread.start()

    def finish(self, exit_code: int, message: str | None = None) -> None:
        """The command has ended and all that it printed is in the spool."""
        self._ending = (exit_code, message)
        self._finished_at = time.monotonic()
        self._spool.close()

    def give_up(self) -> None:
        """Deliver nothing more."""
        self._stop.set()
        self._spool.discard()

    def join(self, timeout: float | None = None) -> None:
        self._thread.join(timeout)

    # -- the thread -------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while self._gather():
                behind = self._pending.full or self._finished_at is not None
                self._until_taken(self._send)
                if not behind:
                    self._stop.wait(self._pace.between)
            self._until_taken(lambda: self._execution.end(*self._ending))
            self.reported = True
        except Ended as ended:
            self._over(ended)
        except Unavailable as error:
            self._say(f"the server is still away ({error})")
        except CardumeError as error:
            self._say(f"{error}; nothing more is sent")
        finally:
            self._spool.discard()

    def _gather(self) -> bool:
        """Fill the request; False when there is nothing left to send, ever."""
        while not self._pending.full:
            entry = next(self._lines, None)
            if entry is not None:
                self._pending.add(*entry)
                continue
            if self._spool.drained:
                if not self._cutters:
                    return bool(self._pending)
                self._lines = self._last_lines()
                continue
            due = self._renew_in()
            chunk = self._spool.take(0 if self._pending else due)
            if chunk is not None:
                self._lines = self._cut(chunk)
            elif self._pending:
                return True
            if not due:  # even if bytes pour in, of a line that never ends
                return True
        return True

    def _renew_in(self) -> float:
        return max(0.0, self._heard_at + self._pace.renew - time.monotonic())

    def _cut(self, chunk: Chunk) -> Iterator[tuple[Line, str, str]]:
        at, stream = rfc3339(chunk.at), STREAMS[chunk.stream]
        return ((line, stream, at) for line in self._cutters[chunk.stream].feed(chunk.data))

    def _last_lines(self) -> Iterator[tuple[Line, str, str]]:
        at = rfc3339(time.time())
        cutters, self._cutters = self._cutters, {}
        return iter(
            [(line, STREAMS[n], at) for n, cutter in cutters.items() for line in cutter.finish()]
        )

    def _send(self) -> None:
        expected = self._execution.log(self._pending.body())
        if expected is None:
            self._pending.accept()
            return
        before = self._pending.accepted
        if forgotten := self._pending.expect(expected):
            self._say(f"the server forgot {forgotten} lines that it had taken")
        elif self._pending.accepted == before:
            raise Unavailable("it asks for what it was sent")

    def _until_taken(self, call: Callable[[], None]) -> None:
        attempt = 0
        while True:
            if self._stop.is_set():
                raise Unavailable("stopped")
            try:
                call()
            except Unavailable as error:
                if self._patience_is_over():
                    raise
                if not self._away:
                    self._say(f"the server is away ({error}); the command goes on")
                self._away = True
                self._stop.wait(delay(attempt, random.random()))
                attempt += 1
                continue
            self._heard_at = time.monotonic()
            if self._away:
                self._say("the server is back")
            self._away = False
            return

    def _patience_is_over(self) -> bool:
        if self._finished_at is None:
            return False
        since = max(self._finished_at, self._heard_at)
        return time.monotonic() - since > self._pace.patience

    def _over(self, ended: Ended) -> None:
        self.over = True
        if ended.status == "cancelled":
            self._say("cancelled by a viewer")
            self._cancelled()
        elif ended.reason == "lost":
            self._say(
                "the server took this runner for lost and failed the execution; "
                "the command goes on unwatched"
            )
        else:
            self._say(f"the execution is {ended.status} at the server; nothing more is sent")
