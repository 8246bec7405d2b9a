"""What the hub relies on in every engine. A new driver joins by one entry in `ENGINES`."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable

import pytest

from cardume.clock import Clock
from cardume.engines.base import Engine, KeyReused, Retention, StateFull
from cardume.engines.memory import MemoryEngine
from cardume.testing import FakeClock
from cardume.wire.messages import Position, Publication
from tests.support.waiting import PATIENCE

ENGINES: dict[str, Callable[[Clock], Engine]] = {"memory": MemoryEngine}

KEEP = Retention(10, 60.0)
Delivered = list[tuple[str, Publication, Position]]


def said(text: str = "{}", **more: str) -> Publication:
    return Publication(data=text.encode(), time=1.0, type="said", **more)  # type: ignore[arg-type]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def delivered() -> Delivered:
    return []


@pytest.fixture(params=ENGINES, ids=str)
async def engine(
    request: pytest.FixtureRequest, clock: FakeClock, delivered: Delivered
) -> AsyncIterator[Engine]:
    made = ENGINES[request.param](clock)
    await made.start(lambda *seen: delivered.append(seen))
    await made.subscribe("a:1")
    yield made
    await made.stop()


async def arrived(delivered: Delivered, count: int) -> Delivered:
    """What came, once `count` did: an engine with a network in it takes its time."""
    async with asyncio.timeout(PATIENCE):
        while len(delivered) < count:  # noqa: ASYNC110 - the engine is not ours to hook
            await asyncio.sleep(0.005)
    return delivered


async def test_positions_count_from_one_in_an_epoch(engine: Engine) -> None:
    positions = [await engine.publish("a:1", said(), KEEP) for _ in range(3)]
    assert [position.offset for position in positions] == [1, 2, 3]
    assert len({position.epoch for position in positions}) == 1
    assert re.fullmatch("[A-Za-z0-9]{1,16}", positions[0].epoch)


async def test_channels_do_not_share_positions(engine: Engine) -> None:
    one = await engine.publish("a:1", said(), KEEP)
    other = await engine.publish("a:2", said(), KEEP)
    assert (one.offset, other.offset) == (1, 1)


async def test_a_name_is_taken_to_the_byte(engine: Engine) -> None:
    await engine.publish("a:x", said(), KEEP)
    assert (await engine.publish("a:X", said(), KEEP)).offset == 1
    assert (await engine.publish("A:x", said(), KEEP)).offset == 1


async def test_delivery_is_in_order_and_says_the_position(
    engine: Engine, delivered: Delivered
) -> None:
    positions = [await engine.publish("a:1", said(str(n)), KEEP) for n in range(5)]
    seen = await arrived(delivered, 5)
    assert [channel for channel, _, _ in seen] == ["a:1"] * 5
    assert [position for _, _, position in seen] == positions
    assert [publication.offset for _, publication, _ in seen] == [1, 2, 3, 4, 5]
    assert [publication.data for _, publication, _ in seen] == [b"0", b"1", b"2", b"3", b"4"]


async def test_a_publication_arrives_as_it_was(engine: Engine, delivered: Delivered) -> None:
    given = Publication(
        data=b'{"a":[1,null]}', time=2.5, type="é", source="s", key="k", tags={"t": "v"}
    )
    await engine.publish("a:1", given, KEEP)
    [(_, publication, _)] = await arrived(delivered, 1)
    for field in ("data", "time", "type", "source", "key", "tags"):
        assert getattr(publication, field) == getattr(given, field)


async def test_without_retention_there_is_no_position(engine: Engine, delivered: Delivered) -> None:
    assert await engine.publish("a:1", said(), None) == Position()
    [(_, publication, position)] = await arrived(delivered, 1)
    assert (publication.offset, position) == (0, Position())


async def test_replay_is_whole_or_nothing(engine: Engine) -> None:
    for n in range(15):
        top = await engine.publish("a:1", said(str(n)), KEEP)

    async def missed(position: Position, limit: int = 300) -> list[int] | None:
        replay = await engine.replay("a:1", position, KEEP, limit)
        assert replay.top == top
        found = replay.publications
        return None if found is None else [publication.offset for publication in found]

    assert await missed(top) == []
    assert await missed(Position(top.epoch, 12)) == [13, 14, 15]
    assert await missed(Position(top.epoch, 5)) == list(range(6, 16))
    assert await missed(Position(top.epoch, 4)) is None, "5 was trimmed"
    assert await missed(Position(top.epoch, 0)) is None
    assert await missed(Position(top.epoch, 16)) is None, "a position from the future"
    assert await missed(Position(top.epoch, 999_999_999_999_999)) is None
    assert await missed(Position("another", 12)) is None
    assert await missed(Position()) is None
    assert await missed(Position(top.epoch, 12), limit=2) is None


async def test_the_top_of_a_channel_nobody_published_on(engine: Engine) -> None:
    replay = await engine.replay("a:new", None, KEEP, 300)
    assert (replay.top.offset, replay.publications) == (0, None)
    assert replay.top.epoch
    first = await engine.publish("a:new", said(), KEEP)
    assert first == Position(replay.top.epoch, 1), "reading the top made the epoch"


async def test_history_is_read_by_pages(engine: Engine) -> None:
    for n in range(15):
        top = await engine.publish("a:1", said(str(n)), KEEP)

    async def page(
        since: Position | None = None, limit: int = 3, reverse: bool = False
    ) -> list[int] | None:
        read, found = await engine.history("a:1", since, KEEP, limit, reverse)
        assert read == top
        return None if found is None else [publication.offset for publication in found]

    assert await page() == [6, 7, 8]
    assert await page(reverse=True) == [15, 14, 13]
    assert await page(Position(top.epoch, 13)) == [14, 15]
    assert await page(Position(top.epoch, 7), reverse=True) == [6]
    assert await page(limit=0) == []
    assert await page(Position("", 13)) == [14, 15]
    for lost in (Position(top.epoch, 4), Position(top.epoch, 16), Position("another", 13)):
        assert await page(lost) is None


async def test_the_latest_of_each_key(engine: Engine, clock: FakeClock) -> None:
    keep = Retention(2, 60.0, keys=3)
    for key in ("x", "y", "x", "z"):
        top = await engine.publish("a:1", said(f'"{key}"', key=key), keep)
    await clock.advance(61)
    read, found = await engine.latest("a:1", keep)
    assert (read, found and [(p.key, p.offset) for p in found]) == (
        top,
        [("y", 2), ("x", 3), ("z", 4)],
    )
    with pytest.raises(StateFull):
        await engine.publish("a:1", said("1", key="new"), keep, "once")
    await engine.publish("a:1", said("null", key="y"), keep)
    assert await engine.publish("a:1", said("1", key="new"), keep, "once") == Position(
        top.epoch, top.offset + 2
    )
    _, found = await engine.latest("a:1", keep)
    assert found is not None
    assert [p.key for p in found] == ["x", "z", "new"]


async def test_what_is_removed_is_gone_and_offsets_go_on(engine: Engine) -> None:
    keyed = Retention(10, 60.0, keys=10)
    for n in range(3):
        top = await engine.publish("a:1", said(f'"{n}"', key="k"), keyed)
    await engine.remove("a:1")
    before = Position(top.epoch, top.offset - 1)
    assert (await engine.replay("a:1", top, keyed, 10)).publications == ()
    assert (await engine.replay("a:1", before, keyed, 10)).publications is None
    assert (await engine.history("a:1", None, keyed, 10, False)).publications == ()
    assert (await engine.latest("a:1", keyed)).publications == ()
    after = await engine.publish("a:1", said(), keyed)
    assert after == Position(top.epoch, top.offset + 1)
    assert len((await engine.replay("a:1", top, keyed, 10)).publications or ()) == 1
    await engine.remove("a:never")


async def test_an_offset_that_is_left_out_is_no_place_to_resume_from(engine: Engine) -> None:
    keyed = Retention(10, 60.0, keys=10)
    before = await engine.publish("a:1", said("1", key="k"), keyed)
    assert await engine.skip("a:1", keyed) == Position(before.epoch, 2)
    top, missed = await _replayed(engine, before, keyed)
    assert (top, missed) == (Position(before.epoch, 2), None)
    assert (await _replayed(engine, top, keyed))[1] == ()
    after = await engine.publish("a:1", said(), keyed)
    assert after.offset == 3
    assert (await _replayed(engine, before, keyed))[1] is None
    assert [p.offset for p in (await _replayed(engine, top, keyed))[1] or ()] == [3]
    latest = (await engine.latest("a:1", keyed)).publications or ()
    assert [p.key for p in latest] == ["k"]
    assert (await engine.skip("a:never", KEEP)).offset == 1


async def _replayed(
    engine: Engine, since: Position, keep: Retention
) -> tuple[Position, tuple[Publication, ...] | None]:
    replay = await engine.replay("a:1", since, keep, 100)
    return replay.top, replay.publications


async def test_history_ages(engine: Engine, clock: FakeClock) -> None:
    first = await engine.publish("a:1", said(), KEEP)
    await clock.advance(KEEP.ttl + 1)
    replay = await engine.replay("a:1", Position(first.epoch, 0), KEEP, 300)
    assert (replay.top, replay.publications) == (first, None)
    assert (await engine.replay("a:1", first, KEEP, 300)).publications == ()


async def test_the_same_key_adds_nothing(engine: Engine, delivered: Delivered) -> None:
    first = await engine.publish("a:1", said("1"), KEEP, "k")
    assert await engine.publish("a:1", said("1"), KEEP, "k") == first
    second = await engine.publish("a:1", said("2"), KEEP, "other")
    assert second.offset == first.offset + 1
    assert [publication.data for _, publication, _ in await arrived(delivered, 2)] == [b"1", b"2"]


async def test_the_same_key_on_another_channel_is_another_key(engine: Engine) -> None:
    await engine.publish("a:1", said("1"), KEEP, "k")
    assert (await engine.publish("a:2", said("2"), KEEP, "k")).offset == 1


@pytest.mark.parametrize(
    "other",
    [
        said("2"),
        said("1", key="k"),
        said("1", source="s"),
        Publication(data=b"1", time=1.0, type="else"),
        Publication(data=b"1", time=1.0, type="said", tags={"a": "b"}),
    ],
    ids=["data", "key", "source", "type", "tags"],
)
async def test_the_same_key_with_another_body_is_refused(
    engine: Engine, delivered: Delivered, other: Publication
) -> None:
    await engine.publish("a:1", said("1"), KEEP, "k")
    with pytest.raises(KeyReused):
        await engine.publish("a:1", other, KEEP, "k")
    assert (await engine.publish("a:1", said("3"), KEEP)).offset == 2
    assert len(await arrived(delivered, 2)) == 2


async def test_the_time_of_a_repetition_is_no_part_of_its_body(engine: Engine) -> None:
    first = await engine.publish("a:1", said("1"), KEEP, "k")
    later = Publication(data=b"1", time=99.0, type="said")
    assert await engine.publish("a:1", later, KEEP, "k") == first


async def test_a_key_is_free_again_after_five_minutes(engine: Engine, clock: FakeClock) -> None:
    first = await engine.publish("a:1", said("1"), KEEP, "k")
    await clock.advance(299.9)
    assert await engine.publish("a:1", said("1"), KEEP, "k") == first
    await clock.advance(0.2)
    second = await engine.publish("a:1", said("another"), KEEP, "k")
    assert second == Position(first.epoch, 2)


async def test_keys_work_without_history(engine: Engine, delivered: Delivered) -> None:
    for _ in range(2):
        assert await engine.publish("a:1", said("1"), None, "k") == Position()
    await engine.publish("a:1", said("end"), None)
    assert [publication.data for _, publication, _ in await arrived(delivered, 2)] == [b"1", b"end"]


async def test_nothing_is_delivered_after_stop(engine: Engine, delivered: Delivered) -> None:
    await engine.stop()
    await engine.publish("a:1", said(), None)
    assert delivered == []
