"""The bounded way out, against a model and by example."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cardume.hub.outbox import DEFAULT_LIMIT, PRESSURE, Frame, Outbox, SlowPolicy

LIMIT = 320
CALM = LIMIT * PRESSURE


def frame(size: int, mark: int = 0) -> Frame:
    return Frame(b"%0*d" % (size, mark))


def drain(outbox: Outbox) -> list[Frame]:
    frames = []
    while (taken := outbox.take()) is not None:
        frames.append(taken)
    return frames


def test_the_default_is_one_mebibyte() -> None:
    assert Outbox().limit == DEFAULT_LIMIT == 1024 * 1024


def test_frames_come_out_as_they_went_in() -> None:
    outbox = Outbox(LIMIT)
    frames = [frame(10, n) for n in range(5)]
    assert all(outbox.offer(one) for one in frames)
    assert drain(outbox) == frames
    assert outbox.size == 0


def test_a_frame_is_text_only_once_for_all() -> None:
    one = Frame('{"é":1}'.encode())
    assert one.text == '{"é":1}'
    assert one.text is one.text
    assert len(one) == 8


def test_what_is_being_written_still_counts() -> None:
    outbox = Outbox(100)
    assert outbox.offer(frame(60))
    assert outbox.take() is not None
    assert outbox.size == 60
    assert not outbox.offer(frame(60))
    assert outbox.take() is None
    assert outbox.offer(frame(60))


def test_nothing_comes_out_of_a_corked_one_before_the_first_frame() -> None:
    outbox = Outbox(100)
    outbox.cork()
    waiting = [frame(10, n) for n in range(2)]
    assert all(outbox.offer(one) for one in waiting)
    assert outbox.take() is None
    assert outbox.size == 20
    first = frame(80, 7)
    assert outbox.uncork(first)
    assert drain(outbox) == [first, *waiting]
    assert outbox.size == 0


def test_a_first_frame_that_has_no_room() -> None:
    outbox = Outbox(100)
    outbox.cork()
    assert outbox.offer(frame(60))
    assert not outbox.uncork(frame(41))


def test_exactly_the_limit_fits() -> None:
    outbox = Outbox(100)
    assert outbox.offer(frame(100))
    assert not outbox.offer(frame(1))


@pytest.mark.parametrize("policy", SlowPolicy)
def test_a_frame_larger_than_the_limit_never_fits(policy: SlowPolicy) -> None:
    outbox = Outbox(100)
    assert not outbox.offer(frame(101), "k", policy)
    assert outbox.size == 0


def test_conflation_waits_for_pressure() -> None:
    outbox = Outbox(LIMIT)
    first, second = frame(int(CALM)), frame(int(CALM), 2)
    outbox.offer(first, "k", SlowPolicy.CONFLATE)
    outbox.offer(second, "k", SlowPolicy.CONFLATE)
    assert drain(outbox) == [first, second], "a reader that keeps up sees every one"


def test_a_newer_publication_supersedes_its_key_at_the_tail() -> None:
    outbox = Outbox(LIMIT)
    press, old, other, new = (frame(30, n) for n in range(4))
    outbox.offer(press)
    outbox.offer(old, "k", SlowPolicy.CONFLATE)
    outbox.offer(other, "other", SlowPolicy.CONFLATE)
    outbox.offer(new, "k", SlowPolicy.CONFLATE)
    assert (outbox.superseded, outbox.dropped) == (1, 0)
    assert drain(outbox) == [press, other, new]


def test_what_was_taken_is_not_superseded() -> None:
    outbox = Outbox(LIMIT)
    old, new, newer = (frame(60, n) for n in range(3))
    outbox.offer(old, "k", SlowPolicy.CONFLATE)
    assert outbox.take() is old
    outbox.offer(new, "k", SlowPolicy.CONFLATE)
    assert len(outbox) == 1
    outbox.offer(newer, "k", SlowPolicy.CONFLATE)
    assert drain(outbox) == [newer]


def test_conflate_never_drops_the_unkeyed() -> None:
    outbox = Outbox(100)
    assert outbox.offer(frame(60, 1), None, SlowPolicy.CONFLATE)
    assert not outbox.offer(frame(60, 2), None, SlowPolicy.CONFLATE)
    assert len(outbox) == 1


def test_drop_oldest_drops_publications_and_not_replies() -> None:
    outbox = Outbox(100)
    reply, *published = (frame(30, n) for n in range(4))
    outbox.offer(reply)
    for one in published:
        assert outbox.offer(one, None, SlowPolicy.DROP_OLDEST)
    assert outbox.dropped == 1
    assert drain(outbox) == [reply, *published[1:]]


def test_clear_forgets_keys_too() -> None:
    outbox = Outbox(LIMIT)
    outbox.offer(frame(60), "k", SlowPolicy.CONFLATE)
    outbox.clear()
    assert (len(outbox), outbox.size) == (0, 0)
    assert outbox.offer(frame(60), "k", SlowPolicy.CONFLATE)
    assert len(outbox) == 1


@dataclass
class Queued:
    size: int
    mark: int
    key: str | None
    policy: SlowPolicy


class OutboxMachine(RuleBasedStateMachine):
    """The model is a plain list, handled by the rules as DESIGN §4 words them."""

    def __init__(self) -> None:
        super().__init__()
        self.outbox = Outbox(LIMIT)
        self.queue: list[Queued] = []
        self.writing = 0
        self.dropped = 0
        self.superseded = 0
        self.marks = 0

    def size(self) -> int:
        return sum(one.size for one in self.queue) + self.writing

    @rule(
        size=st.integers(4, 120),
        key=st.none() | st.sampled_from("abc"),
        policy=st.sampled_from(list(SlowPolicy)),
    )
    def offer(self, size: int, key: str | None, policy: SlowPolicy) -> None:
        self.marks += 1
        new = Queued(size, self.marks, key if policy is SlowPolicy.CONFLATE else None, policy)
        if new.key is not None and self.size() > CALM:
            kept = [one for one in self.queue if one.key != new.key]
            # Older ones of the key went in while there was no pressure: the newest gives way.
            older = [one for one in self.queue if one.key == new.key]
            self.superseded += min(1, len(older))
            self.queue = sorted([*kept, *older[:-1]], key=lambda one: one.mark)
        if policy is SlowPolicy.DROP_OLDEST:
            while self.size() + size > LIMIT and any(
                one.policy is SlowPolicy.DROP_OLDEST for one in self.queue
            ):
                oldest = next(one for one in self.queue if one.policy is SlowPolicy.DROP_OLDEST)
                self.queue.remove(oldest)
                self.dropped += 1
        fits = self.size() + size <= LIMIT
        if fits:
            self.queue.append(new)
        assert self.outbox.offer(frame(size, self.marks), key, policy) == fits

    @rule()
    def take(self) -> None:
        taken = self.outbox.take()
        if not self.queue:
            assert taken is None
            self.writing = 0
        else:
            first = self.queue.pop(0)
            assert taken is not None
            assert int(taken.payload) == first.mark
            self.writing = first.size

    @rule()
    def clear(self) -> None:
        self.outbox.clear()
        self.queue.clear()

    @invariant()
    def bytes_are_bounded_and_numbers_true(self) -> None:
        assert self.outbox.size == self.size() <= LIMIT
        assert len(self.outbox) == len(self.queue)
        assert self.outbox.dropped == self.dropped
        assert self.outbox.superseded == self.superseded


TestOutboxAgainstModel = OutboxMachine.TestCase
TestOutboxAgainstModel.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
