"""Threshold rules: bounds, deadband, patience, and order of arrival."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardume.alerts.lifecycle import Severity
from cardume.alerts.rules import Direction, Outcome, OutcomeKind, Rule, RuleState, evaluate
from cardume.errors import Invalid

T0 = 1_795_000_000.0
RAISED, CHANGED, CLEARED = OutcomeKind
WARNING, CRITICAL = Severity.WARNING, Severity.CRITICAL
LOW, HIGH = Direction


def rule(**members: Any) -> Rule:
    return Rule(**{"id": 1, "metric": "temperature", **members})


TANK = rule(low=22, high=28, low_critical=18, high_critical=32, deadband=0.5)


def run(given_rule: Rule, *readings: tuple[float, float]) -> list[Outcome | None]:
    """Judge (seconds after T0, value) pairs, in the order of arrival."""
    state = RuleState()
    outcomes = []
    for after, value in readings:
        state, outcome = evaluate(given_rule, state, value, T0 + after)
        outcomes.append(outcome)
    return outcomes


def kinds(given_rule: Rule, *readings: tuple[float, float]) -> list[str | None]:
    return [
        None if outcome is None else outcome.kind.value for outcome in run(given_rule, *readings)
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (22, None),
        (28, None),
        (28.01, Outcome(RAISED, WARNING, 28, HIGH)),
        (32, Outcome(RAISED, WARNING, 28, HIGH)),
        (32.1, Outcome(RAISED, CRITICAL, 32, HIGH)),
        (21.9, Outcome(RAISED, WARNING, 22, LOW)),
        (-127, Outcome(RAISED, CRITICAL, 18, LOW)),
    ],
)
def test_bounds_are_inclusive(value: float, expected: Outcome | None) -> None:
    assert run(TANK, (0, value)) == [expected]


def test_one_bound_is_enough() -> None:
    assert run(rule(high_critical=32), (0, 33)) == [Outcome(RAISED, CRITICAL, 32, HIGH)]
    major = rule(low=22, severity=Severity.MAJOR)
    assert run(major, (0, 99), (1, 21)) == [None, Outcome(RAISED, Severity.MAJOR, 22, LOW)]


def test_it_clears_only_past_the_deadband() -> None:
    outcomes = run(TANK, (0, 28.1), (1, 27.9), (2, 27.6), (3, 27.5), (4, 27.9))
    cleared = Outcome(CLEARED, WARNING, 28, HIGH)
    assert outcomes == [Outcome(RAISED, WARNING, 28, HIGH), None, None, cleared, None]
    assert kinds(TANK, (0, 21.9), (1, 22.4), (2, 22.5)) == ["raised", None, "cleared"]


def test_severity_follows_with_the_same_deadband() -> None:
    outcomes = run(TANK, (0, 29), (1, 33), (2, 31.8), (3, 31.5), (4, 31.8), (5, 32.1))
    assert outcomes == [
        Outcome(RAISED, WARNING, 28, HIGH),
        Outcome(CHANGED, CRITICAL, 32, HIGH),
        None,
        Outcome(CHANGED, WARNING, 28, HIGH),
        None,
        Outcome(CHANGED, CRITICAL, 32, HIGH),
    ]


def test_a_critical_bound_alone_has_its_deadband_too() -> None:
    only = rule(high_critical=32, deadband=1)
    assert kinds(only, (0, 33), (1, 31.5), (2, 31)) == ["raised", None, "cleared"]


def test_from_too_hot_straight_to_too_cold() -> None:
    turned = run(TANK, (0, 29), (1, 21), (2, 22.2), (3, 22.5))
    assert turned[1] == Outcome(CHANGED, WARNING, 22, LOW, turned=True)
    assert turned[2:] == [None, Outcome(CLEARED, WARNING, 22, LOW)]


def test_for_seconds_waits() -> None:
    slow = rule(high=28, for_seconds=120)
    assert kinds(slow, (0, 29), (60, 29), (119.9, 30), (120, 29)) == [None, None, None, "raised"]
    assert kinds(slow, (0, 29), (60, 28), (120, 29), (239, 29)) == [None] * 4


def test_a_bouncing_probe_is_wrong_all_along() -> None:
    slow = rule(low=22, high=28, for_seconds=60)
    assert kinds(slow, (0, 99), (30, 0), (60, 99)) == [None, None, "raised"]


def test_clear_seconds_waits() -> None:
    slow = rule(high=28, clear_seconds=60)
    assert kinds(slow, (0, 29), (10, 27), (69.9, 27), (70, 27)) == ["raised", None, None, "cleared"]
    again = kinds(slow, (0, 29), (10, 27), (20, 29), (70, 27), (129, 27), (130, 27))
    assert again == ["raised", None, None, None, None, "cleared"]


def test_an_older_reading_changes_nothing() -> None:
    state, _ = evaluate(TANK, RuleState(), 25, T0)
    assert evaluate(TANK, state, 99, T0 - 1) == (state, None)
    assert kinds(TANK, (0, 29), (-1, 25), (0, 27.5)) == ["raised", None, "cleared"]


def test_a_disabled_rule_rests() -> None:
    off = rule(high=28, enabled=False)
    assert evaluate(off, RuleState(), 99, T0) == (RuleState(), None)
    assert not off.applies_to("temperature", None)


def test_which_readings_a_rule_judges() -> None:
    anywhere, sump = rule(high=28), rule(high=28, sensor="sump")
    assert anywhere.applies_to("temperature", "sump")
    assert anywhere.applies_to("temperature", None)
    assert not anywhere.applies_to("ph", None)
    assert sump.applies_to("temperature", "sump")
    assert not sump.applies_to("temperature", "display")


def test_an_edited_rule_clears_what_it_no_longer_forbids() -> None:
    state, _ = evaluate(rule(high=28), RuleState(), 29, T0)
    state, outcome = evaluate(rule(low=22), state, 29, T0 + 1)
    assert outcome is not None
    assert (outcome.kind, state.severity) == (CLEARED, None)


def test_only_what_moved_is_worth_storing() -> None:
    quiet = RuleState(last_at=T0)
    later, _ = evaluate(TANK, quiet, 25, T0 + 1)
    assert not later.worth_storing(quiet)
    raised, _ = evaluate(TANK, later, 29, T0 + 2)
    assert raised.worth_storing(later)


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"low": 28, "high": 22},
        {"low": 22, "high": 22},
        {"low": 22, "low_critical": 23},
        {"high": 28, "high_critical": 28},
        {"low_critical": 5, "high_critical": 4},
        {"low": 22, "high_critical": 21},
        {"high": float("nan")},
        {"high": float("inf")},
        {"high": 28, "deadband": -1},
        {"high": 28, "deadband": float("nan")},
        {"low": 22, "high": 28, "deadband": 6},
        {"high": 28, "for_seconds": -1},
        {"high": 28, "clear_seconds": 1e9},
        {"high": 28, "severity": "info"},
        {"high": 28, "severity": "loud"},
    ],
)
def test_a_rule_that_makes_no_sense_is_invalid(members: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        rule(**members)


_values = st.sampled_from(
    [-127.0, 17.9, 18.4, 21.9, 22.0, 22.4, 25.0, 27.6, 28.1, 31.6, 32.1, 99.0]
)
_readings = st.lists(st.tuples(st.sampled_from([0, 10, 30, 60, 200]), _values), max_size=40)
_rules = st.builds(
    rule,
    low=st.just(22),
    high=st.just(28),
    low_critical=st.sampled_from([None, 18]),
    high_critical=st.sampled_from([None, 32]),
    deadband=st.sampled_from([0, 0.5, 2]),
    for_seconds=st.sampled_from([0, 60]),
    clear_seconds=st.sampled_from([0, 60]),
)


@given(_rules, _readings)
def test_no_outcome_twice(given_rule: Rule, gaps: list[tuple[float, float]]) -> None:
    """Raised and cleared alternate, and every change in between is one."""
    times = itertools.accumulate(gap for gap, _ in gaps)
    outcomes = run(given_rule, *zip(times, (value for _, value in gaps), strict=True))
    known: tuple[Severity, Direction] | None = None
    for outcome, (_, value) in zip(outcomes, gaps, strict=True):
        if outcome is None:
            assert known is None or given_rule.clear_seconds or value != 25.0
            continue
        said = (outcome.severity, outcome.direction)
        if outcome.kind is RAISED:
            assert known is None
        else:
            assert known is not None
            assert (said == known) == (outcome.kind is CLEARED)
        assert outcome.kind is not CLEARED or 22 <= value <= 28
        known = None if outcome.kind is CLEARED else said
