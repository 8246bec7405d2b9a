"""The opening handshake: whatever a client asks, it is answered or refused (RFC 6455 §4.2)."""

from __future__ import annotations

import httptools
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cardume.transports import upgrade
from cardume.transports.upgrade import Asked, Refusal

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
HEAD = (
    b"GET /chat?a=b HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Key: %b\r\nSec-WebSocket-Protocol: chat, superchat\r\n"
    b"Sec-WebSocket-Version: 13\r\n" % KEY
)


def offering(*offers: bytes) -> Asked:
    headers = [(b"sec-websocket-extensions", offer) for offer in offers]
    return Asked(b"/", headers, KEY)


def test_the_example_of_the_rfc() -> None:
    """§1.3"""
    asked = upgrade.read(HEAD)
    assert (asked.target, asked.subprotocols) == (b"/chat?a=b", ["chat", "superchat"])
    answer = upgrade.accept(asked, [(b"Sec-WebSocket-Protocol", b"chat")])
    assert answer == (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
        b"Sec-WebSocket-Protocol: chat\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        (b"GET", b"POST", 400),
        (b" HTTP/1.1", b"", 400),
        (b"Version: 13", b"Version: 8", 426),
        (b"Version: 13", b"Version: 13\r\nSec-WebSocket-Version: 13", 426),
        (b"Sec-WebSocket-Version: 13\r\n", b"", 426),
        (KEY, b"", 400),
        (KEY, b"c2hvcnQ=", 400),
        (KEY, KEY[:-1], 400),
        (KEY, b"\xff" * 24, 400),
        (KEY, KEY + b"\r\nSec-WebSocket-Key: " + KEY, 400),
    ],
)
def test_what_is_no_handshake(old: bytes, new: bytes, status: int) -> None:
    with pytest.raises(Refusal) as refused:
        upgrade.read(HEAD.replace(old, new))
    assert refused.value.status == status
    assert (refused.value.headers == [(b"Sec-WebSocket-Version", b"13")]) is (status == 426)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_handshake_or_refused(head: bytes) -> None:
    with pytest.raises(Refusal):
        upgrade.read(head)


@given(st.lists(st.binary(max_size=60).filter(lambda line: b"\r" not in line), max_size=8))
def test_any_other_header_is_carried_along(lines: list[bytes]) -> None:
    own = (b"sec-websocket-version", b"sec-websocket-key")
    more = [line for line in lines if line.partition(b":")[0].lower() not in own]
    asked = upgrade.read(HEAD + b"\r\n".join(more))
    assert upgrade.accept(asked, []).startswith(b"HTTP/1.1 101 ")
    assert all(name == name.lower() for name, _ in asked.headers)
    assert isinstance(asked.subprotocols, list)
    upgrade.compression(asked)


# -- at a glance -------------------------------------------------------------------------------

_HARMLESS = [
    b"Host: x",
    b"Origin:http://a",
    b"X-A:\t a : b \t",
    b"X-B:",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: " + KEY,
]
_ODD = [
    b"upgrade:\tWebSocket \t",
    b"Upgrade: h2c",
    b"Connection: close",
    b"Content-Length: 0",
    b"Content-Length: 5",
    b"Transfer-Encoding: chunked",
    b"Expect: 100-continue",
    b"X : a",
    b" folded",
    b"",
]
_TARGETS = st.sampled_from([b"/", b"/a?b=%20&c=[d]", b"*", b"a", b"//h/p", b"/#f", b"http://h/p"])


class Parsed:
    """What the parser makes of a head that `Http` has to read."""

    def __init__(self, head: bytes) -> None:
        self.target = b""
        self.headers: list[upgrade.Header] = []
        self.complete = self.upgrades = False
        parser = httptools.HttpRequestParser(self)
        try:
            parser.feed_data(head)
        except httptools.HttpParserUpgrade as end:
            self.upgrades = self.complete and end.args[0] == len(head)
        self.upgrades &= (parser.get_method(), parser.get_http_version()) == (b"GET", "1.1")

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        # It leaves a tab at the end, which is none of the value (RFC 9110 §5.5).
        self.headers.append((name.lower(), value.strip(b" \t")))

    def on_message_complete(self) -> None:
        self.complete = True


