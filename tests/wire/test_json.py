"""The gate for JSON from outside, and the encoder for what we made ourselves."""

from __future__ import annotations

import json as stdlib
import time
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from cardume.errors import Invalid
from cardume.wire import json

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=30,
)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b" ",
        b"tru",
        b"[1,]",
        b"{'a':1}",
        b"1 2",
        b"\xef\xbb\xbf1",
        b"NaN",
        b"-Infinity",
        b"[Infinity]",
        b"1e999",
        b'{"a":-1e999}',
        b"1" * 5000,
        b'"\xff"',
        b'{"a":"\xc3\x28"}',
        b'"\xed\xa0\x80"',
        rb'"\ud800"',
        rb'"\udc00 and more"',
        rb'"\ud800\ud800"',
        rb'{"\ud800":1}',
        b'"\x00"',
        "\ud800",
        '"\ud800"',
    ],
)
def test_what_is_not_json_is_invalid(text: bytes | str) -> None:
    with pytest.raises(Invalid) as caught:
        json.parse(text)
    assert str(caught.value) == "not valid JSON"


@pytest.mark.parametrize("brackets", [("[", "]"), ('{"a":', "}")])
def test_depth_is_exactly_32(brackets: tuple[str, str]) -> None:
    opening, closing = brackets
    json.parse(opening * 32 + "1" + closing * 32)
    with pytest.raises(Invalid, match="deeper than 32"):
        json.parse(opening * 33 + "1" + closing * 33)
    with pytest.raises(Invalid):
        json.parse((opening * 33 + "1" + closing * 33).encode())


def test_width_is_not_depth() -> None:
    wide = stdlib.dumps([[{"a": n}] for n in range(5000)])
    assert len(json.parse(wide)) == 5000


def test_brackets_in_strings_do_not_count() -> None:
    assert json.parse(stdlib.dumps({"a": "[{" * 500})) == {"a": "[{" * 500}


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_a_hundred_thousand_levels_are_refused_quickly(opening: str) -> None:
    began = time.thread_time()
    with pytest.raises(Invalid):
        json.parse(opening * 100_000)
    # reliability.md C5 says 10 ms; a slow machine gets ten times that.
    assert time.thread_time() - began < 0.1


def test_the_last_of_duplicate_keys_wins_as_in_browsers() -> None:
    assert json.parse('{"a":1,"a":2}') == {"a": 2}
    assert json.reencode('{"a":1,"a":2}') == b'{"a":2}'


@given(JSON)
def test_what_passed_the_gate_is_the_same_on_the_other_side(value: Any) -> None:
    shared = json.reencode(stdlib.dumps(value))
    assert stdlib.loads(shared) == stdlib.loads(stdlib.dumps(value))
    assert json.parse(shared) == json.parse(stdlib.dumps(value))


@given(st.binary(max_size=200))
def test_arbitrary_bytes_parse_or_are_invalid(data: bytes) -> None:
    try:
        shared = json.reencode(data)
    except Invalid:
        return
    # Everybody else's parser must take what we share.
    stdlib.loads(shared, parse_constant=pytest.fail)


class Reading(BaseModel):
    value: float


@dataclass
class Place:
    name: str


def test_models_and_dataclasses_have_a_json_form() -> None:
    assert json.encode({"r": Reading(value=1.5), "p": Place("x")}) == (
        b'{"r":{"value":1.5},"p":{"name":"x"}}'
    )


@pytest.mark.parametrize("value", [object(), "\ud800", {"\ud800": 1}, {(1, 2): 3}])
def test_what_has_no_json_form_is_invalid(value: Any) -> None:
    with pytest.raises(Invalid, match="no JSON form"):
        json.encode(value)


def test_an_integer_beyond_every_parser_is_invalid() -> None:
    with pytest.raises(Invalid, match="no JSON form"):
        json.encode(10**5000)


def test_what_contains_itself_is_invalid() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(Invalid):
        json.encode(loop)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_json_lacks_is_null(value: float) -> None:
    assert json.encode([value]) == b"[null]"
