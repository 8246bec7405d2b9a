"""How long to wait for a server that is away. Pure: chance comes in as an argument."""

from __future__ import annotations

FIRST = 0.2
LONGEST = 10.0


def delay(attempt: int, chance: float) -> float:
    """Seconds before the next try after `attempt` failures in a row; `chance` is in [0, 1).

    Full jitter: runners that lost their server together do not come back together.
    """
    return chance * min(LONGEST, FIRST * 2.0 ** min(attempt, 16))
