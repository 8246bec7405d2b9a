"""Cursors: every item once, and only cursors that we wrote."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardume.errors import Invalid
from cardume.transports.paging import page, position


@given(st.integers(0, 40), st.integers(1, 10))
def test_the_pages_hold_every_item_once(count: int, limit: int) -> None:
    stored = list(range(count))
    seen: list[int] = []
    cursor: str | None = None
    while True:
        after = position(cursor, int)
        rest = [item for item in stored if after is None or item > after]
        shown = page(rest[: limit + 1], limit, lambda item: item)
        seen += shown["items"]
        assert len(shown["items"]) <= limit
        cursor = shown["next"]
        if cursor is None:
            break
    assert seen == stored


@given(st.text(max_size=40) | st.binary(max_size=40).map(lambda b: base64.b64encode(b).decode()))
def test_other_cursors_are_invalid(cursor: str) -> None:
    try:
        found = position(cursor, int)
    except Invalid:
        return
    assert isinstance(found, int)


@pytest.mark.parametrize("value", [b'"text"', b"true", b"1.5", b"null", b"[1]", b"{}"])
def test_a_key_of_another_kind_is_invalid(value: bytes) -> None:
    with pytest.raises(Invalid):
        position(base64.urlsafe_b64encode(value).decode(), int)
