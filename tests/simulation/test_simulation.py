"""Two thousand runs of a hub under every fault we can think of: no promise is broken in any."""

from __future__ import annotations

from collections import Counter

import pytest

from cardume.engines.base import Replay, Retention
from cardume.wire.messages import Position, Publication
from tests.simulation.campaign import NEEDED, failures
from tests.simulation.checker import check
from tests.simulation.engine import FaultyEngine
from tests.simulation.run import simulate
from tests.simulation.transcript import transcript

SEEDS = 2000
CHUNK = 400
"""Of them in one test: enough to come to everything, and soon over on a busy machine."""

FOUND = (501, 5688, 6653)
"""Seeds that broke a promise once: whoever waited for its channel's delivery to catch up with what
it had read was not seen by the position check."""


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
async def test_no_promise_is_broken(first: int) -> None:
    tally: Counter[str] = Counter()
    failed = [str(failure) async for failure in failures(range(first, first + CHUNK), tally)]
    assert not failed, "\n\n".join(failed[:3])
    missing = [name for name in NEEDED if not tally[name]]
    assert not missing, f"no proof: it never came to {missing}"


@pytest.mark.parametrize("seed", FOUND)
async def test_whoever_waits_is_not_forgotten(seed: int) -> None:
    assert [str(violation) for violation in check(await simulate(seed))] == []


async def test_a_seed_is_one_history() -> None:
    for seed in range(5):
        first, second = [transcript(await simulate(seed)) for _ in range(2)]
        # Which of two equals the hub tells first is not decided, and makes no difference.
        assert sorted(line[5:] for line in first) == sorted(line[5:] for line in second)
        assert len(first) > 100


class Partial(FaultyEngine):
    """Leaves out the first of what was missed."""

    async def replay(
        self, channel: str, since: Position | None, retention: Retention, limit: int
    ) -> Replay:
        whole = await super().replay(channel, since, retention, limit)
        missed = whole.publications
        return Replay(whole.top, missed[1:] if missed else missed)


class Lazy(FaultyEngine):
    """Never knows what was missed."""

    async def replay(
        self, channel: str, since: Position | None, retention: Retention, limit: int
    ) -> Replay:
        return Replay((await super().replay(channel, since, retention, limit)).top, None)


class Forgetful(FaultyEngine):
    """Takes a repetition for something new."""

    async def publish(
        self,
        channel: str,
        publication: Publication,
        retention: Retention | None,
        idempotency_key: str | None = None,
    ) -> Position:
        return await super().publish(channel, publication, retention)


class Backwards(FaultyEngine):
    """Answers with an earlier position than the one it gave."""

    async def publish(
        self,
        channel: str,
        publication: Publication,
        retention: Retention | None,
        idempotency_key: str | None = None,
    ) -> Position:
        given = await super().publish(channel, publication, retention, idempotency_key)
        return Position(given.epoch, max(1, given.offset - 1)) if given else given


@pytest.mark.parametrize(
    ("engine", "invariant"),
    [(Partial, "I3"), (Lazy, "I10"), (Forgetful, "I9"), (Backwards, "I1")],
)
async def test_an_engine_that_lies_is_found_out(engine: type[FaultyEngine], invariant: str) -> None:
    caught: set[str] = set()
    for seed in range(60):
        caught |= {violation.invariant for violation in check(await simulate(seed, engine=engine))}
        if invariant in caught:
            return
    pytest.fail(f"only {caught}")
