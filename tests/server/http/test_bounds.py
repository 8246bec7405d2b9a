"""What a request may be made of, and what is said to whatever is none."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import httptools
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cardume.server.front import bounds
from cardume.server.front.protocols import Http
from cardume.server.front.reply import Reply
from tests.server.http.house import CHUNKED, GET, House, dialled, opened, post
from tests.support.waiting import until

SLOW = b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"
HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


def with_headers(*lines: bytes) -> bytes:
    return b"".join((b"GET / HTTP/1.1\r\nHost: x\r\n", *lines, b"\r\n"))


async def answer_to(*pieces: bytes) -> tuple[bytes, House]:
    """All that is said to these bytes, which never reach the application."""
    async with opened() as house, dialled(house) as client:
        for piece in pieces:
            client.push(piece)
        said = await client.rest()
        assert house.heard == []
        return said, house


@pytest.mark.parametrize(
    ("status", "request_"),
    [
        (b"431", with_headers(b"X: %b\r\n" % (b"x" * 9000))),
        (b"431", with_headers(*(b"X%d: 1\r\n" % n for n in range(150)))),
        (b"431", with_headers(*(b"X%d: %b\r\n" % (n, b"x" * 6000) for n in range(6)))),
        (b"431", b"GET / HTTP/1.1\r\nX: " + b"x" * 200_000),
        (b"431", b"GET / HTTP/1.1\r\n" + b"X: x\r\n" * 50_000),
        (b"431", b"GET /" + b"x" * 200_000),
        (b"414", b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"),
        (b"400", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200),  # TLS
        (b"400", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        (b"400", b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n"),
        (b"400", b"GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n"),
        (b"400", b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n"),
        (b"400", post(3)[:-2] + b"Content-Length: 4\r\n\r\nabcd"),
        (b"400", post(3)[:-2] + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        (b"400", HANDSHAKE.replace(b"GET", b"POST")),
        (b"400", HANDSHAKE.replace(b"HTTP/1.1", b"HTTP/1.0")),
        (b"400", HANDSHAKE + b"\x81\x80\x00\x00\x00\x00"),
    ],
)
@pytest.mark.parametrize("pieces", [1, 7])
async def test_what_is_too_much_or_none_is_told_so(
    status: bytes, request_: bytes, pieces: int
) -> None:
    size = -(-len(request_) // pieces)
    cut = [request_[at : at + size] for at in range(0, len(request_), size)]
    said, house = await answer_to(*cut)
    assert said.startswith(b"HTTP/1.1 " + status)
    assert b"connection: close\r\n" in said
    assert b'"detail"' in said
    assert house.rejects.counts.total() == 1


async def test_a_head_just_within_the_bounds() -> None:
    lines = [b"X%02d: %b\r\n" % (n, b"x" * 7900) for n in range(4)]
    async with opened() as house, dialled(house) as client:
        for request in (with_headers(*lines), b"GET /" + b"x" * 7000 + GET[5:]):
            for piece in (request[:20_000], request[20_000:]):
                await client.send(piece)
            assert (await client.answer())[0] == 200


@pytest.mark.parametrize(
    "endless",
    [b"1;" + b"x" * 300_000, b"0\r\nX: " + b"x" * 300_000, b"0\r\n" + b"X: x\r\n" * 50_000],
)
async def test_a_body_of_which_nothing_is_body(endless: bytes) -> None:
    async with opened() as house, dialled(house) as client:
        client.push(CHUNKED + endless)
        assert (await client.rest()).startswith(b"HTTP/1.1 400 ")
        await until(lambda: house.heard == [("/", None)], "what the application heard")


async def test_trailers_are_no_headers() -> None:
    async with opened() as house, dialled(house) as client:
        await client.send(CHUNKED + b"1\r\nx\r\n0\r\nX-API-Key: k\r\n\r\n" + GET)
        assert await client.answer() == (200, b"/ x")
        assert await client.answer() == (200, b"/ ")
        assert house.names[0] == [b"host", b"transfer-encoding"]


async def test_many_tiny_chunks_are_a_body() -> None:
    async with opened() as house, dialled(house) as client:
        client.push(CHUNKED + b"1\r\nx\r\n" * 100_000 + b"0\r\n\r\n")
        status, body = await client.answer()
        assert (status, len(body)) == (200, 100_002)


async def test_what_follows_a_request_does_not_take_its_answer() -> None:
    async with opened() as house, dialled(house) as client:
        await client.send(SLOW + b"\x00nonsense")
        await until(lambda: house.rejects.counts["bad_http"] == 1, "a fault")
        house.release.set()
        assert await client.answer() == (200, b"/slow ")
        assert await client.rest() == b""


async def test_requests_that_came_together_are_answered_in_order() -> None:
    async with opened() as house, dialled(house) as client:
        await client.send(SLOW + b"".join(post(2) + b"%02d" % n for n in range(50)))
        house.release.set()
        assert await client.answer() == (200, b"/slow ")
        for n in range(50):
            assert await client.answer() == (200, b"/ %02d" % n)


async def test_thousands_of_requests_that_came_together_are_not_kept() -> None:
    async with opened() as house, dialled(house) as client:
        await client.send(SLOW + GET * 5000)
        await until(lambda: house.rejects.counts["bad_http"] == 1, "a fault")
        (protocol,) = house.state.connections
        assert isinstance(protocol, Http)
        assert len(protocol.pipeline) == bounds.MAX_PIPELINED


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"POST"])
async def test_every_answer_is_whole(method: bytes) -> None:
    async with opened() as house, dialled(house) as client:
        await client.send(method + b" / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        head, _, body = (await client.rest()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert body == (b"" if method == b"HEAD" else b"/ ")


async def test_who_waits_to_be_told_to_go_on_is() -> None:
    async with opened() as house, dialled(house) as client:
        await client.send(post(2)[:-2] + b"Expect: 100-continue\r\n\r\n")
        assert await client.line() == b"HTTP/1.1 100 Continue\r\n"
        await client.line()
        await client.send(b"ab")
        assert await client.answer() == (200, b"/ ab")


async def test_a_fault_within_an_answer_is_no_second_answer() -> None:
    async with opened() as house, dialled(house) as client:
        await client.send(CHUNKED.replace(b" / ", b" /chatty ") + b"1\r\nx\r\n")
        await until(lambda: len(house.state.tasks) == 1, "a request")
        await house.breath()
        await client.send(b"nonsense\r\n")
        said = await client.rest()
        assert b"so far" in said
        assert said.count(b"HTTP/1.1 ") == 1
        assert house.heard == [("/chatty", None)]


class Written(asyncio.Transport):
    """Notes what is written, and when it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        self.writes.append(bytes(data))

    def close(self) -> None:
        self.writes.append(b"(closed)")

    def is_closing(self) -> bool:
        return b"(closed)" in self.writes


