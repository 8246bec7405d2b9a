"""What only the memory engine promises: its memory is bounded."""

from __future__ import annotations

import gc
import tracemalloc

import pytest

from cardume.clock import SystemClock
from cardume.engines import engine_from_url
from cardume.engines import memory as memory_module
from cardume.engines.base import Retention
from cardume.engines.memory import MemoryEngine
from cardume.errors import ConfigurationError, Unavailable
from cardume.testing import FakeClock
from cardume.wire.messages import Position, Publication

KEEP = Retention(100, 600.0)
SAID = Publication(data=b'{"value":1}', time=1.0)


def test_an_engine_is_chosen_by_its_url() -> None:
    assert isinstance(engine_from_url("memory://", SystemClock()), MemoryEngine)
    with pytest.raises(ConfigurationError, match="memory://"):
        engine_from_url("carrier-pigeon://", SystemClock())


@pytest.mark.parametrize("url", ["redis://me:hunter2@localhost/0", "redis://me:hunter2@[", "redis"])
def test_an_engine_that_there_is_not_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"there is memory://") as refused:
        engine_from_url(url, SystemClock())
    assert "hunter2" not in str(refused.value)


async def test_the_memory_of_10_000_idle_channels_is_released() -> None:
    clock = FakeClock()
    engine = MemoryEngine(clock)
    tracemalloc.start()
    try:
        await engine.publish("busy", SAID, KEEP)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for n in range(10_000):
            await engine.publish(f"room:{n}", SAID, KEEP)
        full = tracemalloc.get_traced_memory()[0] - before
        await clock.advance(3600 + KEEP.ttl * 10)
        for _ in range(10_000 + 256):
            await engine.publish("busy", SAID, KEEP)
        gc.collect()
        left = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert full > 2_000_000
    assert left < full / 20


async def test_a_forgotten_channel_comes_back_in_another_epoch() -> None:
    clock = FakeClock()
    engine = MemoryEngine(clock)
    old = await engine.publish("room:1", SAID, KEEP)
    await clock.advance(100_000)
    for _ in range(512):
        await engine.publish("busy", SAID, KEEP)
    replay = await engine.replay("room:1", old, KEEP, 300)
    assert replay.publications is None
    assert replay.top.epoch != old.epoch


async def test_a_subscribed_channel_is_not_forgotten() -> None:
    clock = FakeClock()
    engine = MemoryEngine(clock)
    await engine.subscribe("room:1")
    old = await engine.publish("room:1", SAID, KEEP)
    await clock.advance(100_000)
    for _ in range(512):
        await engine.publish("busy", SAID, KEEP)
    assert await engine.publish("room:1", SAID, KEEP) == Position(old.epoch, 2)


async def test_keys_are_bounded_and_refused_rather_than_risked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory_module, "MAX_KEYS", 10)
    clock = FakeClock()
    engine = MemoryEngine(clock)
    for n in range(10):
        await engine.publish("a", SAID, KEEP, f"k{n}")
    with pytest.raises(Unavailable):
        await engine.publish("a", SAID, KEEP, "one too many")
    assert (await engine.publish("a", SAID, KEEP, "k3")).offset == 4
    await clock.advance(301)
    assert (await engine.publish("a", SAID, KEEP, "one too many")).offset == 11


async def test_what_is_held_by_key_is_not_forgotten_until_it_is_taken_away() -> None:
    clock = FakeClock()
    engine = MemoryEngine(clock)
    keep = Retention(10, 60.0, keys=5)
    held = Publication(data=b"1", time=1.0, key="k")
    old = await engine.publish("room:1", held, keep)

    async def wait() -> None:
        await clock.advance(100_000)
        for _ in range(512):
            await engine.publish("busy", SAID, KEEP)

    await wait()
    top, found = await engine.latest("room:1", keep)
    assert top == old
    assert found
    await engine.publish("room:1", Publication(data=b"null", time=1.0, key="k"), keep)
    await wait()
    assert (await engine.latest("room:1", keep)).top.epoch != old.epoch


async def test_names_that_were_only_asked_for_are_not_kept() -> None:
    clock = FakeClock()
    engine = MemoryEngine(clock)
    for n in range(100):
        first = await engine.history(f"room:{n}", None, KEEP, 10, False)
        assert (await engine.replay(f"room:{n}", None, KEEP, 10)).top == first.top
        assert (await engine.latest(f"room:{n}", KEEP)).top == first.top
    assert len(engine._streams) == 0
    assert await engine.publish("room:7", SAID, KEEP) == Position(
        (await engine.history("room:7", None, KEEP, 0, False)).top.epoch, 1
    )
    assert first.top.epoch == (await engine.publish("room:99", SAID, KEEP)).epoch


async def test_an_empty_channel_is_kept_while_anybody_is_there() -> None:
    clock = FakeClock()
    engine = MemoryEngine(clock)
    await engine.publish("forgotten", SAID, KEEP)
    await engine.subscribe("room:1")
    told = (await engine.replay("room:1", None, KEEP, 10)).top
    await clock.advance(100_000)
    for _ in range(512):
        await engine.publish("busy", SAID, KEEP)
    assert "forgotten" not in engine._streams
    assert (await engine.replay("room:1", told, KEEP, 10)).publications == ()
    await engine.unsubscribe("room:1")
    assert "room:1" not in engine._streams
    assert await engine.publish("room:1", SAID, KEEP) != Position(told.epoch, 1), "another one"


async def test_what_was_said_outlives_the_last_subscriber() -> None:
    engine = MemoryEngine(FakeClock())
    await engine.subscribe("room:1")
    first = await engine.publish("room:1", SAID, KEEP)
    await engine.unsubscribe("room:1")
    assert (await engine.history("room:1", None, KEEP, 10, False)).top == first
