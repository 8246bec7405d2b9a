"""A real mosquitto on a free port, that a test starts, kills, freezes and starts again."""

from __future__ import annotations

import asyncio
import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.ports import free_port

# Debian keeps it where an ordinary user's PATH does not look.
PROGRAM = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")

needs_broker = pytest.mark.skipif(PROGRAM is None, reason="mosquitto is not installed")

PATIENCE = 15.0


class Mosquitto:
    """A broker with a folder of its own; anybody may come in unless `lines` say otherwise."""

    def __init__(self, folder: Path, *lines: str, persistence: bool = True) -> None:
        self.port = free_port()
        self.folder = folder
        folder.mkdir(exist_ok=True)
        kept = [f"persistence {str(persistence).lower()}", f"persistence_location {folder}/"]
        common = [f"user {getpass.getuser()}", "max_queued_messages 0", "autosave_interval 0"]
        closed = any("allow_anonymous" in line for line in lines)
        access = [] if closed else ["allow_anonymous true"]
        self._configuration = folder / "mosquitto.conf"
        text = "\n".join([f"listener {self.port} 127.0.0.1", *access, *common, *kept, *lines])
        self._configuration.write_text(text + "\n")
        self._running: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start, and wait until it answers."""
        assert PROGRAM is not None
        with (self.folder / "mosquitto.log").open("ab") as log:
            self._running = subprocess.Popen(
                [PROGRAM, "-c", str(self._configuration)], stdout=log, stderr=log
            )
        until = time.monotonic() + PATIENCE
        while not self._answers():
            assert self._running.poll() is None, self.log
            assert time.monotonic() < until, self.log
            time.sleep(0.01)

    @property
    def log(self) -> str:
        return (self.folder / "mosquitto.log").read_text(errors="replace")

    def kill(self) -> None:
        """As a crash or a power cut ends it: nothing is said, nothing is saved."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """In good order, with everything saved."""
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    async def save(self) -> None:
        """Make it write what it holds to disk, which it does by itself twice an hour."""
        kept = self.folder / "mosquitto.db"
        before = kept.stat().st_mtime_ns if kept.exists() else 0
        self._signal(signal.SIGUSR1)
        until = time.monotonic() + PATIENCE
        while not kept.exists() or kept.stat().st_mtime_ns == before:
            assert time.monotonic() < until, "nothing was saved"
            await asyncio.sleep(0.01)

    def _signal(self, number: signal.Signals) -> None:
        assert self._running is not None
        os.kill(self._running.pid, number)

    def _end(self, number: signal.Signals) -> None:
        running, self._running = self._running, None
        if running is not None and running.poll() is None:
            running.send_signal(signal.SIGCONT)
            running.send_signal(number)
            running.wait(PATIENCE)

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1.0).close()
        except OSError:
            return False
        return True


@contextmanager
def mosquitto(folder: Path, *lines: str, persistence: bool = True) -> Iterator[Mosquitto]:
    """A broker that runs, until the block ends."""
    broker = Mosquitto(folder, *lines, persistence=persistence)
    broker.start()
    try:
        yield broker
    finally:
        broker.kill()
