from __future__ import annotations

import asyncio
import logging

import pytest

from cardume.clock import SystemClock
from cardume.errors import Unavailable
from cardume.mqtt.intake import Intake
from cardume.mqtt.ports import Inbound
from cardume.testing import FakeClock
from tests.mqtt.clients import until
from tests.mqtt.conftest import Store


def message(payload: bytes, session: str = "s") -> Inbound:
    return Inbound("t", payload, 1, False, False, session, 1, "p", 0.0)


class Book:
    """Settlements in the order they came."""

    def __init__(self) -> None:
        self.kept: list[bytes] = []
        self.refused: list[bytes] = []

    def settle(self, message: Inbound, kept: bool) -> None:
        (self.kept if kept else self.refused).append(message.payload)


async def test_what_comes_while_a_batch_is_handled_is_the_next_batch() -> None:
    store, book = Store(), Book()
    intake = Intake(store, SystemClock(), max_batch=4)
    intake.start()
    store.open.clear()
    intake.offer(message(b"0"), book.settle)
    await until(lambda: store.entered == 1)
    for number in range(1, 7):
        intake.offer(message(b"%d" % number), book.settle)
    assert book.kept == []
    store.open.set()
    assert await intake.drain(5)
    assert store.batches == [1, 4, 2]
    assert book.kept == store.payloads == [b"%d" % n for n in range(7)]


async def test_a_stream_is_gathered_and_a_lone_message_is_not() -> None:
    clock, store, book = FakeClock(), Store(), Book()
    intake = Intake(store, clock, gather=1.0)
    intake.start()
    intake.offer(message(b"a"), book.settle)
    await until(lambda: book.kept == [b"a"])
    intake.offer(message(b"b"), book.settle)
    await clock.advance(0.5)
    intake.offer(message(b"c"), book.settle)
    assert store.batches == [1]
    await clock.advance(0.5)
    await until(lambda: book.kept == [b"a", b"b", b"c"])
    assert store.batches == [1, 2]
    await clock.advance(1.0)
    intake.offer(message(b"d"), book.settle)
    assert await intake.drain(5)
    assert book.kept[-1] == b"d"


async def test_an_unavailable_handler_is_asked_again_for_as_long_as_it_takes() -> None:
    clock, store, book = FakeClock(), Store(), Book()
    intake = Intake(store, clock)
    intake.start()
    store.faults = [Unavailable("disk full") for _ in range(9)]
    intake.offer(message(b"a"), book.settle)
    await until(lambda: not intake.healthy)
    assert book.kept == []
    await clock.advance(9 * 5.0)
    await until(lambda: book.kept == [b"a"])
    assert intake.healthy
    assert store.entered == 10
    assert intake.stats().retries == 9
    assert await intake.drain(5)


async def test_one_bad_message_goes_alone_and_leaks_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store, book = Store(), Book()
    intake = Intake(store, SystemClock())
    store.poison = b"secret payload"
    with caplog.at_level(logging.DEBUG):
        for payload in (b"a", b"secret payload", b"b"):
            intake.offer(message(payload), book.settle)
        intake.start()
        assert await intake.drain(5)
    assert book.kept == [b"a", b"b"]
    assert book.refused == [b"secret payload"]
    assert intake.stats().poisoned == 1
    assert "ValueError" in caplog.text
    assert "secret" not in caplog.text


async def test_a_failure_that_passes_costs_nothing() -> None:
    store, book = Store(), Book()
    intake = Intake(store, SystemClock())
    store.faults = [RuntimeError("once")]
    for payload in (b"a", b"b"):
        intake.offer(message(payload), book.settle)
    intake.start()
    assert await intake.drain(5)
    assert book.kept == [b"a", b"b"]
    assert not book.refused


async def test_full_asks_for_a_pause_and_half_empty_calls_back_in_turn() -> None:
    store, book = Store(), Book()
    store.open.clear()
    intake = Intake(store, SystemClock(), max_batch=1, max_pending=4)
    intake.start()
    calls: list[str] = []

    def refill(name: str) -> None:
        calls.append(f"{name}{intake.stats().pending}")
        while intake.offer(message(b"x"), book.settle):
            pass

    def first() -> None:
        refill("first")

    def second() -> None:
        refill("second")

    def never() -> None:
        raise AssertionError

    assert [intake.offer(message(b"x"), book.settle) for _ in range(4)] == [True] * 3 + [False]
    intake.when_roomy(first)
    intake.when_roomy(never)
    intake.when_roomy(second)
    intake.forget(never)
    store.open.set()
    await until(lambda: len(calls) == 2)
    assert calls == ["first1", "second1"]
    assert await intake.drain(5)


async def test_drain_gives_up_in_time_and_takes_nothing_more() -> None:
    store, book = Store(), Book()
    store.open.clear()
    intake = Intake(store, SystemClock())
    intake.start()
    intake.offer(message(b"a"), book.settle)
    assert not await intake.drain(0.05)
    assert not intake.offer(message(b"b"), book.settle)
    assert not book.kept
    assert intake.stats().refused == 2
    assert intake.stats().pending == 0


async def test_a_settlement_that_fails_stops_nobody() -> None:
    store, book = Store(), Book()
    intake = Intake(store, SystemClock())

    def broken(message: Inbound, kept: bool) -> None:
        raise RuntimeError

    intake.start()
    intake.offer(message(b"a"), broken)
    intake.offer(message(b"b"), book.settle)
    assert await intake.drain(5)
    assert book.kept == [b"b"]
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "mqtt-intake"]
