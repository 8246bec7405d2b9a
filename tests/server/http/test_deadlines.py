"""Nobody keeps a place by being slow, and nobody is hurried who is not."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack

import pytest

from cardume.hub.rejects import Rejects
from cardume.server.front import bounds
from cardume.server.front.gate import SPARED, Gate
from cardume.testing import FakeClock
from tests.server.http.house import CHUNKED, GET, LARGE, Client, House, dialled, opened, post
from tests.support.waiting import until

UPGRADE = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"


async def came(house: House, size: int) -> None:
    await until(lambda: house.body_size() == size, "so much of a body")


async def served(house: House, times: int) -> None:
    await until(lambda: house.state.total_requests == times, "an answer")


async def test_who_says_nothing_is_let_go() -> None:
    async with opened() as house, dialled(house) as client:
        await house.clock.advance(bounds.HEAD_WITHIN - 1)
        assert house.open == 1
        await house.clock.advance(2)
        assert await client.rest() == b""
        assert house.rejects.counts == {}  # browsers do that


async def test_a_head_by_the_byte_has_ten_seconds_in_all() -> None:
    async with opened() as house, dialled(house) as client:
        for byte in GET[:9]:
            await client.send(bytes([byte]))
            await house.clock.advance(1)
        await until(lambda: house.stages() == ["HEAD"], "a head begun")
        await house.clock.advance(2)
        answer = await client.rest()
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"connection: close" in answer
        assert house.rejects.counts == {"slow_head": 1}


async def test_a_later_head_has_ten_seconds_too() -> None:
    async with opened() as house, dialled(house) as client:
        await client.send(GET)
        assert await client.answer() == (200, b"/ ")
        await client.send(GET[:9])
        await until(lambda: house.stages() == ["HEAD"], "a head begun")
        await house.clock.advance(bounds.HEAD_WITHIN - 1)
        assert house.open == 1
        await house.clock.advance(2)
        assert (await client.rest()).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("noise", [b"", b"\r\n"])
async def test_an_idle_connection_is_kept_for_five_seconds(noise: bytes) -> None:
    async with opened() as house, dialled(house) as client:
        await client.send(GET)
        await client.answer()
        await house.clock.advance(3)
        await client.send(GET)
        await client.answer()
        await until(lambda: house.stages() == ["IDLE"], "an answered request")
        for _ in range(7):
            client.push(noise)
            await asyncio.sleep(0)
            await house.clock.advance(1)
        assert await client.rest() == b""


@pytest.mark.parametrize("head", [post(100_000), CHUNKED + b"ffff\r\n"])
async def test_a_body_has_to_go_on(head: bytes) -> None:
    async with opened() as house, dialled(house) as client:
        await client.send(head + b"x")
        await until(lambda: house.stages() == ["BODY"], "a body begun")
        await house.clock.advance(bounds.BODY_WITHIN + 1)
        assert (await client.rest()).startswith(b"HTTP/1.1 408 ")
        assert house.rejects.counts == {"slow_body": 1}
        await until(lambda: house.heard, "what the application heard")
        assert house.heard == [("/", None)]


async def test_a_body_that_goes_on_is_waited_for() -> None:
    piece = b"x" * bounds.MIN_BODY
    async with opened() as house, dialled(house) as client:
        await client.send(post(4 * len(piece)))
        for sent in range(1, 5):
            await client.send(piece)
            await came(house, sent * len(piece))
            if sent < 4:
                await house.clock.advance(bounds.BODY_WITHIN)
        status, body = await client.answer()
        assert (status, len(body)) == (200, 2 + 4 * len(piece))


async def test_a_body_that_nobody_needs_any_more_ends() -> None:
    async with opened() as house, dialled(house) as client:
        await client.send(b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
        assert (await client.answer())[0] == 200
        for _ in range(int(bounds.LINGER) + 1):
            client.push(b"x" * 1000)
            await asyncio.sleep(0)
            await house.clock.advance(1)
        await client.rest()
        await until(lambda: not house.open, "its end")
        assert house.rejects.counts == {"endless_body": 1}


async def test_a_body_that_is_answered_early_and_stays_away_ends() -> None:
    async with opened() as house, dialled(house) as client:
        await client.send(b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
        assert (await client.answer())[0] == 200
        await until(lambda: house.stages() == ["LINGER"], "an early answer")
        await house.clock.advance(bounds.LINGER + 1)
        assert await client.rest() == b""


async def test_a_body_that_is_answered_early_and_comes_keeps_the_connection() -> None:
    async with opened() as house, dialled(house) as client:
        await client.send(b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n1234")
        await client.answer()
        await client.send(b"56789" + GET)
        assert await client.answer() == (200, b"/ ")


async def test_who_does_not_read_its_answer_is_cut() -> None:
    async with opened() as house, dialled(house) as client:
        client.stop_reading()
        await client.send(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        await served(house, 1)
        # Idle to us, but not to be closed before it took what is left; then cut.
        await house.clock.advance(bounds.SEND_WITHIN + 10)
        await until(lambda: not house.open, "its end")
        assert house.rejects.counts == {"slow_http_reader": 1}


async def test_who_does_not_read_a_stream_is_cut() -> None:
    async with opened() as house, dialled(house) as client:
        client.stop_reading()
        await client.send(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(lambda: house.stages() == ["BLOCKED"], "a full buffer")
        await house.clock.advance(bounds.SEND_WITHIN - 1)
        assert house.open == 1
        await house.clock.advance(2)
        await until(lambda: not house.open, "its end")
        assert house.rejects.counts == {"slow_http_reader": 1}


@pytest.mark.parametrize("path", [b"/large", b"/stream"])
async def test_who_reads_slowly_is_not_cut(path: bytes) -> None:
    piece = LARGE // 8
    async with opened() as house, dialled(house) as client:
        await client.send(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        await house.breath()
        size = 0
        for _ in range(7):
            size += len(await client.take(piece))
            await house.clock.advance(bounds.SEND_WITHIN - 5)
        size += len(await client.rest())
        assert size > LARGE
        assert house.rejects.counts == {}


async def test_who_reads_its_answer_may_ask_again() -> None:
    async with opened() as house, dialled(house) as client:
        await client.send(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        status, body = await client.answer()
        assert (status, len(body)) == (200, LARGE)
        await client.send(GET)
        assert await client.answer() == (200, b"/ ")


async def test_a_request_under_way_has_no_deadline() -> None:
    async with opened() as house, dialled(house) as client:
        await client.send(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(lambda: house.stages() == ["BUSY"], "a request under way")
        await house.clock.advance(3600)
        assert len(house.gate) == 0
        house.release.set()
        assert await client.answer() == (200, b"/slow ")


async def test_of_too_many_that_wait_the_oldest_goes() -> None:
    async with (
        opened(max_waiting=3) as house,
        dialled(house) as first,
        dialled(house) as second,
        dialled(house) as third,
    ):
        await house.clock.advance(1)
        await client_comes(house)
        assert house.rejects.counts == {}  # all are young: it may be a crowd that comes back
        await house.clock.advance(SPARED)
        await second.send(GET)
        await second.answer()  # it waits since now
        await client_comes(house)
        assert await first.rest() == b""
        await third.send(GET)
        assert await third.answer() == (200, b"/ ")
        assert house.rejects.counts == {"crowded_out": 1}


async def test_a_crowd_that_says_nothing_goes_as_soon_as_it_is_no_longer_young() -> None:
    async with opened(max_waiting=1) as house, AsyncExitStack() as stack:
        crowd = [await stack.enter_async_context(dialled(house)) for _ in range(5)]
        assert house.open == 5
        await house.clock.advance(SPARED - 1)
        assert house.open == 5
        await house.clock.advance(2)
        await until(lambda: house.open == 1, "room")
        await crowd[-1].send(GET)
        assert await crowd[-1].answer() == (200, b"/ ")


async def test_not_even_the_young_may_take_everything() -> None:
    async with opened(max_waiting=1, max_crowd=3) as house, AsyncExitStack() as stack:
        crowd = [await stack.enter_async_context(dialled(house)) for _ in range(3)]
        await client_comes(house)
        assert await crowd[0].rest() == b""
        assert house.rejects.counts == {"crowded_out": 1}


async def client_comes(house: House) -> None:
    client = Client(*await asyncio.open_connection("127.0.0.1", house.port))
    await client.send(GET)
    await client.answer()
    client.close()


async def test_what_asks_for_another_protocol_is_answered_and_closed() -> None:
    async with opened() as house, dialled(house) as client:
        await client.send(UPGRADE)
        assert await client.answer() == (200, b"/ ")
        assert await client.rest() == b""


class Silent:
    """Says nothing."""

    def __init__(self) -> None:
        self.asked = 0

    def overdue(self) -> float | None:
        self.asked += 1
        return None

    def evict(self) -> None:
        raise AssertionError


class Halting(FakeClock):
    """Time that passes while no timer fires."""

    lost = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.lost


async def test_nobody_pays_for_a_loop_that_stood_still() -> None:
    clock = Halting()
    gate, silent = Gate(clock, Rejects(logging.getLogger("tests"), clock)), Silent()
    gate.expect(silent, 10)
    clock.lost = 30
    await clock.advance(1)
    assert silent.asked == 0  # what it said may wait to be read
    await clock.advance(1)
    assert silent.asked == 1
    assert len(gate) == 0
