"""Whoever comes, at whatever moment, ends with every line once, in order."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cardume.testing import FakeClock
from tests.apps.executions.works import Viewer, Works, lines, seqs
from tests.support.waiting import eventually

RESTART = ("restart", 0)

steps = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(1, 30)),
        st.tuples(st.just("repeat"), st.integers(1, 30)),
        st.tuples(st.just("read"), st.integers(0, 1)),
        st.tuples(st.just("connect"), st.integers(0, 1)),
        st.tuples(st.just("disconnect"), st.integers(0, 1)),
        st.tuples(st.just("scroll"), st.integers(0, 1)),
        st.tuples(st.just("at once"), st.integers(0, 1)),
        st.just(RESTART),
    ),
    max_size=20,
)


@pytest.fixture
async def home(tmp_path: Path) -> tuple[Path, FakeClock]:
    path, clock = tmp_path / "works.db", FakeClock()
    async with Works.running(path, clock):
        return path, clock


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(log=steps, snapshot=st.sampled_from([3, 20, 500]))
async def test_no_line_is_missing_or_doubled_whatever_happens(
    home: tuple[Path, FakeClock],
    monkeypatch: pytest.MonkeyPatch,
    log: list[tuple[str, int]],
    snapshot: int,
) -> None:
    path, clock = home
    with monkeypatch.context() as patch:
        # A snapshot that is shorter than what a viewer misses: it has to fetch what is between.
        patch.setattr("cardume.apps.executions.pages.SNAPSHOT_LINES", snapshot)
        async with Works.running(path, clock) as works:
            id = await works.begin()
        viewers = (Viewer(id), Viewer(id))
        last, left = 0, list(log)
        while True:
            async with Works.running(path, clock) as works:
                while left and (step := left.pop(0)) != RESTART:
                    last = await _do(works, id, viewers, step, last)
                for viewer in viewers:
                    await viewer.take(works)
                    viewer.disconnect()
                if not left:
                    break
        async with Works.running(path, clock) as works:
            await works.ok("POST", f"/executions/{id}/complete")
            for viewer in viewers:
                await viewer.connect(works)
                await viewer.take(works)
                while viewer.lines and not viewer.complete_above:
                    await viewer.scroll(works)
                assert viewer.status == "completed"
                assert viewer.lines == lines(1, last)


async def _do(
    works: Works, id: str, viewers: tuple[Viewer, Viewer], step: tuple[str, int], last: int
) -> int:
    what, value = step
    match what:
        case "write":
            await works.write(id, lines(last + 1, last + value))
            return last + value
        case "repeat":  # an answer was lost: the same again, and some more
            await works.write(id, lines(max(1, last - value), last + 2))
            return last + 2
        case "read":
            await viewers[value].take(works)
        case "connect":
            await viewers[value].connect(works)
        case "disconnect":
            await viewers[value].take(works)
            viewers[value].disconnect()
        case "scroll":
            await viewers[value].scroll(works)
        case "at once":
            await asyncio.gather(
                works.write(id, lines(last + 1, last + 5)),
                viewers[value].connect(works),
                works.write(id, lines(last + 1, last + 5)),
            )
            return last + 5
    assert seqs(viewers[value].lines) == list(range(viewers[value].first, viewers[value].last + 1))
    return last


async def test_viewers_that_come_while_a_runner_writes_all_see_the_same(works: Works) -> None:
    id = await works.begin()
    viewers = [Viewer(id) for _ in range(20)]

    async def runner() -> None:
        for start in range(1, 2001, 50):
            await works.write(id, lines(start, start + 49))
        await works.ok("POST", f"/executions/{id}/complete")

    async def come(viewer: Viewer, after: int) -> None:
        async def far_enough() -> bool:
            return int((await works.get(id))["last_seq"]) >= after

        await eventually(far_enough)
        await viewer.connect(works)

    await asyncio.gather(runner(), *(come(v, n * 90) for n, v in enumerate(viewers)))
    for viewer in viewers:
        await viewer.take(works)
        while not viewer.complete_above:
            await viewer.scroll(works, limit=700)
        assert seqs(viewer.lines) == list(range(1, 2001))
        assert viewer.status == "completed"


async def test_a_snapshot_holds_the_last_500_lines_and_where_they_are(works: Works) -> None:
    id = await works.begin()
    empty = (await works.watch(id)).of_type("snapshot")[0]["data"]
    assert empty == {"execution": await works.get(id), "lines": [], "first_seq": 1, "last_seq": 0}
    await works.write(id, lines(1, 30))
    few = (await works.watch(id)).of_type("snapshot")[0]["data"]
    assert few["lines"] == lines(1, 30)
    for start in range(31, 1231, 400):
        await works.write(id, lines(start, start + 399))
    many = (await works.watch(id)).of_type("snapshot")[0]["data"]
    assert many["lines"] == lines(731, 1230)
    assert (many["first_seq"], many["last_seq"]) == (731, 1230)
    assert many["execution"] == await works.get(id)


async def test_a_snapshot_of_long_lines_leaves_room_in_the_outbox(works: Works) -> None:
    id = await works.begin()
    for start in range(1, 501, 50):
        await works.write(id, lines(start, start + 49, 16_000))
    shown: Any = (await works.watch(id)).transport.frames[0]
    found = seqs(shown["data"]["lines"])
    assert found == list(range(found[0], 501))
    assert 7 <= len(found) <= 17
