"""The life of an alert: every move, every refusal, and that nothing is announced twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cardume.alerts.lifecycle import (
    MOVES,
    REOPEN_WITHIN,
    Action,
    Alert,
    AlertKind,
    AlertState,
    ClearReason,
    Move,
    Severity,
    acknowledge,
    clear,
    clear_later,
    dedupe_key,
    escalate,
    may_reopen,
    raise_,
    reopen,
    repeat,
    shelve,
)
from cardume.errors import Refused
from cardume.wire import codes

T0 = 1_795_000_000.0


def hot(severity: Severity = Severity.WARNING, **members: Any) -> Alert:
    alert, _ = raise_(
        kind=AlertKind.THRESHOLD,
        severity=severity,
        dedupe_key="k",
        aquarium_id=7,
        title="too hot",
        message="29 > 28",
        at=T0,
        **{"metric": "temperature", "value": 29.0, "threshold": 28.0, **members},
    )
    return alert


def acked(alert: Alert) -> Alert:
    return acknowledge(alert, by="ana", at=T0 + 5, note="on my way")[0]


def cleared(alert: Alert, at: float = T0 + 100) -> Alert:
    return clear(alert, at=at)[0]


def test_raised() -> None:
    alert = hot()
    assert (alert.state, alert.version, alert.occurrences) == (AlertState.ACTIVE_UNACK, 1, 1)
    assert (alert.started_at, alert.last_occurred_at, alert.peak_value) == (T0, T0, 29.0)
    assert alert.is_open


def test_news_is_born_closed() -> None:
    news, action = raise_(
        kind=AlertKind.DEVICE_ONLINE,
        severity=Severity.INFO,
        dedupe_key="k",
        aquarium_id=7,
        title="online",
        message="t1 is back",
        at=T0,
        device_id="t1",
    )
    assert action is Action.INFO
    assert (news.state, news.cleared_at, news.acked_by) == (AlertState.CLEARED_ACK, T0, None)
    assert acknowledge(news, by="ana", at=T0) == (news, None)
    with pytest.raises(Refused):
        reopen(news, at=T0 + 1)


def test_still_so_is_counted_not_announced() -> None:
    alert, action = repeat(hot(), at=T0 + 60, value=31.0)
    alert, again = repeat(alert, at=T0 + 50, value=30.0)
    assert (action, again) == (None, None)
    assert (alert.occurrences, alert.value, alert.peak_value) == (3, 30.0, 31.0)
    assert (alert.last_occurred_at, alert.version) == (T0 + 60, 1)


def test_the_peak_of_a_low_alert_is_the_lowest() -> None:
    cold = hot(value=20.0, threshold=22.0)
    assert repeat(cold, at=T0, value=18.0)[0].peak_value == 18.0
    assert repeat(cold, at=T0, value=21.0)[0].peak_value == 20.0


def test_worse_asks_for_a_new_acknowledgement() -> None:
    alert, action = escalate(acked(hot()), Severity.CRITICAL, at=T0 + 9, value=33.0, threshold=32.0)
    assert action is Action.SEVERITY_CHANGED
    assert (alert.state, alert.acked_by, alert.ack_note) == (AlertState.ACTIVE_UNACK, None, None)
    assert (alert.severity, alert.threshold, alert.peak_value) == (Severity.CRITICAL, 32.0, 33.0)


def test_milder_keeps_the_acknowledgement() -> None:
    alert, action = escalate(acked(hot(Severity.CRITICAL)), Severity.MINOR, at=T0 + 9)
    assert action is Action.SEVERITY_CHANGED
    assert (alert.state, alert.acked_by) == (AlertState.ACTIVE_ACK, "ana")


def test_the_same_severity_is_a_repetition() -> None:
    alert, action = escalate(hot(), Severity.WARNING, at=T0 + 9)
    assert (action, alert.occurrences, alert.version) == (None, 2, 1)


def test_the_opposite_side_is_new_trouble() -> None:
    alert, action = escalate(
        acked(hot()), Severity.WARNING, at=T0 + 9, value=20.0, threshold=22.0, turned=True
    )
    assert action is Action.SEVERITY_CHANGED
    assert (alert.state, alert.peak_value) == (AlertState.ACTIVE_UNACK, 20.0)


@pytest.mark.parametrize("ack_first", [True, False])
def test_cleared(ack_first: bool) -> None:
    alert, action = clear(acked(hot()) if ack_first else hot(), at=T0 + 100)
    assert action is Action.CLEARED
    assert alert.state is (AlertState.CLEARED_ACK if ack_first else AlertState.CLEARED_UNACK)
    assert (alert.cleared_at, alert.clear_reason, alert.is_open) == (T0 + 100, "auto", False)


def test_an_acknowledgement_is_announced_once() -> None:
    alert, action = acknowledge(hot(), by="ana", at=T0 + 5, note="n")
    assert (action, alert.state, alert.version) == (Action.ACK, AlertState.ACTIVE_ACK, 2)
    assert acknowledge(alert, by="rui", at=T0 + 6, note="me too") == (alert, None)
    late, action = acknowledge(cleared(hot()), by="ana", at=T0 + 200)
    assert (action, late.state) == (Action.ACK, AlertState.CLEARED_ACK)
    assert acknowledge(late, by="rui", at=T0 + 201) == (late, None)


def test_a_pending_clear_is_withdrawn_by_the_trouble() -> None:
    waiting, action = clear_later(acked(hot()), clear_after=T0 + 60)
    assert (action, waiting.clear_after, waiting.state) == (None, T0 + 60, AlertState.ACTIVE_ACK)
    assert clear_later(waiting, clear_after=T0 + 99) == (waiting, None)
    back, action = reopen(waiting, at=T0 + 30)
    assert (action, back.clear_after, back.occurrences) == (Action.REOPENED, None, 2)
    assert (back.state, back.acked_by) == (AlertState.ACTIVE_ACK, "ana")
    assert repeat(waiting, at=T0 + 30) == (back, action)
    worse, _ = reopen(waiting, at=T0 + 30, severity=Severity.CRITICAL)
    assert (worse.state, worse.acked_by) == (AlertState.ACTIVE_UNACK, None)
    assert clear(waiting, at=T0 + 60)[0].clear_after is None


@pytest.mark.parametrize("ack_first", [True, False])
def test_the_same_trouble_soon_after_is_the_same_alert(ack_first: bool) -> None:
    alert = cleared(acked(hot()) if ack_first else hot())
    assert may_reopen(alert, T0 + 100 + REOPEN_WITHIN)
    back, action = reopen(alert, at=T0 + 200, value=35.0)
    assert action is Action.REOPENED
    assert (back.state, back.acked_by) == (AlertState.ACTIVE_UNACK, None)
    assert (back.cleared_at, back.clear_reason, back.occurrences) == (None, None, 2)
    assert (back.started_at, back.peak_value) == (T0, 35.0)


def test_later_it_is_another_alert() -> None:
    alert = cleared(hot())
    assert not may_reopen(alert, T0 + 101 + REOPEN_WITHIN)
    with pytest.raises(Refused) as refused:
        reopen(alert, at=T0 + 101 + REOPEN_WITHIN)
    assert refused.value.code is codes.CONFLICT
    assert refused.value.extra["legal"] == ["acknowledge"]


def test_shelved() -> None:
    alert, action = shelve(hot(), until=T0 + 3600, reason="water change", at=T0)
    assert (action, alert.state, alert.version) == (None, AlertState.ACTIVE_UNACK, 2)
    assert alert.is_shelved(T0 + 3599)
    assert not alert.is_shelved(T0 + 3600)
    with pytest.raises(Refused) as refused:
        shelve(hot(), until=T0, reason="past", at=T0)
    assert refused.value.code is codes.INVALID_FIELDS


def test_a_deleted_rule_clears_its_alerts() -> None:
    assert clear(hot(), at=T0, reason=ClearReason.RULE_DELETED)[0].clear_reason == "rule_deleted"


def test_illegal_moves_name_the_legal_ones() -> None:
    over = cleared(hot())
    moves: list[Callable[[], object]] = [
        lambda: repeat(over, at=T0),
        lambda: escalate(over, Severity.CRITICAL, at=T0),
        lambda: clear(over, at=T0),
        lambda: clear_later(over, clear_after=T0),
        lambda: shelve(over, until=T0 + 1, reason="r", at=T0),
    ]
    for refused_move in moves:
        with pytest.raises(Refused, match="it may: acknowledge, reopen") as refused:
            refused_move()
        assert refused.value.code is codes.CONFLICT
    with pytest.raises(Refused, match="it may: acknowledge, clear"):
        reopen(hot(), at=T0)


def test_the_table_knows_every_state_and_only_moves_it_can_reach() -> None:
    assert set(MOVES) == set(AlertState)
    assert {move for moves in MOVES.values() for move in moves} == set(Move)


def test_keys_tell_troubles_apart() -> None:
    keys = {
        dedupe_key(AlertKind.DEVICE_OFFLINE, 7, device_id="a"),
        dedupe_key(AlertKind.DEVICE_OFFLINE, 7, device_id="b"),
        dedupe_key(AlertKind.DEVICE_OFFLINE, 8, device_id="a"),
        dedupe_key(AlertKind.THRESHOLD, 7, device_id="a", rule_id=0),
        dedupe_key(AlertKind.THRESHOLD, 7, device_id="a"),
        dedupe_key(AlertKind.THRESHOLD, 7, rule_id=0, sensor="a"),
        dedupe_key(AlertKind.THRESHOLD, 7, sensor="0:a"),
    }
    assert len(keys) == 7


class LifeOfAnAlert(RuleBasedStateMachine):
    """Any moves in any order: the facts stay consistent and each announcement is a news item."""

    def __init__(self) -> None:
        super().__init__()
        self.alert = hot()
        self.now = T0

    def take(self, change: tuple[Alert, Action | None]) -> None:
        before, (self.alert, action) = self.alert, change
        if action is None:
            # Unannounced moves leave alone what clients were told.
            told = ("severity", "cleared_at", "acked_at", "acked_by")
            assert [getattr(self.alert, k) for k in told] == [getattr(before, k) for k in told]
            assert self.alert.state is before.state
            return
        assert self.alert.version == before.version + 1
        assert (action is Action.CLEARED) == (before.is_open and not self.alert.is_open)
        if action is Action.ACK:
            assert before.acked_at is None
        if action is Action.REOPENED:
            assert before.clear_after is not None or not before.is_open

    @rule(seconds=st.sampled_from([1.0, 60.0, REOPEN_WITHIN, REOPEN_WITHIN + 1]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(by=st.sampled_from(["ana", "rui"]))
    def acknowledge(self, by: str) -> None:
        self.take(acknowledge(self.alert, by=by, at=self.now))
        assert acknowledge(self.alert, by="again", at=self.now + 1) == (self.alert, None)

    @precondition(lambda self: self.alert.is_open)
    @rule(value=st.sampled_from([29.0, 33.0]))
    def repeat(self, value: float) -> None:
        self.take(repeat(self.alert, at=self.now, value=value))
        assert self.alert.clear_after is None

    @precondition(lambda self: self.alert.is_open)
    @rule(
        severity=st.sampled_from([s for s in Severity if s is not Severity.INFO]),
        turned=st.booleans(),
    )
    def escalate(self, severity: Severity, turned: bool) -> None:
        worse = turned or severity.rank > self.alert.severity.rank
        self.take(escalate(self.alert, severity, at=self.now, value=29.0, turned=turned))
        assert not (worse and self.alert.acked_at)

    @precondition(lambda self: self.alert.is_open)
    @rule()
    def clear_later(self) -> None:
        self.take(clear_later(self.alert, clear_after=self.now + 60))

    @precondition(lambda self: self.alert.is_open)
    @rule()
    def clear(self) -> None:
        self.take(clear(self.alert, at=self.now))

    @precondition(lambda self: self.alert.is_open)
    @rule()
    def shelve(self) -> None:
        self.take(shelve(self.alert, until=self.now + 60, reason="r", at=self.now))

    @rule(severity=st.sampled_from([None, Severity.WARNING, Severity.CRITICAL]))
    def reopen(self, severity: Severity | None) -> None:
        if may_reopen(self.alert, self.now):
            self.take(reopen(self.alert, at=self.now, severity=severity))
            assert self.alert.is_open
        else:
            with pytest.raises(Refused):
                reopen(self.alert, at=self.now, severity=severity)

    @invariant()
    def the_state_says_what_the_facts_say(self) -> None:
        opened = "active" if self.alert.is_open else "cleared"
        known = "unack" if self.alert.acked_at is None else "ack"
        assert self.alert.state == f"{opened}_{known}"
        assert (self.alert.clear_reason is None) == self.alert.is_open
        assert self.alert.is_open or self.alert.clear_after is None


LifeOfAnAlert.TestCase.settings = settings(max_examples=50, stateful_step_count=30)
TestLifeOfAnAlert = LifeOfAnAlert.TestCase
