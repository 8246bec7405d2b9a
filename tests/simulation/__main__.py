"""``python -m tests.simulation --seeds 100000``: a long campaign."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections import Counter

from tests.simulation.campaign import NEEDED, failures


async def campaign(first: int, count: int, most: int) -> int:
    """Run `count` seeds from `first`, say what failed; the exit status."""
    tally: Counter[str] = Counter()
    began = time.monotonic()
    failed = 0
    async for failure in failures(range(first, first + count), tally):
        failed += 1
        _say(str(failure))
        if failed == most:
            break
    _say(", ".join(f"{name} {tally[name]}" for name in sorted(tally)))
    missing = [name for name in NEEDED if not tally[name]]
    if missing:
        _say(f"no proof: it never came to {', '.join(missing)}; run more seeds")
    _say(f"{count} seeds from {first} in {time.monotonic() - began:.0f} s, {failed} failed")
    return 1 if failed else 2 if missing else 0


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="simulate",
        description="A hub under every fault we can think of; each seed is one reproducible run.",
    )
    parser.add_argument("--seeds", type=int, default=10_000, help="how many (10000, a few minutes)")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first one (0)")
    parser.add_argument("--failures", type=int, default=3, help="stop after so many (3)")
    chosen = parser.parse_args()
    return asyncio.run(campaign(chosen.first, chosen.seeds, chosen.failures))


if __name__ == "__main__":
    sys.exit(main())
