from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cardume.mqtt.doors.wheel import Wheel


@given(
    st.lists(st.tuples(st.integers(0, 5), st.floats(0, 20)), max_size=30),
    st.lists(st.floats(0, 3), max_size=10),
)
def test_nothing_is_early_nothing_later_than_a_grain(
    entries: list[tuple[int, float]], steps: list[float]
) -> None:
    wheel: Wheel[int] = Wheel(0.5)
    due: dict[int, float] = {}
    for item, when in entries:
        wheel.set(item, when)
        due[item] = when
    now = 0.0
    for step in steps:
        now += step
        for item in wheel.expire(now):
            assert due.pop(item) <= now
        assert all(when > now - 0.5 - 1e-9 for when in due.values())
        assert len(wheel) == len(due)


def test_discarded_is_gone() -> None:
    wheel: Wheel[str] = Wheel(0.5)
    wheel.set("a", 1.0)
    wheel.discard("a")
    wheel.discard("b")
    assert wheel.expire(100.0) == []
    assert len(wheel) == 0
