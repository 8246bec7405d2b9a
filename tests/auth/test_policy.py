from __future__ import annotations

import time
from functools import cache

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cardume.auth.policy import check_origins, is_local_demo, match, origin_allowed
from cardume.errors import ConfigurationError


@pytest.mark.parametrize(
    ("pattern", "name", "covered"),
    [
        ("cards", "cards", True),
        ("cards", "card", False),
        ("cards", "cards2", False),
        ("Cards", "cards", False),
        ("room:*", "room:7", True),
        ("room:*", "room:", False),
        ("room:*", "rooms:7", False),
        ("*", "room:7", True),
        ("*", "", False),
        ("a*z", "az", False),
        ("a*z", "abz", True),
        ("a*b*c", "a1b2c", True),
        ("a*b*c", "abbc", False),
        ("a*b*c", "abbbc", True),
        ("**", "a", False),
        ("**", "ab", True),
        ("aquarium:*:x", "aquarium:7:x", True),
        ("room.*", "room:7", False),
        ("room:[0-9]", "room:7", False),
        ("room:?", "room:7", False),
        ("", "room:7", False),
    ],
)
def test_match(pattern: str, name: str, covered: bool) -> None:
    assert match(pattern, name) is covered


def _naive(pattern: str, name: str) -> bool:
    @cache
    def go(p: int, n: int) -> bool:
        if p == len(pattern):
            return n == len(name)
        if pattern[p] == "*":
            return any(go(p + 1, end) for end in range(n + 1, len(name) + 1))
        return n < len(name) and pattern[p] == name[n] and go(p + 1, n + 1)

    return go(0, 0)


@given(st.text("ab*", max_size=8), st.text("ab", max_size=10))
@example("a*a", "aa")
@example("*ab*ab*", "xababab".replace("x", "a"))
def test_match_agrees_with_the_naive_model(pattern: str, name: str) -> None:
    assert match(pattern, name) is _naive(pattern, name)


def test_match_is_linear() -> None:
    # A backtracking matcher needs longer than the universe has.
    started = time.thread_time()
    assert not match("*a" * 4000 + "b", "a" * 60_000)
    assert time.thread_time() - started < 1


HOST = "hub.example:8000"


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        (None, HOST, True),
        (None, None, True),
        ("http://hub.example:8000", HOST, True),
        ("https://hub.example:8000", HOST, True),
        ("HTTP://HUB.EXAMPLE:8000", HOST, True),
        ("http://hub.example", "hub.example", True),
        ("http://hub.example:80", "hub.example", True),
        ("http://hub.example", "hub.example:80", True),
        ("https://hub.example", "hub.example:443", True),
        ("https://hub.example", "hub.example", True),
        ("http://[::1]:8000", "[::1]:8000", True),
        ("http://hub.example:8001", HOST, False),
        ("http://hub.example", HOST, False),
        ("http://hub.example", "hub.example:443", False),
        ("http://evil.example:8000", HOST, False),
        ("http://hub.example.evil.example:8000", HOST, False),
        ("http://evilhub.example:8000", HOST, False),
        ("http://hub.example:8000", None, False),
        ("http://hub.example:8000", "", False),
        ("null", HOST, False),
        ("null", "null", False),
        ("", HOST, False),
        ("http://", HOST, False),
        ("hub.example:8000", HOST, False),
        ("//hub.example:8000", HOST, False),
        ("ftp://hub.example:8000", HOST, False),
        ("file://hub.example:8000", HOST, False),
        ("http://hub.example:8000/", HOST, False),
        ("http://hub.example:8000/admin", HOST, False),
        ("http://hub.example:8000?x", HOST, False),
        ("http://hub.example:8000#x", HOST, False),
        ("http://evil.example@hub.example:8000", HOST, False),
        ("http://hub.example:8000@evil.example", HOST, False),
        ("http://hub.example:8000\\@evil.example", HOST, False),
        ("http://hub.example:8000 ", HOST, False),
        (" http://hub.example:8000", HOST, False),
        ("http://hub.example:8000\n", HOST, False),
        ("http://hub.example:8000\x00", HOST, False),
        ("http://hub.example:8000, http://hub.example:8000", HOST, False),
        ("http://hub.example:8000 http://evil.example", HOST, False),
        ("http://hub.example:0", HOST, False),
        ("http://hub.example:99999", HOST, False),
        ("http://hub.example:8000000", HOST, False),
        ("http://hub.example:65535", "hub.example:65535", True),
        ("http://hub.example:65536", "hub.example:65536", False),
        ("http://hub.example:0", "hub.example:0", False),
        ("http://hub.example:\u0668000", HOST, False),
        ("http://h\u00fcb.example:8000", "h\u00fcb.example:8000", False),
        ("http://x/admin?", "x/admin?", False),
        ("http://a@b", "a@b", False),
        ("http://" + "a" * 100_000, "a" * 100_000, False),
    ],
)
def test_same_host_until_configured(origin: str | None, host: str | None, allowed: bool) -> None:
    assert origin_allowed(origin, host, (), scheme="ws") is allowed


