"""Type filters: none is all."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cardume.hub.filters import type_filter, with_types, without_types

TYPES = st.lists(st.sampled_from("abcd"))


def test_no_types_is_no_filter() -> None:
    assert type_filter([]) is None
    assert with_types(None, []) is None
    assert with_types(frozenset("a"), []) == frozenset("a")


def test_removing_the_last_type_is_no_filter() -> None:
    assert without_types(frozenset("a"), ["a"]) is None
    assert without_types(frozenset("ab"), None) is None
    assert without_types(None, ["a"]) is None


@given(TYPES, TYPES, TYPES)
def test_there_is_no_empty_filter(first: list[str], more: list[str], fewer: list[str]) -> None:
    held = with_types(type_filter(first), more)
    assert held == (frozenset(first) | frozenset(more) or None)
    left = without_types(held, fewer)
    assert left is None or (left and not left & set(fewer))
