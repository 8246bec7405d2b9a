"""How often is too often."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cardume.hub.limits import Strikes, TokenBucket


def test_a_burst_and_then_the_rate() -> None:
    bucket = TokenBucket(rate=1, burst=3, now=0.0)
    assert [bucket.take(0.0) for _ in range(4)] == [True, True, True, False]
    assert [bucket.take(1.0), bucket.take(1.0)] == [True, False]
    assert [bucket.take(100.0) for _ in range(4)] == [True, True, True, False]


def test_no_rate_is_no_limit() -> None:
    bucket = TokenBucket(rate=0, burst=0, now=0.0)
    assert all(bucket.take(0.0) for _ in range(1000))


@given(st.lists(st.floats(0, 3), max_size=200))
def test_never_more_than_burst_and_rate(waits: list[float]) -> None:
    bucket = TokenBucket(rate=2, burst=5, now=0.0)
    now = 0.0
    taken = 0
    for wait in waits:
        now += wait
        taken += bucket.take(now)
        assert taken <= 5 + 2 * now + 1e-6


def test_strikes_within_the_window() -> None:
    strikes = Strikes(allowed=2, window=60)
    assert [strikes.add(now) for now in (0.0, 1.0, 2.0)] == [False, False, True]


def test_strikes_age() -> None:
    strikes = Strikes(allowed=2, window=60)
    assert [strikes.add(now) for now in (0.0, 30.0, 60.0, 61.0)] == [False, False, False, True]


@given(st.lists(st.floats(0, 40), max_size=100))
def test_strikes_against_a_list(waits: list[float]) -> None:
    strikes = Strikes(allowed=3, window=60)
    now = 0.0
    times: list[float] = []
    for wait in waits:
        now += wait
        times.append(now)
        assert strikes.add(now) == (sum(time > now - 60 for time in times) > 3)
