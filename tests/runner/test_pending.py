from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cardume.runner.backoff import FIRST, LONGEST, delay
from cardume.runner.lines import MAX_LINE, Line
from cardume.runner.pending import MAX_BYTES, MAX_LINES, Pending

AT = "2026-11-20T12:00:00.123Z"


def sent(pending: Pending) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = json.loads(pending.body())["lines"]
    return lines


def numbers(pending: Pending) -> list[int]:
    return [line["seq"] for line in sent(pending)]


def holding(*texts: str) -> Pending:
    pending = Pending()
    for text in texts:
        pending.add(Line(text), "stdout", AT)
    return pending


def test_a_request_as_the_contract_has_it() -> None:
    pending = holding("hi")
    pending.add(Line("cut", truncated=True), "stderr", AT)
    assert sent(pending) == [
        {"seq": 1, "stream": "stdout", "text": "hi", "at": AT},
        {"seq": 2, "stream": "stderr", "text": "cut", "at": AT, "truncated": True},
    ]
    assert json.loads(Pending().body()) == {"lines": []}


def test_what_is_not_accepted_keeps_its_number() -> None:
    pending = holding("a", "b", "c")
    assert pending.expect(2) == 0
    pending.add(Line("d"), "stdout", AT)
    assert [(line["seq"], line["text"]) for line in sent(pending)] == [(2, "b"), (3, "c"), (4, "d")]
    pending.accept()
    assert not pending
    assert pending.accepted == 4


def test_a_server_that_forgot_lines_gets_the_rest_under_their_numbers() -> None:
    pending = holding("a", "b", "c")
    pending.accept()
    pending.add(Line("d"), "stdout", AT)
    assert pending.expect(2) == 2
    assert [(line["seq"], line["text"]) for line in sent(pending)] == [(2, "d")]
    assert pending.accepted == 1


@given(text=st.sampled_from(["", "x", "\x1b" * MAX_LINE, "é" * (MAX_LINE // 2), '"' * 900]))
def test_a_full_request_is_within_the_limits(text: str) -> None:
    pending = Pending()
    while not pending.full:
        pending.add(Line(text, truncated=True), "stdout", AT)
    assert len(pending) <= MAX_LINES
    assert len(pending.body()) <= MAX_BYTES
    assert len(pending) == MAX_LINES or len(pending.body()) > MAX_BYTES * 3 // 4


@given(
    lines=st.integers(0, 20),
    wanted=st.lists(st.integers(1, 30), max_size=8),
)
def test_numbers_go_on_without_a_gap_whatever_the_server_wants(
    lines: int, wanted: list[int]
) -> None:
    pending = holding(*["x"] * lines)
    for seq in wanted:
        before = len(pending)
        pending.expect(seq)
        pending.add(Line("y"), "stdout", AT)
        assert len(pending) <= before + 1
        first = pending.accepted + 1
        assert numbers(pending) == list(range(first, first + len(pending)))
        assert first <= seq


def test_waits_grow_to_a_limit_and_are_spread() -> None:
    longest = [delay(attempt, 1.0) for attempt in range(2_000)]
    assert longest[0] == FIRST
    assert longest == sorted(longest)
    assert longest[-1] == LONGEST
    assert delay(50, 0.0) == 0.0
    assert delay(3, 0.5) == longest[3] / 2
