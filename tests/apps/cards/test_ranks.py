"""Keys between keys."""

from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st

from cardume.apps.cards.ranks import DIGITS, HEAD, MAX_LENGTH, between, spread


def key(before: str | None, after: str | None) -> str:
    made = between(before, after)
    assert made is not None
    return made


def test_digits_sort_as_their_values_do() -> None:
    assert list(DIGITS) == sorted(set(DIGITS))
    assert len(DIGITS) == 62


@given(st.lists(st.integers(0, 2**30), max_size=300))
def test_a_key_is_strictly_between_its_neighbours_wherever_it_is_put(places: list[int]) -> None:
    order: list[str] = []
    for place in places:
        at = place % (len(order) + 1)
        made = key(order[at - 1] if at else None, order[at] if at < len(order) else None)
        order.insert(at, made)
        assert HEAD <= len(made) <= HEAD + len(order) / 5 + 1
        assert made.strip(DIGITS) == ""
    assert order == sorted(set(order))


@given(
    st.sampled_from(
        [
            ("Uzzzzz", "V00000"),
            ("Uzzzzz", "Uzzzzz1"),
            ("Uzzzzzz", "V000001"),
            (None, "000001"),
            (None, "0000001"),
            ("zzzzzy", None),
        ]
    ),
    st.lists(st.booleans(), max_size=200),
)
def test_a_key_ends_in_no_zero_that_would_leave_no_room_ahead_of_it(
    gap: tuple[str | None, str | None], upwards: list[bool]
) -> None:
    before, after = gap
    for up in upwards:
        if (made := between(before, after)) is None:
            assert (before, after) == (None, DIGITS[0] * HEAD)
            return
        assert (before or "") < made
        assert after is None or made < after
        assert len(made) == HEAD or made[-1] != DIGITS[0]
        before, after = (made, after) if up else (before, made)


def test_keys_at_either_end_do_not_grow() -> None:
    first = last = key(None, None)
    for _ in range(5000):
        last, before = key(last, None), last
        first, after = key(None, first), first
        assert before < last
        assert first < after
        assert len(first) == len(last) == HEAD


def test_the_very_ends_have_room_still_and_then_say_that_they_have_none() -> None:
    last = DIGITS[-1] * HEAD
    made = key(last, None)
    assert made > last
    first = DIGITS[0] * HEAD
    assert between(None, first) is None
    assert first < key(first, None)


def test_a_gap_takes_hundreds_of_keys_and_then_says_that_it_is_full() -> None:
    for towards in ("the upper", "the lower"):
        before, after, count = key(None, None), key(key(None, None), None), 0
        while (made := between(before, after)) is not None:
            assert before < made < after
            assert len(made) <= MAX_LENGTH
            before, after = (made, after) if towards == "the upper" else (before, made)
            count += 1
        assert 480 <= count < 700


@given(st.integers(0, 2000))
def test_spread_keys_rise_and_leave_room_everywhere(count: int) -> None:
    keys = spread(count)
    assert keys is not None
    assert keys == sorted(set(keys))
    assert all(len(made) == HEAD for made in keys)
    for before, after in zip([None, *keys], [*keys, None], strict=True):
        assert len(key(before, after)) == HEAD


made_keys = st.builds(
    lambda head, tail: head + tail.rstrip(DIGITS[0]),
    st.text(DIGITS, min_size=HEAD, max_size=HEAD),
    st.text(DIGITS[:2] + DIGITS[-2:], max_size=12),
)


@given(st.none() | made_keys, st.none() | made_keys, st.integers(1, 600), st.booleans())
def test_keys_are_spread_between_two_others_as_short_as_it_goes(
    one: str | None, other: str | None, count: int, near: bool
) -> None:
    if one is not None and near:
        other = between(one, other if other is not None and other > one else None)
    if one is not None and other is not None:
        one, other = sorted((one, other))
    assume(one != other or one is None)
    assume((one, other) != (None, DIGITS[0] * HEAD))  # nothing sorts ahead of that
    keys = spread(count, one, other, MAX_LENGTH)
    assert keys is not None
    assert keys == sorted(set(keys))
    longest = max(map(len, keys))
    if longest > HEAD:
        assert spread(count, one, other, longest - 1) is None
    assert all(len(made) == HEAD or made[-1] != DIGITS[0] for made in keys)
    for before, after in zip([one, *keys], [*keys, other], strict=True):
        assert (before or "") < key(before, after)
        assert after is None or key(before, after) < after
        assert len(key(before, after)) <= longest


def test_where_not_even_the_longest_keys_have_room_nothing_is_spread() -> None:
    assert spread(1, "V00000", "V00001") is None
    assert spread(100, "V" * MAX_LENGTH, "V" * (MAX_LENGTH - 1) + "W", MAX_LENGTH) is None
