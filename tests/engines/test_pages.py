"""Reading history by pages, and the latest of each key, against a list and a dict."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cardume.engines.base import Page, Retention, StateFull
from cardume.engines.stream import NOTHING, Stream
from cardume.wire.messages import Position, Publication, weight

EPOCH = "e"


def filled(count: int, size: int) -> tuple[Stream, Retention]:
    """A stream after `count` publications, of which `size` are kept."""
    stream, keep = Stream(EPOCH, 0.0), Retention(size, 60.0)
    for _ in range(count):
        stream.append(Publication(data=b"1", time=0.0), keep, 0.0)
    return stream, keep


def offsets(page: Page) -> list[int] | None:
    found = page.publications
    return None if found is None else [publication.offset for publication in found]


@given(
    count=st.integers(0, 12),
    size=st.integers(1, 12),
    since=st.none() | st.integers(0, 15),
    limit=st.integers(0, 14),
    reverse=st.booleans(),
)
def test_a_page_is_a_slice_of_what_is_kept(
    count: int, size: int, since: int | None, limit: int, reverse: bool
) -> None:
    stream, keep = filled(count, size)
    kept = list(range(max(1, count - size + 1), count + 1))
    place = None if since is None else Position(EPOCH, since)
    page = stream.page(place, keep, limit, reverse, 0.0)
    assert page.top == Position(EPOCH, count)
    if reverse:
        past = [n for n in reversed(kept) if since is None or n < since]
        known = since is None or since <= count + 1
    else:
        past = [n for n in kept if since is None or n > since]
        known = since is None or (since <= count and (not kept or since >= kept[0] - 1))
    assert offsets(page) == (past[:limit] if known else None)


@given(count=st.integers(0, 30), limit=st.integers(1, 7), reverse=st.booleans())
def test_pages_follow_each_other_without_gap_or_repetition(
    count: int, limit: int, reverse: bool
) -> None:
    stream, keep = filled(count, 50)
    place: Position | None = None
    seen: list[int] = []
    while page := offsets(stream.page(place, keep, limit, reverse, 0.0)):
        seen += page
        place = Position(EPOCH, seen[-1])
    assert seen == (list(range(count, 0, -1)) if reverse else list(range(1, count + 1)))


@pytest.mark.parametrize("reverse", [False, True])
def test_a_place_in_another_epoch_is_not_known(reverse: bool) -> None:
    stream, keep = filled(5, 5)
    assert stream.page(Position("other", 3), keep, 5, reverse, 0.0).publications is None
    assert offsets(stream.page(Position("", 3), keep, 1, reverse, 0.0)) == [2 if reverse else 4]


def test_what_is_too_old_is_no_part_of_a_page() -> None:
    stream, keep = filled(5, 5)
    page = stream.page(None, keep, 5, False, 61.0)
    assert (page.top.offset, page.publications) == (5, ())


class Keyed(RuleBasedStateMachine):
    """Publications under keys, in a stream that holds few of them."""

    BARE = weight(Publication(data=b"", time=0.0, key="a"))
    KEEP = Retention(2, 60.0, octets=3 * BARE + 40, keys=4)

    def __init__(self) -> None:
        super().__init__()
        self.stream = Stream(EPOCH, 0.0)
        self.held: dict[str, bytes] = {}

    @rule(
        key=st.none() | st.sampled_from("abcdef"),
        data=st.sampled_from([NOTHING, b"1", b'"0123456789"', b'"012345678901234567890"']),
    )
    def publish(self, key: str | None, data: bytes) -> None:
        after = dict(self.held)
        if key is not None:
            after.pop(key, None)
            if data != NOTHING:
                after[key] = data
        grows = key is not None and data != NOTHING
        full = grows and (len(after) > 4 or self.octets(after) > self.KEEP.octets)
        before, publication = self.stream.top, Publication(data=data, time=0.0, key=key)
        try:
            self.stream.append(publication, self.KEEP, 0.0)
        except StateFull:
            assert full
            assert self.stream.top == before
        else:
            assert not full
            self.held = after

    def octets(self, held: dict[str, bytes]) -> int:
        return sum(len(data) + self.BARE for data in held.values())

    @invariant()
    def the_latest_of_every_key_is_held(self) -> None:
        top, found = self.stream.latest()
        assert top == self.stream.position
        assert found is not None
        assert [(p.key, p.data) for p in found] == list(self.held.items())
        assert [p.offset for p in found] == sorted(p.offset for p in found)
        assert self.stream.keys == len(self.held)


TestKeyed = Keyed.TestCase
TestKeyed.settings = settings(max_examples=50, deadline=None)


def test_without_keys_nothing_is_held_by_key() -> None:
    stream = Stream(EPOCH, 0.0)
    stream.append(Publication(data=b"1", time=0.0, key="k"), Retention(5, 60.0), 0.0)
    assert stream.latest().publications == ()
