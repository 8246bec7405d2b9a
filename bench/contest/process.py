"""A server process that is weighed: CPU and resident memory of it and its children."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import psutil

PATIENCE = 20.0
"""Seconds until a server that does not listen is an error."""


class TargetError(Exception):
    """A server or its subscribers failed in a measurement; how, in a line."""


def cpu_of(process: psutil.Process) -> float:
    """CPU seconds, user and system, of a process with its threads and its children.

    By the process's own CPU clock: `/proc/PID/stat` is the same count in steps of 10 ms.
    """
    return sum(time.clock_gettime((~one.pid << 3) | 2) for one in _family(process))


def memory_of(process: psutil.Process) -> int:
    """Resident bytes of a process and its children."""
    return sum(one.memory_info().rss for one in _family(process))


def _family(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


@contextmanager
def running(
    command: list[str], port: int, cwd: Path, env: dict[str, str] | None = None
) -> Iterator[psutil.Process]:
    """A process that listens on the port, and is gone afterwards.

    Raises:
        TargetError: it ended, or did not listen in time.
    """
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            command, cwd=cwd, env={**os.environ, **(env or {})}, stdout=said, stderr=said
        )
        try:
            _await_port(process, port, said)
            yield psutil.Process(process.pid)
        finally:
            stop(process, within=5)


def stop(process: subprocess.Popen[Any], *, within: float) -> None:
    """End it; by force, where it is still there after so many seconds."""
    process.terminate()
    try:
        process.wait(within)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _await_port(process: subprocess.Popen[bytes], port: int, said: IO[bytes]) -> None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    said.seek(0)
    lines = said.read().decode(errors="replace").strip().splitlines()
    raise TargetError(lines[-1] if lines else "it does not listen")
