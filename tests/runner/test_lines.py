from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardume.runner.lines import MAX_LINE, Line, LineCutter
from cardume.wire import json as wire

# Small alphabets, so that line ends, split characters and repeated returns are common.
BYTES = st.lists(
    st.sampled_from(
        [b"\n", b"\r", b"\0", b"a", b"b", "é".encode(), "🐟".encode(), b"\xff", b"\xe2"]
    )
    | st.binary(max_size=4),
    max_size=60,
).map(b"".join)


def cut(*chunks: bytes) -> list[Line]:
    cutter = LineCutter()
    return [line for chunk in chunks for line in cutter.feed(chunk)] + cutter.finish()


def texts(*chunks: bytes) -> list[str]:
    return [line.text for line in cut(*chunks)]


def by_definition(data: bytes) -> list[Line]:
    """The rule without chunks and without thrift."""
    *whole, rest = data.split(b"\n")
    lines = []
    for piece in [*whole, rest] if rest else whole:
        text = piece.rstrip(b"\r").split(b"\r")[-1].decode("utf-8", "replace")
        encoded = text.replace("\0", "\ufffd").encode()
        kept = encoded[:MAX_LINE].decode("utf-8", "ignore")
        lines.append(Line(kept, truncated=len(encoded) > MAX_LINE))
    return lines


@given(data=BYTES, cuts=st.lists(st.integers(0, 300), max_size=8))
def test_lines_do_not_depend_on_chunks(data: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(min(edge, len(data)) for edge in cuts), len(data)]
    chunks = [data[a:b] for a, b in pairwise(edges)]
    assert cut(*chunks) == by_definition(data)


@given(
    unit=st.sampled_from([b"a", "é".encode(), "🐟".encode(), b"\xff", b"\xe2\x82", b"\0"]),
    before=st.binary(max_size=4).filter(lambda b: b"\n" not in b),
    size=st.integers(MAX_LINE - 8, MAX_LINE + 8),
    step=st.integers(700, 40_000),
)
def test_long_lines_do_not_depend_on_chunks(
    unit: bytes, before: bytes, size: int, step: int
) -> None:
    data = before + (unit * size)[:size] + b"\nnext\n"
    chunks = [data[at : at + step] for at in range(0, len(data), step)]
    assert cut(*chunks) == by_definition(data)


@given(data=st.binary())
def test_any_bytes_become_json_that_any_parser_takes(data: bytes) -> None:
    for text in texts(data):
        encoded = wire.encode(text)
        assert json.loads(encoded) == wire.parse(encoded) == text
        assert "\0" not in text


def test_a_line_of_a_megabyte_is_cut_and_the_next_is_whole() -> None:
    first, second = cut(*[b"x" * 1000] * 1049, b"\nnext\n")
    assert first == Line("x" * MAX_LINE, truncated=True)
    assert second == Line("next")


def test_a_cut_line_is_no_heavier_in_binary() -> None:
    (line,) = cut(b"\xff" * 1_000_000)
    assert line.truncated
    assert MAX_LINE - 3 < len(line.text.encode()) <= MAX_LINE


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (b"\n\n", ["", ""]),
        (b"dos\r\nunix\n", ["dos", "unix"]),
        (b"10%\r50%\r100%\ndone\n", ["100%", "done"]),
        (b"10%\r20%\r", ["20%"]),
        (b"\r", [""]),
        (b"half", ["half"]),
    ],
)
def test_line_ends_and_progress_bars(data: bytes, expected: list[str]) -> None:
    assert texts(data) == expected
    assert texts(*[data[i : i + 1] for i in range(len(data))]) == expected


def test_a_progress_bar_that_never_ends_takes_no_memory() -> None:
    cutter = LineCutter()
    for percent in range(100_000):
        assert cutter.feed(b"%d of many\r" % percent) == []
    assert cutter.finish() == [Line("99999 of many")]
