"""What the process asks of Python and of the system, for many connections that live long."""

from __future__ import annotations

import gc
import resource
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from cardume.hub import sockets

BACKLOG = 4096
"""Connections that may wait to be accepted; the system holds it to its own bound."""

GC_THRESHOLDS = (10_000, 10, 10)
"""A million objects more than there were before the garbage collector looks at all of them."""

_WEBSOCKETS = 0.9
"""Of the open files. The rest is for devices, requests and the database."""

_WAITING = 0.05
"""Of the open files, for those who have not said yet what they want."""

_CROWD = 0.5
"""Of the open files, for those of them who have just come."""

_FEW = 100

_UNBOUNDED = 1_048_576
"""Open files to ask for where the system names no bound."""

_SOMAXCONN = Path("/proc/sys/net/core/somaxconn")


def settle_heap() -> None:
    """Take what is loaded by now out of the garbage collector's rounds, and make these rare.

    It stays for good, and looking through it stops the loop: 50 to 160 ms measured, 10 without it.
    A connection is some 130 objects that live long and are freed without the collector: by
    Python's thresholds it looked through all of them eight times while 5,000 came back.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def open_files() -> int:
    """How many files we may have open, after asking for as many as there are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        hard = max(soft, _UNBOUNDED)
    if soft != resource.RLIM_INFINITY and soft < hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError):  # macOS has a lower bound of its own
            return soft
    return hard


def max_connections() -> int:
    """How many WebSockets the open files are enough for."""
    return int(_WEBSOCKETS * open_files())


def max_waiting() -> int:
    """How many HTTP connections may keep us waiting."""
    return min(max(_FEW, int(_WAITING * open_files())), max_crowd())


def max_crowd() -> int:
    """How many of them may be there for a moment: all clients that come back at once."""
    return int(_CROWD * open_files())


def backlog() -> int:
    """How many connections may wait to be accepted, the system's bound considered."""
    try:
        return min(BACKLOG, int(_SOMAXCONN.read_text()))
    except (OSError, ValueError):  # not Linux
        return BACKLOG


def has_uvloop() -> bool:
    return find_spec("uvloop") is not None


def too_few_files(wanted: int | None) -> str | None:
    """What to say where `wanted` connections are more than the open files are enough for."""
    enough_for = max_connections()
    if wanted is None or wanted <= enough_for:
        return None
    return (
        f"{open_files()} open files are enough for {enough_for} connections, and not for the "
        f"{wanted} of CARDUME_MAX_CONNECTIONS: raise `ulimit -n`, or LimitNOFILE of systemd"
    )


def short_backlog() -> str | None:
    """What to say where the system lets fewer connections wait than we would."""
    if backlog() >= BACKLOG:
        return None
    return (
        f"{backlog()} connections may wait to be accepted; for a crowd that comes back at once: "
        f"sysctl -w net.core.somaxconn={BACKLOG}"
    )


def slow_loop() -> str | None:
    """What to say where uvloop is missing."""
    if has_uvloop():
        return None
    return "asyncio's own; uvloop does the same work in less time: pip install uvloop"


def slow_sockets() -> str | None:
    """What to say where a publication takes a call for each socket."""
    if sockets.COMPILED:
        return None
    return (
        "a call for each socket; one for all takes a fifth less time: install a C compiler "
        "(Debian: build-essential), then cardume anew"
    )


def remarks(wanted: int | None) -> Iterator[str]:
    """What a server for `wanted` connections says of its process at the start; mostly nothing."""
    if (too_few := too_few_files(wanted)) is not None:
        yield too_few
    if (slow := slow_loop()) is not None:
        yield f"event loop: {slow}"
