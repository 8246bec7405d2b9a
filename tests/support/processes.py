"""Servers in processes of their own, as a user starts them from a shell."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support.stages import DEADLINE, until
from tests.support.waiting import START

_LISTENS = re.compile(r"(?:is up:|[Rr]unning on) https?://127\.0\.0\.1:(\d+)")
"""What Cardume, uvicorn and Hypercorn say of themselves: other lines name other servers."""


class Process:
    """A running server and all that it has printed."""

    def __init__(self, popen: subprocess.Popen[str]) -> None:
        self._popen = popen
        self.lines: list[str] = []
        self._collector = threading.Thread(target=self._collect, daemon=True)
        self._collector.start()

    @property
    def output(self) -> str:
        return "".join(self.lines)

    @property
    def pid(self) -> int:
        return self._popen.pid

    def port(self) -> int:
        """The port it says it listens on."""
        until(lambda: self._popen.poll() is not None or _LISTENS.search(self.output), START)
        found = _LISTENS.search(self.output)
        assert found is not None, self.output
        return int(found[1])

    def stop(self) -> int:
        """End it as a process manager does; its exit status."""
        if self._popen.poll() is None:
            self._popen.send_signal(signal.SIGTERM)
        try:
            return self._popen.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
            raise
        finally:
            self._collector.join()

    def _collect(self) -> None:
        assert self._popen.stdout is not None
        with self._popen.stdout as stream:
            for line in stream:
                self.lines.append(line)


@contextmanager
def process(arguments: Sequence[str], directory: Path, **env: str) -> Iterator[Process]:
    """Run ``python -m …`` in `directory` until the block ends."""
    popen = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=directory,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    running = Process(popen)
    try:
        yield running
    finally:
        running.stop()
