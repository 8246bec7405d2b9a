"""The checker itself: silent about good histories, and no lie gets past it."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from tests.simulation.campaign import Failure
from tests.simulation.checker import INVARIANTS, check
from tests.simulation.history import History
from tests.simulation.mutators import MUTATORS, Mutator, copy_of
from tests.simulation.run import simulate

SEEDS = range(1_000_000, 1_000_100)
ENOUGH = 20
"""Histories that each lie is told about."""


@pytest.fixture(scope="module")
def histories() -> list[History]:
    async def all_of_them() -> list[History]:
        return [await simulate(seed) for seed in SEEDS]

    return asyncio.run(all_of_them())


def test_nothing_is_wrong_with_a_good_history(histories: list[History]) -> None:
    for history in histories:
        assert check(history) == []
        assert check(copy_of(history)) == []


@pytest.mark.parametrize("mutator", MUTATORS, ids=lambda mutator: mutator.name)
def test_every_lie_is_caught_by_the_invariant_that_forbids_it(
    histories: list[History], mutator: Mutator
) -> None:
    told = 0
    for number, history in enumerate(histories):
        mutant = copy_of(history)
        if not mutator.lie(mutant, Random(number)):
            continue
        told += 1
        caught = {violation.invariant for violation in check(mutant)}
        assert mutator.invariant in caught, f"seed {SEEDS[number]}: {mutator.name}, only {caught}"
        if told == ENOUGH:
            return
    pytest.fail(f"only {told} histories gave an occasion to {mutator.name}")


def test_every_invariant_has_a_lie_that_it_alone_may_catch() -> None:
    assert {mutator.invariant for mutator in MUTATORS} == INVARIANTS.keys() - {"I0"}


def test_what_the_run_itself_noticed_counts(histories: list[History]) -> None:
    history = copy_of(histories[0])
    history.faults.append("left behind: a connection")
    assert [str(violation) for violation in check(history)] == ["I0: left behind: a connection"]


def test_a_failure_is_told_with_its_seed_and_what_led_to_it(histories: list[History]) -> None:
    drop = MUTATORS[0]
    mutant = next(copy for h in histories if drop.lie(copy := copy_of(h), Random(1)))
    text = str(Failure(7, 40, check(mutant), mutant))
    assert text.startswith("seed 7, 40 steps:\n  I2: ")
    assert "publish message" in text
    assert len(text.splitlines()) < 60
