from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardume.auth.identity import InvalidToken
from cardume.auth.jws import MAX_TOKEN, read
from cardume.auth.keys import secret_key
from tests.auth.forge import GOOD, SECRET, b64, raw_token, token


def reason(text: str) -> str:
    with pytest.raises(InvalidToken) as refusal:
        read(text)
    return refusal.value.reason


def test_the_example_of_rfc_7515_appendix_a1() -> None:
    signed = read(
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9"
        ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0"
        "cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    )
    key = base64.urlsafe_b64decode(
        "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow=="
    )
    assert signed.alg == "HS256"
    assert secret_key(key).verifies(signed)
    assert not secret_key(SECRET).verifies(signed)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "a",
        "a.b",
        "a.b.",
        ".b.c",
        "a..c",
        "a.b.c",
        "a.b.c.d",
        "a.b.c.d.e",  # a JWE, with or without its zip bomb
        "{}",
        '{"payload":"x","signatures":[]}',
        "é.é.é",
        "\ud800.a.b",
        "a\x00.b.c",
        f"{token()}\n",
        f" {token()}",
        f"{token()}=",
        token().replace(".", ".."),
    ],
)
def test_what_is_no_compact_jws(text: str) -> None:
    assert reason(text) == "malformed"


@pytest.mark.parametrize("value", [None, 5, b"a.b.c", ["a.b.c"], {"token": "a.b.c"}])
def test_what_is_no_text(value: object) -> None:
    assert reason(value) == "malformed"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"[]",
        b"null",
        b"5",
        b"{}",
        b'{"typ":"JWT"}',
        b'{"alg":null}',
        b'{"alg":5}',
        b'{"alg":["HS256"]}',
        b'{"alg":"HS256","kid":5}',
        b'{"alg":"HS256","kid":["a"]}',
        b'{"alg":"HS256"',
        b'{"alg":"HS256"}{}',
        b'\xef\xbb\xbf{"alg":"HS256"}',
        b'{"alg":"\xff"}',
        b'{"alg":"\\ud800"}',
        b'{"alg":"HS256","x":' + b"[" * 3000 + b"]" * 3000 + b"}",
    ],
)
def test_headers_that_are_none(header: bytes) -> None:
    assert reason(raw_token(header, b"{}")) in ("malformed", "too_long")


@pytest.mark.parametrize(
    "extension",
    [
        {"crit": ["exp"]},
        {"crit": ["b64"], "b64": True},
        {"crit": []},
        {"crit": None},
        {"crit": "b64"},
        {"crit": ["http://example.com/UNDEFINED"], "http://example.com/UNDEFINED": True},
        {"b64": False},
        {"b64": False, "crit": ["b64"]},
        {"b64": None},
        {"b64": 0},
    ],
)
def test_an_extension_that_must_be_understood(extension: dict[str, object]) -> None:
    assert reason(token(header=extension)) == "critical_extension"


def test_a_detached_payload() -> None:
    head = b64(b'{"alg":"HS256","b64":false,"crit":["b64"]}')
    assert reason(f"{head}..{b64(bytes(32))}") == "malformed"


def test_the_cap_comes_before_the_parser() -> None:
    assert reason("#" * (MAX_TOKEN + 1)) == "too_long"
    assert reason(token({**GOOD, "x": "y" * MAX_TOKEN})) == "too_long"
    fits = token({**GOOD, "x": "y" * 5900})
    assert len(fits) <= MAX_TOKEN
    assert read(fits).alg == "HS256"


def test_one_token_has_one_spelling() -> None:
    good = token()
    assert read(good)
    head, payload, signature = good.split(".")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    # 32 bytes leave two spare bits in the last of 43 characters.
    twin = alphabet[alphabet.index(signature[-1]) ^ 1]
    assert reason(f"{head}.{payload}.{signature[:-1]}{twin}") == "malformed"


def test_what_a_token_says_about_its_key_is_not_read() -> None:
    brought = {"jku": "http://127.0.0.1:1/", "x5u": "file:///x", "jwk": {"kty": "oct"}, "x5c": [1]}
    assert read(token(header=brought)) == read(token(header=brought))
    assert "jku" not in read(token(header=brought))._fields


@given(st.text(max_size=200))
def test_no_text_breaks_it(text: str) -> None:
    with pytest.raises(InvalidToken):
        read(text)


@given(st.binary(max_size=200), st.binary(max_size=200), st.binary(max_size=80))
def test_no_segments_break_it(header: bytes, payload: bytes, signature: bytes) -> None:
    with pytest.raises(InvalidToken):
        read(f"{b64(header)}.{b64(payload)}.{b64(signature)}")


_json = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=10), inner),
    max_leaves=10,
)


@given(st.fixed_dictionaries({}, optional={name: _json for name in ("alg", "kid", "crit", "b64")}))
def test_no_header_breaks_it(header: dict[str, object]) -> None:
    try:
        signed = read(raw_token(json.dumps(header).encode(), b"{}"))
    except InvalidToken:
        return
    assert isinstance(signed.alg, str)
    assert signed.kid is None or isinstance(signed.kid, str)
    assert "crit" not in header
