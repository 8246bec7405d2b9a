"""The terminal in front of us, lent to the command while it runs.

The command has a process group of its own, so that a signal reaches all that it starts. Only the
terminal's foreground group may read from it; as a shell does, we put the command there. Ctrl-C
and Ctrl-Z then reach the command first, and we follow.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress


class Terminal:
    """Every method does nothing where there is no terminal, or another job has it."""

    def __init__(self) -> None:
        self._tty: int | None = None
        with suppress(OSError):
            self._tty = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)

    def lend(self, group: int) -> None:
        """Put `group` in front, if we are there, and wake it if it tried to read too early."""
        if self._front() == os.getpgrp():
            self._put_in_front(group)
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGCONT)

    def take_back(self, group: int) -> None:
        if self._front() == group:
            self._put_in_front(os.getpgrp())

    def stop_with(self, group: int) -> None:
        """The command was stopped: stop too, for the shell to see; go on when it lets us."""
        if self._tty is None:
            return
        self.take_back(group)
        os.kill(0, signal.SIGTSTP)
        self.lend(group)
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGCONT)

    def close(self) -> None:
        if self._tty is not None:
            os.close(self._tty)
            self._tty = None

    def _front(self) -> int | None:
        if self._tty is not None:
            with suppress(OSError):  # the terminal went away
                return os.tcgetpgrp(self._tty)
        return None

    def _put_in_front(self, group: int) -> None:
        assert self._tty is not None
        # From the background this would stop us.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
        try:
            with suppress(OSError):
                os.tcsetpgrp(self._tty, group)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
