from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardume.auth.handshake import Credentials, credentials, header
from cardume.auth.identity import InvalidToken
from cardume.errors import Invalid

AUTH = b"authorization"
JWT = "aaa.bbb.ccc"


@pytest.mark.parametrize(
    ("headers", "query", "subprotocols", "token", "selected"),
    [
        ([], b"", [], None, None),
        ([], b"token=aaa.bbb.ccc", [], JWT, None),
        ([], b"since=x:1&token=aaa.bbb.ccc&types=a", [], JWT, None),
        ([], b"token=aaa%2Ebbb%2eccc", [], JWT, None),
        ([], b"token=", [], None, None),
        ([], b"token", [], None, None),
        ([], b"Token=aaa.bbb.ccc", [], None, None),
        ([], b"access_token=aaa.bbb.ccc", [], None, None),
        ([], b"x=token=aaa.bbb.ccc", [], None, None),
        ([], b"tok%65n=aaa.bbb.ccc", [], None, None),
        ([(AUTH, b"Bearer aaa.bbb.ccc")], b"", [], JWT, None),
        ([(b"Authorization", b" bearer  aaa.bbb.ccc ")], b"", [], JWT, None),
        ([(AUTH, b"Basic YTpi")], b"token=aaa.bbb.ccc", [], JWT, None),
        ([(AUTH, b"Bearertoken x")], b"", [], None, None),
        ([(b"x-authorization", b"Bearer aaa.bbb.ccc")], b"", [], None, None),
        ([], b"", ["bearer", JWT], JWT, "bearer"),
        ([], b"", ["centrifuge-json", "bearer", JWT], JWT, "bearer"),
        ([], b"", ["centrifuge-json"], None, None),
        ([], b"", ["Bearer", JWT], None, None),
        ([(AUTH, b"Bearer aaa.bbb.ccc")], b"token=aaa.bbb.ccc", ["bearer", JWT], JWT, "bearer"),
        ([], b"token=aaa.bbb.ccc&token=aaa.bbb.ccc", [], JWT, None),
        ([], b"token=&token=aaa.bbb.ccc", [], JWT, None),
    ],
)
def test_where_a_token_may_be(
    headers: list[tuple[bytes, bytes]],
    query: bytes,
    subprotocols: list[str],
    token: str | None,
    selected: str | None,
) -> None:
    assert credentials(headers, query, subprotocols) == Credentials(token, selected)


@pytest.mark.parametrize(
    ("headers", "query", "subprotocols"),
    [
        ([], b"token=a.b.c&token=d.e.f", []),
        ([(AUTH, b"Bearer a.b.c")], b"token=d.e.f", []),
        ([(AUTH, b"Bearer a.b.c"), (AUTH, b"Bearer d.e.f")], b"", []),
        ([(AUTH, b"Bearer a.b.c"), (b"AUTHORIZATION", b"bearer d.e.f")], b"", []),
        ([(AUTH, b"Bearer a.b.c")], b"", ["bearer", "d.e.f"]),
        ([], b"token=a.b.c", ["bearer", "d.e.f"]),
        ([], b"", ["bearer", "a.b.c", "bearer", "d.e.f"]),
    ],
)
def test_two_tokens_are_none(
    headers: list[tuple[bytes, bytes]], query: bytes, subprotocols: list[str]
) -> None:
    with pytest.raises(InvalidToken, match="ambiguous"):
        credentials(headers, query, subprotocols)


@pytest.mark.parametrize(
    ("headers", "query", "subprotocols", "reason"),
    [
        ([(AUTH, b"Bearer")], b"", [], "malformed"),
        ([(AUTH, b"Bearer ")], b"", [], "malformed"),
        ([(AUTH, b"Bearer \xff\xfe")], b"", [], "malformed"),
        ([], b"token=%ff", [], "malformed"),
        ([], b"token=\xff", [], "malformed"),
        ([], b"", ["bearer"], "malformed"),
        ([], b"", ["x", "bearer"], "malformed"),
        ([], b"", ["bearer", "é"], "malformed"),
        ([], b"token=" + b"a" * 9000, [], "too_long"),
        ([], b"token=" + b"%61" * 9000, [], "too_long"),
        ([(AUTH, b"Bearer " + b"a" * 9000)], b"", [], "too_long"),
        ([], b"", ["bearer", "a" * 9000], "too_long"),
    ],
)
def test_what_can_be_no_token(
    headers: list[tuple[bytes, bytes]], query: bytes, subprotocols: list[str], reason: str
) -> None:
    with pytest.raises(InvalidToken) as refusal:
        credentials(headers, query, subprotocols)
    assert refusal.value.reason == reason


def test_a_percent_encoded_token_may_take_three_times_the_room() -> None:
    assert credentials([], b"token=" + b"%61" * 8000).token == "a" * 8000


def test_credentials_do_not_show_themselves() -> None:
    assert JWT not in repr(credentials([], b"token=aaa.bbb.ccc"))


@given(
    st.lists(st.tuples(st.sampled_from([AUTH, b"host", b"origin", b"\xff"]), st.binary())),
    st.binary() | st.binary().map(lambda value: b"token=" + value),
    st.lists(st.text() | st.just("bearer")),
)
def test_no_bytes_break_it(
    headers: list[tuple[bytes, bytes]], query: bytes, subprotocols: list[str]
) -> None:
    try:
        shown = credentials(headers, query, subprotocols)
    except InvalidToken:
        pass
    else:
        assert shown.token is None or shown.token.isascii()
    try:
        value = header(headers, b"origin")
    except Invalid:
        assert sum(name == b"origin" for name, _ in headers) > 1
    else:
        assert value is None or len(value) < 1 << 16


def test_a_header_that_occurs_once() -> None:
    headers = [(b"Host", b" hub.example "), (b"origin", b"http://hub.example")]
    assert header(headers, b"host") == "hub.example"
    assert header(headers, b"origin") == "http://hub.example"
    assert header(headers, b"via") is None


@pytest.mark.parametrize("name", [b"origin", b"host"])
def test_a_header_that_must_not_occur_twice(name: bytes) -> None:
    with pytest.raises(Invalid, match="more than one"):
        header([(name, b"a"), (name.upper(), b"a")], name)
