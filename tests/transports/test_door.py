"""Who comes in: the handshake's own words, read without trust."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardume.hub.hub import Hub
from cardume.hub.options import HubOptions
from cardume.testing import FakeClock
from cardume.transports.door import Visitor, origin_ok, refuse_before_accept
from cardume.wire.messages import Position
from tests.support.asgi import Socket, scope_of
from tests.support.peers import Nobody


def visitor(query: bytes, **scope: Any) -> Visitor:
    return Visitor(scope_of(query_string=query, **scope))


def make(**options: Any) -> Hub:
    return Hub(auth=Nobody(), clock=FakeClock(), options=HubOptions(**options))


def test_where_a_visitor_resumes_and_what_it_wants() -> None:
    asked = visitor(b"token=x&since=ab12:41&types=reading,alert&types=note")
    assert asked.since == Position("ab12", 41)
    assert asked.types == {"reading", "alert", "note"}
    assert asked.subprotocol is None


@pytest.mark.parametrize("since", [b"x", b"a:b", b"a:-1", b"%00:1", b"a:" + b"9" * 1_000_000])
def test_a_position_that_cannot_be_read_is_an_unknown_one(since: bytes) -> None:
    found = visitor(b"since=" + since).since
    assert found is not None
    assert found.offset == 0
    assert not found.epoch.isalnum(), "no engine has such an epoch"


def test_no_position_is_none() -> None:
    assert visitor(b"").since is None
    assert visitor(b"since=").since is None


def test_a_filter_is_bounded() -> None:
    many = visitor(b"types=" + b",".join(b"t%d" % n for n in range(1000))).types
    assert len(many) == 64
    assert visitor(b"types=" + b"x" * 65).types == frozenset()
    assert visitor(b"types=,,").types == frozenset()


@given(st.binary(max_size=300))
def test_no_query_is_an_exception(query: bytes) -> None:
    asked = visitor(query)
    assert len(asked.types) <= 64


def test_a_thousand_fields_are_not_read() -> None:
    assert visitor(b"&".join(b"types=t%d" % n for n in range(1000))).types == frozenset()


@pytest.mark.parametrize(
    ("origin", "allowed", "ok"),
    [
        (None, (), True),
        (b"http://localhost", (), True),
        (b"http://localhost:80", (), True),
        (b"http://localhost:81", (), False),
        (b"https://evil.example", (), False),
        (b"null", (), False),
        (b"https://good.example", ("https://good.example",), True),
        (b"https://good.example.evil.com", ("https://good.example",), False),
        (b"https://evilgood.example", ("https://good.example",), False),
        (b"http://good.example", ("https://good.example",), False),
        (b"http://localhost", ("https://good.example",), False),
        (b"https://anything.example", ("*",), True),
    ],
)
def test_origins(origin: bytes | None, allowed: tuple[str, ...], ok: bool) -> None:
    headers = [(b"host", b"localhost")]
    if origin is not None:
        headers.append((b"origin", origin))
    assert origin_ok(make(allowed_origins=allowed), scope_of(headers=headers)) is ok


def test_two_origins_are_none() -> None:
    headers = [(b"host", b"localhost"), *[(b"origin", b"http://localhost")] * 2]
    assert not origin_ok(make(), scope_of(headers=headers))


async def knock(hub: Hub, **scope: Any) -> tuple[int | None, dict[bytes, bytes]]:
    socket = Socket()
    done = await refuse_before_accept(hub, scope_of(**scope), socket.receive, socket.send)
    if not done:
        assert socket.sent == []
        return None, {}
    start, body = socket.sent
    assert body["body"]
    return start["status"], dict(start["headers"])


async def test_handshakes_have_a_rate() -> None:
    hub = make(handshakes_per_second=3, handshakes_at_once=3)
    answers = [(await knock(hub))[0] for _ in range(5)]
    assert answers == [None, None, None, 429, 429]
    _status, headers = await knock(hub)
    assert headers[b"retry-after"] == b"2"
    assert hub.rejects.counts == {"too_many_handshakes": 3}
    assert isinstance(hub.clock, FakeClock)
    await hub.clock.advance(1)
    assert (await knock(hub))[0] is None


async def test_a_full_hub_and_a_draining_one() -> None:
    assert (await knock(make(max_connections=0)))[0] == 503
    hub = make()
    hub.draining = True
    status, headers = await knock(hub)
    assert (status, headers[b"retry-after"]) == (503, b"2")


async def test_a_foreign_page_is_not_told_to_come_back() -> None:
    headers = [(b"host", b"localhost"), (b"origin", b"https://evil.example")]
    status, answered = await knock(make(), headers=headers)
    assert status == 403
    assert b"retry-after" not in answered


async def test_a_hostile_address_stays_on_one_line(caplog: pytest.LogCaptureFixture) -> None:
    await knock(make(max_connections=0), client=("evil\n\x1b[31m" + "x" * 1000, 1))
    [record] = caplog.records
    assert "\n" not in record.getMessage()
    assert "\x1b" not in record.getMessage()
    assert len(record.getMessage()) < 300
