"""The command as a process: started, signalled as a group, waited for."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType

from cardume.errors import CardumeError
from cardume.runner.terminal import Terminal

KILL_AFTER = 10.0
"""Seconds between SIGTERM and SIGKILL when a viewer cancels."""

FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGCONT)

NOT_EXECUTABLE = 126
NOT_FOUND = 127


class NotStarted(CardumeError):  # noqa: N818 - how shells name it
    """There is no process. The message says why, `exit_code` is what a shell would exit with."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Process:
    """One run of a command, in a process group of its own; our standard input is its own."""

    def __init__(self, command: Sequence[str], env: dict[str, str]) -> None:
        """Raises: NotStarted."""
        try:
            self._popen = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env=env,
                process_group=0,
            )
        except (FileNotFoundError, NotADirectoryError):
            raise NotStarted(f"{command[0]!r}: command not found", NOT_FOUND) from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "not a command"
            raise NotStarted(f"{command[0]!r}: {reason}", NOT_EXECUTABLE) from None
        self.group = self._popen.pid
        self._reaped = False
        # Signals are handled on the thread that reaps, so it may come twice.
        self._changing = threading.RLock()
        self._timer: threading.Timer | None = None
        self._terminal = Terminal()
        self._terminal.lend(self.group)

    def pipes(self) -> dict[int, int]:
        """What it prints, to read and to close: by 1 for stdout, 2 for stderr."""
        assert self._popen.stdout is not None
        assert self._popen.stderr is not None
        taken = {}
        for stream, pipe in ((1, self._popen.stdout), (2, self._popen.stderr)):
            taken[stream] = os.dup(pipe.fileno())
            pipe.close()
        return taken

    def signal(self, number: int) -> None:
        """Send it to all of the group that is left."""
        # Until it is reaped, the process keeps its number, so nobody else can be hit.
        with self._changing:
            if not self._reaped:
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(self.group, number)

    def terminate(self, kill_after: float = KILL_AFTER) -> None:
        """SIGTERM now, SIGKILL to what is left of it in `kill_after` seconds. Again is nothing."""
        with self._changing:
            if self._timer is not None:
                return
            self._timer = threading.Timer(kill_after, self.signal, (signal.SIGKILL,))
            self._timer.daemon = True
            self.signal(signal.SIGTERM)
            self.signal(signal.SIGCONT)  # a stopped process hears of it only then
            self._timer.start()

    def resume(self) -> None:
        """We were continued, perhaps into the foreground."""
        self._terminal.lend(self.group)

    def wait(self) -> None:
        """Return when the command has ended; what it started may still run. Main thread only."""
        while True:
            state = os.waitid(os.P_PID, self.group, os.WEXITED | os.WSTOPPED | os.WNOWAIT)
            assert state is not None
            if state.si_code != os.CLD_STOPPED:
                break
            os.waitid(os.P_PID, self.group, os.WSTOPPED | os.WNOHANG)
            self._terminal.stop_with(self.group)
        self._terminal.take_back(self.group)
        self._terminal.close()

    def reap(self) -> int:
        """Forget it, after `wait`; of one that was terminated nothing stays behind.

        Answers its exit code, or 128 + n if signal n ended it.
        """
        if self._timer is not None:
            self._timer.cancel()
            self.signal(signal.SIGKILL)
        with self._changing:
            self._reaped = True
            code = self._popen.wait()
        return code if code >= 0 else 128 - code


class Forwarding:
    """While it lasts, signals that are meant for the command go to `receive` instead."""

    def __init__(self, receive: Callable[[int], None]) -> None:
        self._receive = receive
        self._before: dict[int, object] = {}

    def __enter__(self) -> None:
        for number in FORWARDED:
            # `nohup` and a shell's background jobs ignore some: so do we, and the command.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._handle)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self._receive(number)
