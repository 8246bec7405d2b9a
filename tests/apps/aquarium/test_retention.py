"""What becomes of old readings: hours, in which each of them is counted once, whenever it came."""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, text, update
from sqlalchemy.dialects import sqlite

from cardume.apps.aquarium.measurements import first_id
from cardume.apps.aquarium.retention import BATCH
from cardume.storage.rollups import _ADD, HOUR, SCALE, retire
from cardume.storage.tables import readings, rollups
from cardume.wire.messages import rfc3339
from tests.support.databases import on_both
from tests.support.life import Database
from tests.support.tank import Tank
from tests.support.waiting import eventually, until

KEEP = 90
DAY = 86_400.0
PATH = "/aquariums/1/readings?metric=temperature"

RELAXED = settings(
    deadline=None,
    max_examples=15,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

Summary = tuple[float, float, int]
"""Lowest, highest, how many."""


@dataclass
class Past:
    """Everything that was ever measured: (sensor, time, value)."""

    tank: Tank
    measured: list[tuple[str, float, float]] = field(default_factory=list)

    async def hear(self, sensor: str, age: float, value: float) -> None:
        at = round(self.tank.clock.now() - age, 3)
        if sensor == "manual":
            body = {"metric": "temperature", "value": value, "measured_at": rfc3339(at)}
            await self.tank.ok("POST", "/aquariums/1/readings", body)
        else:
            item = {"metric": "temperature", "value": value, "ts": at, "sensor": sensor}
            message = {**item, "id": f"{len(self.measured)}"}
            await self.tank.hear("probe", "reading", message)
            await self.tank.hear("probe", "reading", message)  # and again
        self.measured.append((sensor, at, value))

    async def retire(self, most: int, *, crash: bool = False) -> None:
        before = first_id(self.tank.clock.now() - KEEP * DAY)
        try:
            async with self.tank.storage.write() as tx:
                await retire(tx, before, most)
                if crash:
                    raise KeyError
        except KeyError:
            pass

    def hours(self) -> dict[int, list[float]]:
        found: dict[int, list[float]] = defaultdict(list)
        for _, at, value in self.measured:
            found[math.floor(at / HOUR)].append(value)
        return found

    def first(self) -> float:
        return min(at for _, at, _ in self.measured)


async def clean(tank: Tank) -> None:
    async with tank.storage.write() as tx:
        await tx.execute(delete(readings))
        await tx.execute(delete(rollups))


sensors = st.sampled_from(["left", "right"])
values = st.integers(-50, 50).map(float) | st.sampled_from([0.1, 1e308, -1e308])
heard = st.tuples(
    st.just("hear"), sensors, st.sampled_from([0.0, 1.0, 1800.0, 3600.0, 86400.0, 29 * DAY]), values
)
steps = st.one_of(
    heard,
    st.tuples(st.just("note"), st.integers(0, 9), st.sampled_from([0.0, 30.0, -3600.0]), values),
    st.tuples(st.just("pass"), st.sampled_from([600.0, 3600.0, DAY, 60 * DAY])),
    st.tuples(st.just("retire"), st.integers(1, 5)),
    st.tuples(st.just("crash"), st.integers(1, 5)),
)
moves = st.tuples(st.just("retire"), st.integers(1, 6)).map(lambda move: [("pass", 91 * DAY), move])
lives = st.tuples(
    st.lists(heard, min_size=1, max_size=8),
    moves,
    st.lists(steps, max_size=8),
    moves,
    st.lists(steps, max_size=8),
).map(lambda parts: [step for part in parts for step in part])
"""Readings that come, in time or late; notes about the hours of some of them; what moves them."""


async def live(past: Past, walk: list[Any]) -> None:
    for what, *more in walk:
        match what:
            case "hear":
                await past.hear(*more)
            case "note":
                number, later, value = more
                _, at, _ = past.measured[number % len(past.measured)]
                age = max(0.0, past.tank.clock.now() - at - later)
                await past.hear("manual", age, value)
            case "pass":
                past.tank.clock.step_wall(more[0])
            case "retire" | "crash":
                await past.retire(more[0], crash=what == "crash")


@on_both
@given(walk=lives)
@RELAXED
async def test_each_reading_is_in_one_place_and_every_hour_is_that_of_all_that_came(
    tank: Tank, walk: list[Any]
) -> None:
    await clean(tank)
    past = Past(tank)
    await live(past, walk)
    kept: dict[int, list[tuple[float, float, float, int]]] = defaultdict(list)
    for row in await tank.rows(readings):
        value = row["value"]
        kept[math.floor(row["measured_at"] / HOUR)].append((value, value, value / SCALE, 1))
    for row in await tank.rows(rollups):
        kept[row["hour"]].append((row["low"], row["high"], row["total"], row["count"]))
    expected = past.hours()
    assert kept.keys() == expected.keys()
    for hour, all_values in expected.items():
        low, high, total, count = zip(*kept[hour], strict=True)
        assert (min(low), max(high), sum(count)) == (
            min(all_values),
            max(all_values),
            len(all_values),
        )
        exact = math.fsum(value / SCALE for value in all_values)
        size = math.fsum(abs(value) / SCALE for value in all_values)
        assert abs(math.fsum(total) - exact) <= 1e-12 * size


edges = st.sampled_from([0.0, -1.0, 1.0, 1800.0, -1800.0, 3600.0])


@on_both
@given(
    walk=lives,
    points=st.integers(1, 40),
    limit=st.integers(1, 7),
    window=st.lists(st.tuples(st.integers(0, 9), edges), min_size=2, max_size=2),
)
@RELAXED
async def test_what_is_asked_for_has_no_seam(
    tank: Tank, walk: list[Any], points: int, limit: int, window: list[tuple[int, float]]
) -> None:
    await clean(tank)
    past = Past(tank)
    await live(past, walk)
    ends = [past.measured[number % len(past.measured)][1] + edge for number, edge in window]
    since, to = min(ends), max(ends)
    asked = f"{PATH}&from={rfc3339(since)}&to={rfc3339(to)}"
    since, to = math.floor(since * 1000) / 1000, math.floor(to * 1000) / 1000
    gone = {row["hour"] for row in await tank.rows(rollups)}
    first, last = math.floor(since / HOUR), math.floor(to / HOUR)

    sampled = await tank.ok("GET", f"{asked}&points={points}")
    assert len(sampled["items"]) <= points
    if any(first <= hour <= last for hour in gone):
        assert sampled["source"] in ("hourly", "mixed")
        expected = [v for h, vs in past.hours().items() if first <= h <= last for v in vs]
        assert sum(item["count"] for item in sampled["items"]) == len(expected)
        assert sampled["resolution"] % HOUR == 0
        check_extremes(sampled["items"], expected)
    else:
        assert sampled["source"] == "raw"
        inside = [value for _, at, value in past.measured if since <= at <= to]
        if sampled["resolution"] == 0:
            assert sorted(item["value"] for item in sampled["items"]) == sorted(inside)
        else:
            assert sum(item["count"] for item in sampled["items"]) == len(inside)

    listed = await pages(tank, f"{asked}&limit={limit}")
    one_by_one = [item for item in listed if "value" in item]
    whole = [item for item in listed if "count" in item]
    raw = [row for row in await tank.rows(readings) if since <= row["measured_at"] <= to]
    assert sorted(item["value"] for item in one_by_one) == sorted(row["value"] for row in raw)
    held = [row for row in await tank.rows(rollups) if first <= row["hour"] <= last]
    assert sum(item["count"] for item in whole) == sum(row["count"] for row in held)
    times = [item["measured_at"] for item in listed]
    assert times == sorted(times)


ages = st.sampled_from([0.0, 1.0, 600.0, 1800.0, 3600.0, 4000.0, 7200.0])


@on_both
@given(
    measured=st.lists(st.tuples(sensors, ages), min_size=1, max_size=12),
    limit=st.integers(1, 4),
    moved=st.lists(st.integers(0, 4), max_size=20),
)
@RELAXED
async def test_nothing_is_lost_that_is_moved_between_two_pages(
    tank: Tank, measured: list[tuple[str, float]], limit: int, moved: list[int]
) -> None:
    await clean(tank)
    past = Past(tank)
    for number, (sensor, age) in enumerate(measured):
        await past.hear(sensor, age, float(number))
    place = {
        row["value"]: (math.floor(row["measured_at"] / HOUR), row["sensor_id"])
        for row in await tank.rows(readings)
    }
    since, to = rfc3339(past.first()), rfc3339(tank.clock.now())
    tank.clock.step_wall((KEEP + 1) * DAY)
    told: set[float] = set()
    path, steps = f"{PATH}&from={since}&to={to}&limit={limit}", iter(moved)
    page = await tank.ok("GET", path)
    for _ in range(200):
        left = {row["value"] for row in await tank.rows(readings)}
        for item in page["items"]:
            if "value" in item:
                told.add(item["value"])
            else:
                shown = (parsed(item["measured_at"]) // HOUR, item["sensor_id"])
                told |= {value for value in place if place[value] == shown} - left
        if page["next"] is None:
            break
        await past.retire(next(steps, 0))
        page = await tank.ok("GET", f"{path}&cursor={page['next']}")
    assert page["next"] is None
    assert told == set(place)


def parsed(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()


async def test_an_hour_that_is_made_while_it_is_read_is_answered_once(tank: Tank) -> None:
    past = Past(tank)
    for number in range(60):
        await past.hear("left", 0.0, float(number))
    tank.clock.step_wall((KEEP + 1) * DAY)
    path = f"{PATH}&from={rfc3339(past.first() - 1)}&to={rfc3339(past.first() + 1)}&limit=20"
    first = await tank.ok("GET", path)
    assert len(first["items"]) == 20
    await past.retire(60)
    second = await tank.ok("GET", f"{path}&cursor={first['next']}")
    assert [item["count"] for item in second["items"]] == [60]
    assert (second["source"], second["next"]) == ("hourly", None)


def check_extremes(items: list[dict[str, Any]], expected: list[float]) -> None:
    if expected:
        assert min(item["min"] for item in items) == min(expected)
        assert max(item["max"] for item in items) == max(expected)
    for item in items:
        slack = 1e-9 * max(abs(item["min"]), abs(item["max"]))
        assert item["min"] - slack <= item["mean"] <= item["max"] + slack


async def pages(tank: Tank, path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    page = await tank.ok("GET", path)
    while True:
        found += page["items"]
        if page["next"] is None:
            return found
        assert len(page["items"]) > 0
        page = await tank.ok("GET", f"{path}&cursor={page['next']}")


# -- one by one -----------------------------------------------------------------------------


@pytest.fixture
async def short(database: Database) -> AsyncIterator[Tank]:
    """As `tank`, with a day of readings one by one."""
    async with Tank.running(database, readings_keep=1) as tank:
        await tank.aquarium()
        await tank.device("probe", 1)
        yield tank


async def test_the_job_moves_what_is_old_and_leaves_the_rest(short: Tank) -> None:
    start = short.clock.now()
    many = [{"metric": "temperature", "value": n, "ts": start - n, "id": n} for n in range(250)]
    await short.hear("probe", "reading", {"readings": many})
    again = [{**item, "id": f"again {item['id']}"} for item in many]
    await short.hear("probe", "reading", {"readings": again})
    assert BATCH < 500
    short.clock.step_wall(DAY - 60)
    await short.read("probe", 30.0)
    assert await short.app.retention.run() == 0
    short.clock.step_wall(120)

    async def moved() -> bool:
        await short.clock.advance(60.0)
        counts = [row["count"] for row in await short.rows(rollups)]
        return bool(sum(counts) == 500)

    await eventually(moved, "500 readings in hours")
    assert [row["value"] for row in await short.rows(readings)] == [30.0]
    short.clock.step_wall(1)
    found = await short.ok("GET", f"{PATH}&from={rfc3339(start - HOUR)}&points=100")
    assert (found["source"], found["resolution"]) == ("mixed", HOUR)
    assert sum(item["count"] for item in found["items"]) == 501
    assert (found["items"][-1]["min"], found["items"][-1]["count"]) == (30.0, 1)


async def test_the_first_look_is_a_minute_after_the_start_and_says_what_it_moved(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "cardume.aquarium")
    async with Tank.running(database, readings_keep=1) as tank:
        await tank.aquarium()
        await tank.device("probe", 1)
        await tank.read("probe", 1.0)
    tank.clock.step_wall(2 * DAY)
    async with Tank.running(database, tank.clock, readings_keep=1) as tank:

        async def none_left() -> bool:
            return await tank.rows(readings) == []

        await tank.passes(50)
        assert len(await tank.rows(readings)) == 1
        await tank.passes(20)
        await eventually(none_left)
        await tank.passes(1)
        assert [r.message for r in caplog.records if "hours" in r.message] == [
            "1 readings became hours"
        ]
        await tank.read("probe", 2.0)
        late = (await tank.rows(readings))[0]["id"] - first_id(tank.clock.now() - 2 * DAY)
        async with tank.storage.write() as tx:  # as if it had come two days ago
            await tx.execute(update(readings).values(id=readings.c.id - late))
        await tank.passes(400, step=50)
        assert len(await tank.rows(readings)) == 1  # the next look is ten minutes later
        await tank.passes(300, step=50)
        await eventually(none_left)


async def test_zero_keeps_everything(database: Database) -> None:
    async with Tank.running(database, readings_keep=0) as tank:
        await tank.aquarium()
        await tank.device("probe", 1)
        await tank.read("probe")
        tank.clock.step_wall(4000 * DAY)
        assert await tank.app.retention.run() == 0
        assert len(await tank.rows(readings)) == 1


async def test_a_clock_that_is_wrong_for_a_moment_costs_no_reading(short: Tank) -> None:
    await short.read("probe")
    run = short.app.retention.run
    short.clock.step_wall(73 * 365 * DAY)
    assert await run() == 0
    short.clock.step_wall(-73 * 365 * DAY)
    assert await run() == 0
    assert await run() == 0
    assert len(await short.rows(readings)) == 1
    short.clock.step_wall(2 * DAY)
    assert await run() == 0
    moving = asyncio.create_task(run())  # now it is believed
    await eventually(lambda: ended(short, moving))
    assert await moving == 1


async def ended(tank: Tank, task: asyncio.Task[int]) -> bool:
    await tank.clock.advance(1.0)
    return task.done()


async def test_an_aquarium_takes_its_hours_with_it(tank: Tank) -> None:
    past = Past(tank)
    await past.hear("left", 0.0, 20.0)
    tank.clock.step_wall((KEEP + 1) * DAY)
    await past.retire(10)
    assert len(await tank.rows(rollups)) == 1
    await tank.ok("DELETE", "/aquariums/1")
    assert await tank.rows(rollups) == []


async def test_one_sensor_can_be_asked_for_after_its_readings_are_gone(tank: Tank) -> None:
    past = Past(tank)
    for sensor, value in (("left", 20.0), ("right", 30.0), ("left", 22.0)):
        await past.hear(sensor, 0.0, value)
    overview = await tank.ok("GET", "/aquariums/1/overview")
    left = next(m["sensor_id"] for m in overview["metrics"] if m["sensor"] == "left")
    at = tank.clock.now()
    tank.clock.step_wall((KEEP + 1) * DAY)
    await past.retire(10)
    path = f"{PATH}&sensor_id={left}&from={rfc3339(at)}"
    for more in ("", "&points=1"):
        found = await tank.ok("GET", path + more)
        assert found["source"] == "hourly"
        (item,) = found["items"]
        assert (item["min"], item["mean"], item["max"], item["count"]) == (20.0, 21.0, 22.0, 2)
        assert item["measured_at"] == rfc3339(at // HOUR * HOUR)


async def test_hours_are_paged_as_readings_are(tank: Tank) -> None:
    past = Past(tank)
    for hour in range(3):
        for sensor in ("left", "right", "manual"):
            await past.hear(sensor, hour * HOUR, float(hour))
    tank.clock.step_wall((KEEP + 1) * DAY)
    await past.retire(6)
    since = rfc3339(past.first() - HOUR)
    listed = await pages(tank, f"{PATH}&from={since}&limit=1")
    assert len({(item["measured_at"], item["sensor_id"]) for item in listed}) == len(listed) == 9
    assert [item["measured_at"] for item in listed] == sorted(i["measured_at"] for i in listed)
    whole = await tank.ok("GET", f"{PATH}&from={since}")
    assert (whole["source"], whole["items"]) == ("mixed", listed)


async def test_values_at_the_end_of_what_a_double_holds_have_a_mean(tank: Tank) -> None:
    past = Past(tank)
    for _ in range(3):
        await past.hear("left", 0.0, 1.7e308)
    for gone in (False, True):
        if gone:
            tank.clock.step_wall((KEEP + 1) * DAY)
            await past.retire(2)
        since = rfc3339(past.first() - 10)
        (item,) = (await tank.ok("GET", f"{PATH}&from={since}&points=1"))["items"]
        assert (item["mean"], item["count"]) == (pytest.approx(1.7e308), 3)


async def test_devices_and_people_notice_nothing_while_old_readings_are_moved(tank: Tank) -> None:
    """There is one writer: whoever waits for it has its turn between two small transactions."""
    now = tank.clock.now()
    await tank.read("probe")
    (row,) = await tank.rows(readings)
    old = first_id(now - 2 * KEEP * DAY)
    rows = [{**row, "id": old + n, "measured_at": now - 2 * KEEP * DAY} for n in range(5 * BATCH)]
    async with tank.storage.write() as tx:
        await tx.execute(insert(readings), rows)
    measured = now - 2 * KEEP * DAY
    path = f"{PATH}&from={rfc3339(measured - 1)}&to={rfc3339(measured + 1)}"
    moving = tank.hub.tasks.spawn(run(tank), "moving")
    stored = 0
    while not moving.done():
        for more in ("&limit=1000", "&points=3"):  # whoever asks sees all of them, once
            items = (await tank.ok("GET", path + more))["items"]
            assert sum(item.get("count", 1) for item in items) == 5 * BATCH
        await tank.read("probe", float(stored))
        stored += 1
        await tank.clock.advance(0.01)
    assert stored >= 5
    await until(lambda: moving.done())
    assert sum(r["count"] for r in await tank.rows(rollups)) == 5 * BATCH


async def run(tank: Tank) -> None:
    await tank.app.retention.run()


async def test_no_batch_reads_more_than_itself(tank: Tank) -> None:
    """Without statistics SQLite is quick to read a whole index for the order of some groups."""
    sql = str(_ADD["sqlite"].compile(dialect=sqlite.dialect(paramstyle="named")))
    query = text(f"EXPLAIN QUERY PLAN {sql}")
    async with tank.storage.write() as tx:
        plan = (await tx.execute(query, {"first": 1, "last": 2})).all()
    (read,) = [row.detail for row in plan if " readings " in row.detail]
    assert read.startswith("SEARCH readings USING INTEGER PRIMARY KEY")
