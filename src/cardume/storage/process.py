"""Which process on which machine: so that another one can see whether it still runs.

A pid means something only to processes of the same kernel and pid namespace (containers have their
own), and only together with its start: pids come again, and in a container it is always 1.
"""

from __future__ import annotations

import os
import platform
import uuid
from pathlib import Path

import msgspec

_PROC = Path("/proc")


class Process(msgspec.Struct, frozen=True):
    """A process, as it describes itself."""

    host: str
    pid: int
    boot: str
    """The life of the kernel that it runs on."""
    space: str
    """Where its pid is to be found; with `boot`, who shares it can look."""
    started: str
    """When it started, in ticks of that kernel; empty where none says."""

    def shares_pids_with(self, other: Process) -> bool:
        return (self.boot, self.space) == (other.boot, other.space)


def this_process() -> Process:
    """The one that asks."""
    boot = _text(_PROC / "sys/kernel/random/boot_id") or f"{uuid.getnode():x}"
    try:
        space = os.readlink(_PROC / "self/ns/pid")
    except OSError:
        space = ""
    return Process(platform.node(), os.getpid(), boot, space, started(os.getpid()) or "")


def is_running(process: Process) -> bool:
    """Whether it is there; only for one that shares our pids."""
    begun = started(process.pid)
    if begun is not None and process.started:
        return begun == process.started
    if _PROC.joinpath("self/stat").exists():
        return False
    try:
        os.kill(process.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def started(pid: int) -> str | None:
    """When a process of this machine started; None if it has ended, or nobody can say.

    proc(5): the fields after the name in parentheses, state first; the start is field 22. One that
    was killed and not waited for is there as a zombie, and writes no more.
    """
    stat = _text(_PROC / str(pid) / "stat")
    fields = stat.rpartition(")")[2].split()
    if len(fields) < 20 or fields[0] in ("Z", "X", "x"):
        return None
    return fields[19]


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
