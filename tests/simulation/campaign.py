"""Many seeds in a row, and whether they had a chance to fail."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterable
from typing import NamedTuple

from tests.simulation.checker import Violation, check
from tests.simulation.history import Cursor, Ended, History, Narrowed, Outcome, Saw, Told
from tests.simulation.run import STEPS, simulate
from tests.simulation.transcript import named, transcript

LAST = 40
"""Lines of a failing seed's log that are shown before its last counterexample."""

NEEDED = (
    "saw",
    "removal",
    "filter",
    "cursor",
    "snapshot",
    "page",
    "superseded",
    "recovered True",
    "recovered False",
    *(f"publish {outcome}" for outcome in Outcome),
    *(f"ended {code}" for code in (0, 2500, 3001, 3008, 3010, 3012)),
)
"""What has to happen in a campaign. One without it proves nothing."""


class Failure(NamedTuple):
    """A seed that broke a promise, in as few steps as it takes."""

    seed: int
    steps: int
    violations: list[Violation]
    history: History

    def __str__(self) -> str:
        """The seed, what is wrong, and what led to it, as short as it goes."""
        more = len(self.violations) - 5
        said = [
            f"seed {self.seed}, {self.steps} steps:",
            *named(f"  {v}" for v in self.violations[:5]),
        ]
        said += [f"  and {more} more"] if more > 0 else []
        return "\n".join([*said, *(f"  {line}" for line in _relevant(self))])


def _relevant(failure: Failure) -> list[str]:
    """The end of the log of the channel and the client that the first violation names."""
    text, history = failure.violations[0].counterexample, failure.history
    channel = next((name for name in history.rules if name in text), None)
    others = {session.client for session in history.sessions}
    others -= {name for name in others if name in text} or others
    lines = transcript(history, channel=channel)
    return [line for line in lines if not any(f" {name} #" in line for name in others)][-LAST:]


async def failures(seeds: Iterable[int], tally: Counter[str]) -> AsyncIterator[Failure]:
    """Run all seeds; what happened is counted into `tally`."""
    for seed in seeds:
        history = await simulate(seed)
        tally.update(counted(history))
        if check(history):
            yield await shortest(seed)


async def shortest(seed: int) -> Failure:
    """A seed that is known to fail: the same run again, cut off as soon as something is wrong."""
    for steps in range(STEPS + 1):
        history = await simulate(seed, steps)
        violations = check(history)
        if violations:
            return Failure(seed, steps, violations, history)
    raise AssertionError(f"seed {seed} fails now and then: that is a fault of the simulation")


def counted(history: History) -> Counter[str]:
    """How often each thing happened."""
    tally = Counter(f"publish {attempt.outcome}" for attempt in history.attempts)
    tally["superseded"] = history.superseded
    tally["page"] = len(history.pages)
    for session in history.sessions:
        for event in session.events:
            match event:
                case Told():
                    if session.since is not None:
                        tally[f"recovered {event.recovered}"] += 1
                    tally["snapshot"] += event.keys is not None
                case Saw():
                    tally["saw" if event.id else "removal"] += 1
                case Narrowed():
                    tally["filter"] += 1
                case Cursor():
                    tally["cursor"] += 1
                case Ended():
                    tally[f"ended {event.code}"] += 1
    return tally
