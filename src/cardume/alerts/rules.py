"""Threshold rules: a reading against its limits, with a deadband and with patience.

Bounds are inclusive: 28.0 is within ``high=28``. An alert that was raised ends only past the
deadband, so noise on the line does not ring twice. Durations are counted in reading times; a
reading older than the last one judged changes nothing. NaN never reaches here.
"""

from __future__ import annotations

import math
from enum import StrEnum, auto
from itertools import pairwise
from typing import Final

import msgspec

from cardume.alerts.lifecycle import Severity
from cardume.errors import Invalid

MAX_WAIT: Final = 7 * 86_400.0
_SEVERITIES: Final = frozenset(Severity) - {Severity.INFO}


class Direction(StrEnum):
    LOW = auto()
    HIGH = auto()


class OutcomeKind(StrEnum):
    RAISED = auto()
    SEVERITY_CHANGED = auto()
    CLEARED = auto()


class Rule(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What is wrong with a metric, and since when it is worth saying.

    Raises:
        Invalid: upon construction, with a message for the person who wrote the rule.
    """

    id: int
    metric: str
    sensor: str | None = None
    """One sensor only; None: each sensor of the metric, judged by itself."""
    low: float | None = None
    high: float | None = None
    low_critical: float | None = None
    high_critical: float | None = None
    severity: Severity = Severity.WARNING
    deadband: float = 0.0
    for_seconds: float = 0.0
    """How long it must be wrong before it is raised."""
    clear_seconds: float = 0.0
    """How long it must be right again before it is cleared."""
    enabled: bool = True

    def __post_init__(self) -> None:
        bounds = [
            b for b in (self.low_critical, self.low, self.high, self.high_critical) if b is not None
        ]
        if not bounds:
            raise Invalid("a rule needs at least one bound")
        durations = (self.for_seconds, self.clear_seconds)
        if not all(math.isfinite(number) for number in (*bounds, self.deadband, *durations)):
            raise Invalid("bounds, deadband and durations are finite numbers")
        if any(a >= b for a, b in pairwise(bounds)):
            raise Invalid("bounds must rise: low_critical < low < high < high_critical")
        if not all(0 <= seconds <= MAX_WAIT for seconds in durations):
            raise Invalid("for_seconds and clear_seconds are between 0 and 7 days")
        if self.severity not in _SEVERITIES:
            raise Invalid("severity is one of warning, minor, major, critical")
        if self.deadband < 0:
            raise Invalid("deadband must not be negative")
        low, high = self.bound(Direction.LOW), self.bound(Direction.HIGH)
        # Else no value would be far enough from both bounds to clear an alert.
        if low is not None and high is not None and self.deadband >= high - low:
            raise Invalid("deadband must be narrower than the band between the bounds")

    def applies_to(self, metric: str, sensor: str | None) -> bool:
        return self.enabled and metric == self.metric and self.sensor in (None, sensor)

    def bound(self, direction: Direction) -> float | None:
        """The inner bound on one side: where wrong begins."""
        if direction == Direction.LOW:
            return self.low if self.low is not None else self.low_critical
        return self.high if self.high is not None else self.high_critical


class RuleState(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What one rule remembers of one source; the default is that of a source never judged."""

    pending_since: float | None = None
    clearing_since: float | None = None
    severity: Severity | None = None
    """Of the alert that is raised; None: none is."""
    direction: Direction | None = None
    last_at: float | None = None

    def worth_storing(self, before: RuleState) -> bool:
        """Whether more than `last_at` moved: that alone need not be written per reading."""
        return msgspec.structs.replace(self, last_at=before.last_at) != before


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What a reading did to the alert of its rule and source."""

    kind: OutcomeKind
    severity: Severity
    threshold: float
    """The bound that was crossed; when cleared, the one that is no longer crossed."""
    direction: Direction
    turned: bool = False
    """From too low straight to too high, or back: a new trouble under the same alert."""


def evaluate(
    rule: Rule, state: RuleState, value: float, at: float
) -> tuple[RuleState, Outcome | None]:
    """Judge `value`, measured at `at` (epoch seconds).

    Give the earlier of measured and received time: a reading dated a few minutes ahead would hold
    back those that follow it.
    """
    if not rule.enabled or (state.last_at is not None and at < state.last_at):
        return state, None
    state = msgspec.structs.replace(state, last_at=at)
    if state.severity is None or state.direction is None:
        return _while_quiet(rule, state, value, at)
    return _while_raised(rule, state, state.severity, state.direction, value, at)


def _while_quiet(
    rule: Rule, state: RuleState, value: float, at: float
) -> tuple[RuleState, Outcome | None]:
    wrong = _judge(rule, value)
    if wrong is None:
        return RuleState(last_at=at), None
    since = at if state.pending_since is None else state.pending_since
    if at - since < rule.for_seconds:
        return RuleState(pending_since=since, last_at=at), None
    severity, direction, threshold = wrong
    raised = RuleState(severity=severity, direction=direction, last_at=at)
    return raised, Outcome(OutcomeKind.RAISED, severity, threshold, direction)


def _while_raised(
    rule: Rule, state: RuleState, severity: Severity, direction: Direction, value: float, at: float
) -> tuple[RuleState, Outcome | None]:
    wrong = _judge(rule, value, raised=(severity, direction))
    if wrong is not None:
        now_severity, now_direction, threshold = wrong
        worse = RuleState(severity=now_severity, direction=now_direction, last_at=at)
        turned = now_direction != direction
        if now_severity == severity and not turned:
            return worse, None
        kind = OutcomeKind.SEVERITY_CHANGED
        return worse, Outcome(kind, now_severity, threshold, now_direction, turned)
    since = at if state.clearing_since is None else state.clearing_since
    if at - since < rule.clear_seconds:
        return msgspec.structs.replace(state, clearing_since=since), None
    bound = rule.bound(direction)
    # The bound may have been edited away while the alert was open.
    threshold = value if bound is None else bound
    return RuleState(last_at=at), Outcome(OutcomeKind.CLEARED, severity, threshold, direction)


def _judge(
    rule: Rule, value: float, raised: tuple[Severity, Direction] | None = None
) -> tuple[Severity, Direction, float] | None:
    """How wrong a value is, on which side, and past which bound; None when it is right.

    On the side where an alert is raised the bounds lie a deadband further in, the critical one
    only while the alert is critical.
    """
    for direction, outer, inner in (
        (Direction.LOW, rule.low_critical, rule.low),
        (Direction.HIGH, rule.high_critical, rule.high),
    ):
        same_side = raised is not None and raised[1] == direction
        slack = rule.deadband if same_side else 0.0
        critical = raised is not None and raised[0] == Severity.CRITICAL
        outer_slack = slack if critical or inner is None else 0.0
        if outer is not None and _past(direction, value, outer, outer_slack):
            return Severity.CRITICAL, direction, outer
        if inner is not None and _past(direction, value, inner, slack):
            return rule.severity, direction, inner
    return None


def _past(direction: Direction, value: float, bound: float, slack: float) -> bool:
    if direction == Direction.LOW:
        return value < bound + slack
    return value > bound - slack
