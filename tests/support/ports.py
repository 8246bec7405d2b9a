"""Ports for servers that are told theirs, or that come back on the one they had."""

from __future__ import annotations

import random
import socket

_FROM, _TO = 20_000, 32_000
"""Below what the kernel hands out by itself (Linux: from 32768, Windows and macOS: from 49152).

There, a port that is free now is somebody's end of a connection a moment later.
"""

_chance = random.SystemRandom()  # hypothesis gives every process the same dice
_ours: list[socket.socket] = []


def free_port() -> int:
    """A port that nobody has, and that no other process of the tests gets while this one lives.

    The UDP port of the same number, which no server of ours wants, says that it is taken.
    """
    while True:
        port = _chance.randrange(_FROM, _TO)
        claim = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            claim.bind(("127.0.0.1", port))
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            claim.close()
            continue
        _ours.append(claim)
        return port