@pytest.mark.parametrize(
    ("written", "leaves"),
    [
        ([b"head", b"body"], [b"headbody", b"(closed)"]),
        ([b"head", b"", b"more", b"more"], [b"head", b"more", b"more", b"(closed)"]),
        ([b"HTTP/1.1 100 Continue", b"head", b"HTTP/1.1 100 !"],
         [b"HTTP/1.1 100 Continue", b"headHTTP/1.1 100 !", b"(closed)"]),
        ([b"head"], [b"head", b"(closed)"]),
        ([], [b"(closed)"]),
    ],
)  # fmt: skip
def test_a_head_leaves_with_what_follows_it(written: list[bytes], leaves: list[bytes]) -> None:
    transport = Written()
    reply = Reply(transport)
    for data in written:
        reply.write(data)
    assert not reply.is_closing()
    reply.close()
    assert transport.writes == leaves
    assert reply.is_closing()


async def test_answers_leave_that_way() -> None:
    async with opened() as house, dialled(house) as client:
        for _ in range(2):
            await client.send(GET)
            await client.answer()
            (protocol,) = house.state.connections
            assert type(vars(protocol)["cycle"].transport) is Reply


# -- nonsense -------------------------------------------------------------------------------

_WORDS = st.sampled_from(
    [GET, SLOW, CHUNKED, HANDSHAKE, post(3), b"abc", b"\r\n", b"\r\n\r\n", b"0\r\n\r\n", b"\x00",
     b":", b"GET ", b" HTTP/1.1", b"Host: x\r\n", b"Connection: Upgrade\r\n", b"5;x=y\r\n",
     b"-1\r\n", b"Upgrade: websocket\r\n", b"Upgrade: h2c\r\n", b"Content-Length: 5\r\n",
     b"\xff\xfe", b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n",
     b"HEAD /%ff?%00 HTTP/1.1\r\n"]
)  # fmt: skip
_NONSENSE = st.lists(_WORDS | st.binary(max_size=40), max_size=12)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(pieces=_NONSENSE, whole=st.booleans())
async def test_no_bytes_are_a_fault_of_ours(
    caplog: pytest.LogCaptureFixture, pieces: list[bytes], whole: bool
) -> None:
    async with opened() as house, dialled(house) as client:
        house.release.set()
        for piece in [b"".join(pieces)] if whole else pieces:
            client.push(piece)
            if not whole:
                await house.breath()
        await house.clock.advance(60)
        said = await client.rest()
        assert said == b"" or said.startswith(b"HTTP/1.1 ")
        await until(lambda: not house.open, "its end")
        assert len(house.gate) == 0
    faults = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert faults == []


def test_the_parser_is_as_strict_as_we_count_on() -> None:
    """A space before the colon is how one server sees other headers than the next."""
    parser = httptools.HttpRequestParser(object())
    with pytest.raises(httptools.HttpParserError):
        parser.feed_data(b"POST / HTTP/1.1\r\nContent-Length : 3\r\n\r\nabc")
