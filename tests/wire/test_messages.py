"""Positions, channel names, texts and times."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cardume.errors import Invalid
from cardume.wire import json
from cardume.wire.dialects import Dialect
from cardume.wire.dialects.centrifuge import CentrifugeDialect
from cardume.wire.dialects.events import EventsDialect
from cardume.wire.dialects.plain import PlainDialect
from cardume.wire.dialects.rooms import RoomsDialect
from cardume.wire.messages import (
    MAX_TAGS,
    MAX_TEXT,
    Position,
    Publication,
    check_channel,
    check_tags,
    check_texts,
    namespace_of,
    rfc3339,
    weight,
)


def test_a_position_survives_its_text() -> None:
    position = Position("a1B2", 41)
    assert str(position) == "a1B2:41"
    assert Position.parse("a1B2:41") == position
    assert position
    assert not Position()


@given(
    st.from_regex(r"[A-Za-z0-9]{1,16}", fullmatch=True, alphabet=st.characters(codec="ascii")),
    st.integers(0, 999_999_999_999_999),
)
def test_every_position_survives_its_text(epoch: str, offset: int) -> None:
    assert Position.parse(str(Position(epoch, offset))) == Position(epoch, offset)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "abc",
        "abc:",
        ":5",
        "abc:-1",
        "abc:1.5",
        "abc:true",
        "abc: 7",
        "abc:7\n",
        "a-c:7",
        "abc:" + "9" * 16,
        "a" * 17 + ":1",
        "a" * 1_000_000,
        "abc:٣",  # Arabic-Indic digits are \d and no offset
        "é:1",
    ],
)
def test_what_is_no_position_is_invalid(text: str) -> None:
    with pytest.raises(Invalid):
        Position.parse(text)


@pytest.mark.parametrize(
    "name",
    ["agents", "aquarium:7", "execution:ab12", "a.b-c_d:x@y=z,~", "a" * 64, "a:" + "b" * 190],
)
def test_channel_names(name: str) -> None:
    assert check_channel(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        ":",
        "a:",
        ":a",
        "a:b:c",
        "a" * 65,
        "a:" + "b" * 191,
        "a b",
        "a\n",
        "a:b\n",
        "a\x00",
        "a:\u202eb",
        "é",
        "caf\u00e9",
        "cafe\u0301",
        "*",
        "a:*",
        "a:>",
        "a:#",
        "a:+",
        "$SYS/x",
        "../admin",
        "a/b",
        "a:%2e",
        "{a}",
        "a:{tag}",
        "a:[x]",
        'a"b',
        "a:b\\",
    ],
)
def test_what_is_no_channel(name: str) -> None:
    with pytest.raises(Invalid):
        check_channel(name)


@given(st.text(max_size=300) | st.text(alphabet='ab:._-"\\{}<>/*#+$ \n\x7f', max_size=40))
def test_no_channel_needs_escaping_anywhere(name: str) -> None:
    try:
        check_channel(name)
    except Invalid:
        return
    assert json.encode(name) == f'"{name}"'.encode()
    assert name.isascii()
    assert name.isprintable()
    assert not set(name) & set("*>#+$/%{}[]<>&'\"\\ ")
    assert len(name) <= 255
    assert name.count(":") <= 1


def test_the_namespace_is_the_word_before_the_colon() -> None:
    assert namespace_of("aquarium:7") == "aquarium"
    assert namespace_of("agents") == "agents"


def test_rfc3339_has_milliseconds_and_a_z() -> None:
    assert rfc3339(1_795_176_000.1234) == "2026-11-20T12:00:00.123Z"
    assert rfc3339(1_795_176_000) == "2026-11-20T12:00:00.000Z"


@given(st.floats(0, 4_000_000_000))
def test_every_time_is_read_back_within_a_millisecond(seconds: float) -> None:
    text = rfc3339(seconds)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text)
    read = datetime.fromisoformat(text)
    assert read.tzinfo == UTC
    assert abs(read.timestamp() - seconds) <= 0.001001


def test_texts_that_cannot_be_encoded_are_invalid() -> None:
    check_texts(type="reading", key="µ", source=None)
    check_texts(type="x" * MAX_TEXT)
    with pytest.raises(Invalid, match="type is text"):
        check_texts(type="\ud800")
    with pytest.raises(Invalid, match="key is text"):
        check_texts(type="x", key="x" * (MAX_TEXT + 1))


def test_tags_are_copied_in_the_order_of_their_names() -> None:
    given = {"b": "2", "a": "1"}
    tags = check_tags(given)
    assert list(tags.items()) == [("a", "1"), ("b", "2")]
    assert tags is not given
    with pytest.raises(Invalid):
        check_tags({"a": "\udfff"})
    with pytest.raises(Invalid):
        check_tags({"a": 1})  # type: ignore[dict-item]
    assert len(check_tags({str(n): "" for n in range(MAX_TAGS)})) == MAX_TAGS
    with pytest.raises(Invalid, match="at most 32 tags"):
        check_tags({str(n): "" for n in range(MAX_TAGS + 1)})


DIALECTS: list[Dialect] = [PlainDialect(), RoomsDialect(), CentrifugeDialect(), EventsDialect()]


@example(data="", texts=["\x01" * MAX_TEXT, None, None], tags=None)
@given(
    data=st.text(),
    texts=st.lists(st.none() | st.text(max_size=MAX_TEXT), min_size=3, max_size=3),
    tags=st.none() | st.dictionaries(st.text(max_size=9), st.text(max_size=MAX_TEXT), max_size=9),
)
def test_a_publication_weighs_at_least_as_much_as_its_frames(
    data: str, texts: list[str | None], tags: dict[str, str] | None
) -> None:
    type, source, key = texts
    publication = Publication(
        data=json.encode(data), time=1e9, type=type, source=source, key=key, tags=tags, offset=10**9
    )
    for dialect in DIALECTS:
        assert len(dialect.publication("room:1", publication)) <= weight(publication)