@pytest.mark.parametrize("scheme", ["https", "wss"])
def test_a_plain_page_may_not_reach_a_tls_hub(scheme: str) -> None:
    assert not origin_allowed("http://hub.example", "hub.example", (), scheme=scheme)
    assert origin_allowed("https://hub.example", "hub.example", (), scheme=scheme)


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://good.com", True),
        ("HTTPS://Good.COM", True),
        ("https://good.com:443", True),
        ("https://app.test:8443", True),
        ("capacitor://localhost", True),
        (None, True),
        ("http://good.com", False),
        ("https://good.com:8443", False),
        ("https://good.com.evil.com", False),
        ("https://evilgood.com", False),
        ("https://evil.com/https://good.com", False),
        ("https://sub.good.com", False),
        ("https://app.test", False),
        ("http://hub.example:8000", False),  # ours, and not listed
        ("null", False),
        ("", False),
    ],
)
def test_a_configured_list_is_exact(origin: str | None, allowed: bool) -> None:
    entries = ("https://good.com", "https://app.test:8443", "capacitor://localhost", "null", "bad")
    assert origin_allowed(origin, HOST, entries, scheme="https") is allowed


@pytest.mark.parametrize("origin", [None, "null", "https://any.example", "chrome-extension://x"])
def test_a_star_is_any(origin: str | None) -> None:
    assert origin_allowed(origin, HOST, ("https://good.com", "*"), scheme="https")


@given(st.text(max_size=60), st.none() | st.text(max_size=60))
def test_no_text_breaks_it(origin: str, host: str | None) -> None:
    for allowed in ((), ("https://good.com",)):
        assert origin_allowed(origin, host, allowed, scheme="http") in (True, False)
    assert is_local_demo("127.0.0.1", host, origin, ()) in (True, False)


def test_settings_learn_of_an_entry_that_would_never_match() -> None:
    assert check_origins(["https://good.com", "*"]) == ("https://good.com", "*")
    for entry in ("https://good.com/", "good.com", "null", ""):
        with pytest.raises(ConfigurationError, match="scheme://host"):
            check_origins([entry])


LOCAL = "127.0.0.1:8000"


@pytest.mark.parametrize(
    ("peer", "host", "origin", "let_in"),
    [
        ("127.0.0.1", LOCAL, None, True),
        ("::1", "[::1]:8000", None, True),
        ("127.0.0.1", "localhost:8000", None, True),
        ("127.0.0.1", "LOCALHOST:8000", "http://localhost:8000", True),
        ("127.0.0.1", "localhost", "http://localhost", True),
        ("127.0.0.1", "localhost:80", "http://127.0.0.1", True),
        ("::ffff:127.0.0.1", LOCAL, "http://localhost:8000", True),
        ("127.0.0.1", LOCAL, "http://[::1]:8000", True),
        ("192.168.1.5", LOCAL, None, False),
        ("127.0.0.1.evil.example", LOCAL, None, False),
        ("", LOCAL, None, False),
        (None, LOCAL, None, False),
        ("testclient", LOCAL, None, False),
        ("127.0.0.1", None, None, False),
        ("127.0.0.1", "", None, False),
        ("127.0.0.1", "rebound.example:8000", None, False),
        ("127.0.0.1", "localhost.evil.example:8000", None, False),
        ("127.0.0.1", "evil@localhost:8000", None, False),
        ("127.0.0.1", "localhost:8000/x", None, False),
        ("127.0.0.1", "localhost.:8000", None, False),
        ("127.0.0.1", "0.0.0.0:8000", None, False),
        ("127.0.0.1", "::1", None, False),
        ("127.0.0.1", LOCAL, "http://localhost:3000", False),
        ("127.0.0.1", LOCAL, "http://localhost", False),
        ("127.0.0.1", LOCAL, "https://localhost:8000", False),
        ("127.0.0.1", LOCAL, "http://evil.example:8000", False),
        ("127.0.0.1", LOCAL, "http://localhost.evil.example:8000", False),
        ("127.0.0.1", LOCAL, "null", False),
        ("127.0.0.1", LOCAL, "", False),
        ("127.0.0.1", LOCAL, "file://localhost:8000", False),
    ],
)
def test_the_demo_lets_in_only_this_machine(
    peer: str | None, host: str | None, origin: str | None, let_in: bool
) -> None:
    headers = [(b"host", (host or "").encode()), (b"user-agent", b"x")]
    assert is_local_demo(peer, host, origin, headers) is let_in


@pytest.mark.parametrize(
    "name",
    [
        b"forwarded",
        b"Forwarded",
        b"x-forwarded-for",
        b"X-Forwarded-Host",
        b"x-forwarded-proto",
        b"x-forwarded",
        b"x-real-ip",
        b"via",
        b"cf-connecting-ip",
        b"true-client-ip",
        b"X-Client-IP",
    ],
)
def test_the_demo_lets_in_nobody_through_a_proxy(name: bytes) -> None:
    assert not is_local_demo("127.0.0.1", LOCAL, None, [(b"host", b"x"), (name, b"127.0.0.1")])
