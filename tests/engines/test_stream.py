"""The bounded log against a model: never a partial replay."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cardume.engines.base import Retention
from cardume.engines.stream import Stream
from cardume.wire.messages import Position, Publication, weight

KEEP = Retention(5, 10.0)


def said(text: str) -> Publication:
    return Publication(data=text.encode(), time=0.0)


def test_offsets_count_from_one() -> None:
    stream = Stream("e", 0.0)
    assert stream.position == Position("e", 0)
    assert [stream.append(said(str(n)), KEEP, 0.0).offset for n in range(3)] == [1, 2, 3]
    assert stream.position == Position("e", 3)


def test_a_publication_is_kept_up_to_its_age_and_not_beyond() -> None:
    stream = Stream("e", 0.0)
    stream.append(said("a"), KEEP, 0.0)
    assert stream.replay(Position("e", 0), KEEP, 300, 10.0).publications is not None
    assert stream.replay(Position("e", 0), KEEP, 300, 10.001).publications is None
    assert stream.replay(Position("e", 1), KEEP, 300, 10.001).publications == ()


def test_the_limit_bounds_a_replay_wholly_or_not_at_all() -> None:
    stream = Stream("e", 0.0)
    for n in range(5):
        stream.append(said(str(n)), KEEP, 0.0)
    whole = stream.replay(Position("e", 1), KEEP, 4, 0.0).publications
    assert whole is not None
    assert [publication.offset for publication in whole] == [2, 3, 4, 5]
    assert stream.replay(Position("e", 0), KEEP, 4, 0.0).publications is None


def test_history_is_bounded_in_bytes() -> None:
    stream, keep = Stream("e", 0.0), Retention(100, 10.0, octets=3 * weight(said("")) + 10)
    for text in ("aaaa", "bbbb", "cc"):
        stream.append(said(text), keep, 0.0)
    assert len(stream) == 3
    stream.append(said(""), keep, 0.0)
    assert stream.replay(Position("e", 0), keep, 300, 0.0).publications is None
    whole = stream.replay(Position("e", 1), keep, 300, 0.0).publications
    assert whole is not None
    assert [publication.data for publication in whole] == [b"bbbb", b"cc", b""]
    stream.append(said("x" * keep.octets), keep, 0.0)
    assert len(stream) == 0
    assert stream.position == Position("e", 5)


def test_what_is_said_beside_the_data_counts_too() -> None:
    tags = {f"tag {n}": "v" * 200 for n in range(15)}
    tagged = Publication(data=b"1", time=0.0, tags=tags)
    stream, keep = Stream("e", 0.0), Retention(100, 10.0, octets=10_000, keys=100)
    for _ in range(10):
        stream.append(tagged, keep, 0.0)
    assert 10_000 - weight(tagged) < len(stream) * weight(tagged) <= 10_000


@dataclass
class Kept:
    offset: int
    at: float
    text: str


class StreamMachine(RuleBasedStateMachine):
    """The model is a list of all that was ever appended, with its time."""

    def __init__(self) -> None:
        super().__init__()
        self.stream = Stream("now", 0.0)
        self.all: list[Kept] = []
        self.time = 0.0
        self.retention = KEEP

    def survivors(self) -> list[Kept]:
        young = [kept for kept in self.all if kept.at >= self.time - self.retention.ttl]
        return young[-self.retention.size :]

    @rule()
    def append(self) -> None:
        text = f"p{len(self.all) + 1}"
        numbered = self.stream.append(said(text), self.retention, self.time)
        self.all.append(Kept(numbered.offset, self.time, text))
        assert numbered.offset == len(self.all)

    @rule(seconds=st.floats(0, 6))
    def wait(self, seconds: float) -> None:
        self.time += seconds

    @rule(offset=st.integers(-2, 40), limit=st.integers(0, 8), epoch=st.sampled_from(["now", "x"]))
    def replay(self, offset: int, limit: int, epoch: str) -> None:
        replay = self.stream.replay(Position(epoch, offset), self.retention, limit, self.time)
        assert replay.top == Position("now", len(self.all))
        missed = self.all[max(offset, 0) :]
        known = epoch == "now" and 0 <= offset <= len(self.all)
        whole = known and all(kept in self.survivors() for kept in missed)
        if not whole or len(missed) > limit:
            assert replay.publications is None
        else:
            assert replay.publications is not None
            got = [(one.offset, one.data.decode()) for one in replay.publications]
            assert got == [(kept.offset, kept.text) for kept in missed]

    @rule()
    def read_the_top(self) -> None:
        replay = self.stream.replay(None, self.retention, 300, self.time)
        assert (replay.top.offset, replay.publications) == (len(self.all), None)

    @invariant()
    def it_holds_no_more_than_it_may(self) -> None:
        self.stream.trim(self.retention, self.time)
        assert len(self.stream) == len(self.survivors()) <= self.retention.size


TestStreamAgainstModel = StreamMachine.TestCase
TestStreamAgainstModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
