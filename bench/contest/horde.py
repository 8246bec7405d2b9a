"""Very many idle connections on one process, then one publication to all of them."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from resource import RLIMIT_NOFILE, getrlimit

from contest.crowd import crowd
from contest.pause import Pause
from contest.rounds import Party, arrive
from contest.targets import Target

SPARE = 500
"""Open files that a server and the load client have beside their connections."""


def possible(wanted: int) -> int:
    """As many connections as open files allow: Cardume takes nine tenths of them."""
    return min(wanted, int(0.9 * getrlimit(RLIMIT_NOFILE)[1]) - SPARE)


def horde(program: Path, target: Target, size: int, publications: int = 3) -> dict[str, float]:
    """What it takes to hold so many, and to tell all of them something."""
    with ExitStack() as stack:
        stage = stack.enter_context(target.start(size))
        people = stack.enter_context(crowd(program, stage.address))
        memory = stage.memory()
        cpu = arrive(stage, people, size)
        memory = stage.memory() - memory
        with Pause(stage.address.port) as before:
            time.sleep(2)
        party = Party(stage, people)
        rounds = [party.closed_loop(1) for _ in range(publications)]
        with Pause(stage.address.port) as during:
            watched = [party.closed_loop(1) for _ in range(publications)]
        return {
            "connections": size,
            "handshake µs": cpu / size * 1e6,
            "idle KiB": memory / size / 1024,
            "seconds until the last has it": max(each.seconds for each in rounds + watched),
            "µs per delivery": sum(each.cpu for each in rounds) / publications,
            "longest pause ms": during.longest,
            "longest pause ms at rest": before.longest,
        }
