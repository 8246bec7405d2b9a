"""Leases against a model, and their memory under churn."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cardume.hub.leases import Leases

KEYS = st.sampled_from("abcdef")


class LeasesMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.leases: Leases[str] = Leases()
        self.model: dict[str, float] = {}
        self.now = 0.0

    @rule(key=KEYS, delay=st.integers(-3, 20))
    def touch(self, key: str, delay: int) -> None:
        self.leases.touch(key, self.now + delay)
        self.model[key] = self.now + delay

    @rule(key=KEYS)
    def drop(self, key: str) -> None:
        self.leases.drop(key)
        self.model.pop(key, None)

    @rule(seconds=st.integers(0, 8))
    def expire(self, seconds: int) -> None:
        self.now += seconds
        due = self.leases.expire(self.now)
        assert sorted(due) == sorted(k for k, until in self.model.items() if until <= self.now)
        assert [self.model[key] for key in due] == sorted(self.model[key] for key in due)
        for key in due:
            del self.model[key]

    @invariant()
    def it_wakes_in_time(self) -> None:
        assert len(self.leases) == len(self.model)
        assert all(key in self.leases for key in self.model)
        wake = self.leases.next_deadline()
        assert (wake is None) == (not self.model)
        assert wake is None or wake <= min(self.model.values())


TestLeasesAgainstModel = LeasesMachine.TestCase
TestLeasesAgainstModel.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)


def test_those_that_end_first_come_first() -> None:
    leases: Leases[str] = Leases()
    for key, deadline in (("c", 3.0), ("a", 1.0), ("b", 2.0)):
        leases.touch(key, deadline)
    assert leases.expire(5.0) == ["a", "b", "c"]


def test_keys_need_no_order() -> None:
    leases: Leases[object] = Leases()
    for _ in range(3):
        leases.touch(object(), 1.0)
    assert len(leases.expire(1.0)) == 3


def test_keys_that_come_and_go_leave_nothing_behind() -> None:
    """A connection with a day's token that stays for a second is no reason to grow for a day."""
    leases: Leases[int] = Leases()
    for connection in range(20_000):
        leases.touch(connection, 86_400.0 + connection)
        leases.drop(connection)
    assert held_entries(leases) < 200
    leases.touch(-1, 5.0)
    assert leases.expire(5.0) == [-1]


def test_a_key_touched_often_is_held_once() -> None:
    leases: Leases[str] = Leases()
    for tick in range(10_000):
        leases.touch("device", tick + 300.0)
        leases.touch("token", 20_000.0 - tick)
    assert held_entries(leases) < 200
    assert leases.expire(20_000.0) == ["token", "device"], "by deadline, not by first touch"


def held_entries(leases: Leases[Any]) -> int:
    """Everything it holds, however it holds it."""
    return sum(len(value) for value in vars(leases).values() if isinstance(value, list | dict))