@given(
    st.sampled_from([b"GET", b"GET", b"get", b"POST"]),
    _TARGETS | st.binary(max_size=20).map(lambda tail: b"/" + tail),
    st.sampled_from([b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0"]),
    st.lists(st.sampled_from(_HARMLESS), max_size=4, unique=True),
    st.none() | st.sampled_from(_ODD) | st.binary(max_size=30),
    st.sampled_from([b"", b"", b"\r\n", b"\x81\x80abcd"]),
)
@example(b"GET", b"/", b"HTTP/1.1", [], None, b"")
def test_a_glance_sees_what_the_parser_sees(
    method: bytes, target: bytes, version: bytes, lines: list[bytes], odd: bytes | None, rest: bytes
) -> None:
    first = b" ".join((method, target, version))
    lines = [b"Upgrade: websocket", *lines, b"Connection: Upgrade", *([odd] if odd else [])]
    head = b"".join(b"%b\r\n" % line for line in [first, *lines, b""]) + rest
    seen = upgrade.glance(head)
    if seen is not None:
        parsed = Parsed(head)
        assert parsed.upgrades
        assert seen == (parsed.target, parsed.headers)


@pytest.mark.parametrize("more", [b"", b"Origin: http://a\r\nCookie: a=b; c=d\r\nX-A:\r\n"])
@pytest.mark.parametrize("wish", [b"Upgrade", b"keep-alive, Upgrade"])
def test_at_a_glance_every_client_is_known(more: bytes, wish: bytes) -> None:
    head = HEAD.replace(b"Connection: Upgrade", b"Connection: " + wish) + more + b"\r\n"
    seen = upgrade.glance(head)
    assert seen is not None
    assert upgrade.check(*seen) == upgrade.read(head)


@pytest.mark.parametrize(
    "odd",
    [
        b"Content-Length: 0",
        b"Transfer-Encoding: chunked",
        b"Expect: 100-continue",
        b"Upgrade: h2c",
        b"Connection: close",
        b"Bad Name: x",
        b"X: \x00",
        b"X: \xff",
        b" folded",
    ],
)
def test_what_is_odd_is_left_to_the_parser(odd: bytes) -> None:
    assert upgrade.glance(HEAD + b"\r\n") is not None
    assert upgrade.glance(HEAD + odd + b"\r\n\r\n") is None
    assert upgrade.glance(HEAD + b"\r\n\x81") is None


# -- compression (RFC 7692 §7.1) ---------------------------------------------------------------

OFFER = st.one_of(
    st.binary(max_size=40),
    st.lists(
        st.sampled_from(
            [
                b"permessage-deflate",
                b"x-webkit-deflate-frame",
                b"client_max_window_bits",
                b"client_max_window_bits=15",
                b"client_max_window_bits=8",
                b"server_max_window_bits",
                b"server_max_window_bits=9",
                b'server_max_window_bits="12"',
                b"server_max_window_bits=16",
                b"server_max_window_bits=9999999999999999999999",
                b"server_no_context_takeover",
                b"client_no_context_takeover=1",
                b"=",
                b"",
            ]
        ),
        max_size=5,
    ).map(b"; ".join),
)


@given(st.lists(OFFER, max_size=3))
def test_any_offer_is_taken_or_left(offers: list[bytes]) -> None:
    agreed = upgrade.compression(offering(*offers))
    if agreed is not None:
        assert 9 <= agreed.bits <= 12
        assert agreed.header.startswith(b"permessage-deflate; server_no_context_takeover")
        assert b"client_no_context_takeover" in agreed.header
        assert b"\r" not in agreed.header


@pytest.mark.parametrize(
    ("offers", "bits"),
    [
        ([b"permessage-deflate"], 12),
        ([b"permessage-deflate; server_max_window_bits=10"], 10),
        ([b"permessage-deflate; server_max_window_bits=15"], 12),
        # §7.1.2.1: 8 is allowed, and zlib cannot; the second offer is a fallback.
        ([b"permessage-deflate; server_max_window_bits=8, permessage-deflate"], 12),
        ([b"x-other", b"permessage-deflate; client_max_window_bits"], 12),
        ([b"permessage-deflate; server_no_context_takeover; unknown"], None),
        ([b"permessage-deflate; server_max_window_bits=10; server_max_window_bits=10"], None),
        ([b"permessage-deflate; server_max_window_bits=07"], None),
        ([b"x-other"], None),
        ([b"permessage-deflate; ;"], None),
        ([], None),
    ],
)
def test_which_offer_is_taken(offers: list[bytes], bits: int | None) -> None:
    agreed = upgrade.compression(offering(*offers))
    assert (None if agreed is None else agreed.bits) == bits


@given(
    st.integers(100, 999),
    st.lists(st.tuples(st.sampled_from([b"X-A", b"Content-Length", b"Connection"]), st.just(b"5"))),
    st.binary(max_size=20),
)
def test_an_answer_says_its_own_length(
    status: int, headers: list[tuple[bytes, bytes]], body: bytes
) -> None:
    head, _, rest = upgrade.refuse(status, headers, body).partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    assert rest == body
    assert lines.count(b"content-length: %d" % len(body)) == 1
    assert sum(line.startswith((b"content-length:", b"connection:")) for line in lines) == 2
