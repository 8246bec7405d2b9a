"""The wheel of heartbeats against a plain list of who is due when."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from cardume.hub.pulse import SLOTS, Pulse, around
from cardume.testing import FakeClock


class Heart:
    """Beats every `waits[n]` seconds, the last of which is 0 or for ever the same."""

    def __init__(self, clock: FakeClock, *waits: int) -> None:
        self.slot = 0
        self.beats: list[float] = []
        self._clock = clock
        self._waits = list(waits)

    def beat(self) -> int:
        self.beats.append(self._clock.monotonic())
        return self._waits.pop(0) if len(self._waits) > 1 else self._waits[0]


async def test_a_heart_beats_when_it_said() -> None:
    clock = FakeClock()
    pulse: Pulse[Heart] = Pulse(clock)
    heart = Heart(clock, 8, 25, 0)
    pulse.add(heart, 3)
    await clock.advance(100)
    assert heart.beats == [3, 11, 36]
    assert len(pulse) == 0


async def test_nothing_ticks_where_nothing_beats() -> None:
    clock = FakeClock()
    pulse: Pulse[Heart] = Pulse(clock)
    heart = Heart(clock, 1)
    pulse.add(heart, 1)
    await clock.advance(5)
    pulse.discard(heart)
    await clock.advance(5)
    assert pulse._timer is None
    assert len(heart.beats) == 5


async def test_a_wait_beyond_the_wheel_is_one_turn_of_it() -> None:
    clock = FakeClock()
    pulse: Pulse[Heart] = Pulse(clock)
    heart = Heart(clock, 0)
    pulse.add(heart, 10 * SLOTS)
    await clock.advance(SLOTS - 2)
    assert heart.beats == []
    await clock.advance(1)
    assert heart.beats == [SLOTS - 1]


async def test_one_that_is_taken_off_in_another_s_beat_does_not_beat() -> None:
    clock = FakeClock()
    pulse: Pulse[Heart] = Pulse(clock)

    class Fatal(Heart):
        other: Fatal

        def beat(self) -> int:
            pulse.discard(self.other)
            return super().beat()

    one, two = Fatal(clock, 1), Fatal(clock, 1)
    one.other, two.other = two, one
    pulse.add(one, 1)
    pulse.add(two, 1)
    await clock.advance(3)
    assert sorted([len(one.beats), len(two.beats)]) == [0, 3]
    assert len(pulse) == 1


async def test_a_beat_that_fails_stops_no_other() -> None:
    clock = FakeClock()
    pulse: Pulse[Heart] = Pulse(clock)

    class Broken(Heart):
        def beat(self) -> int:
            raise OSError("broken")

    whole = [Heart(clock, 1) for _ in range(5)]
    for heart in (*whole, *(Broken(clock, 1) for _ in range(5))):
        pulse.add(heart, 1)
    await clock.advance(3)
    assert [len(heart.beats) for heart in whole] == [3] * 5
    assert len(pulse) == 5


Step = tuple[str, int, int]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["add", "discard", "wait"]), st.integers(0, 5), st.integers(1, 31)
        ),
        max_size=40,
    )
)
def test_everybody_beats_when_it_is_due(steps: list[Step]) -> None:
    asyncio.run(_play(steps))


async def _play(steps: list[Step]) -> None:
    clock = FakeClock()
    pulse: Pulse[Heart] = Pulse(clock)
    hearts: dict[int, tuple[Heart, float]] = {}
    for what, who, seconds in steps:
        if what == "add" and who not in hearts:
            hearts[who] = (Heart(clock, seconds), clock.monotonic() + seconds)
            pulse.add(hearts[who][0], seconds)
        elif what == "discard" and who in hearts:
            heart, first = hearts.pop(who)
            pulse.discard(heart)
            _check(heart, first, clock.monotonic())
        elif what == "wait":
            await clock.advance(seconds)
        assert len(pulse) == len(hearts)
    for heart, first in hearts.values():
        _check(heart, first, clock.monotonic())


def _check(heart: Heart, first: float, now: float) -> None:
    wait = heart._waits[0]
    due = [first + n * wait for n in range(100) if first + n * wait <= now]
    assert heart.beats == due


def test_around_stays_within_its_share() -> None:
    drawn = {around(25) for _ in range(500)}
    assert drawn <= set(range(22, 29))
    assert len(drawn) > 3
