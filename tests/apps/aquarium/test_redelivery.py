"""The identity of a reading: stored once and announced once, whatever the wire repeats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from cardume.apps.aquarium import redelivery
from cardume.apps.aquarium.redelivery import SETTLED_AFTER, SETTLED_KEPT
from cardume.errors import Unavailable
from cardume.storage.tables import inflight, readings
from tests.support.tank import Tank, data

NAMELESS = {"metric": "temperature", "value": 25.0}


async def count(tank: Tank) -> int:
    return len(await tank.rows(readings))


@pytest.mark.parametrize("named", [{"id": "r-1"}, {"ts": 1_794_999_990}, {"id": 7, "ts": 1}])
@pytest.mark.parametrize("qos", [0, 1])
async def test_a_reading_with_a_name_is_stored_once_however_it_comes_again(
    tank: Tank, named: dict[str, Any], qos: int
) -> None:
    peer = await tank.listen(1)
    reading = {**NAMELESS, **named}
    await tank.hear("probe", "reading", reading, qos=qos)
    await tank.hear("probe", "reading", reading, qos=qos)
    await tank.hear("probe", "reading", reading, dup=True, session="another")
    await tank.app.ingest([tank.message("probe", "reading", reading) for _ in range(3)])
    assert await count(tank) == 1 == len(peer.of_type("reading"))


async def test_names_are_each_devices_own(tank: Tank) -> None:
    await tank.device("other", 1)
    for device in ("probe", "other"):
        await tank.hear(device, "reading", {**NAMELESS, "id": "1"})
    assert await count(tank) == 2


async def test_one_ts_names_each_metric_and_sensor_apart(tank: Tank) -> None:
    items = [
        {"metric": "temperature", "value": 1, "sensor": "a"},
        {"metric": "temperature", "value": 1, "sensor": "b"},
        {"metric": "ph", "value": 1},
    ]
    for _ in range(2):
        await tank.hear("probe", "reading", {"readings": items, "ts": tank.clock.now()})
    assert await count(tank) == 3


async def test_dup_with_the_same_packet_id_and_bytes_is_stored_once(tank: Tank) -> None:
    peer = await tank.listen(1)
    await tank.hear("probe", "reading", NAMELESS, packet_id=5)
    for _ in range(3):
        await tank.hear("probe", "reading", NAMELESS, packet_id=5, dup=True)
    assert await count(tank) == 1 == len(peer.of_type("reading"))
    assert tank.rejected("redelivered") == 3


async def test_dup_of_a_message_in_the_same_batch_is_stored_once(tank: Tank) -> None:
    """While the database was away the device came back and sent it again: both waited."""
    peer = await tank.listen(1)
    await tank.app.ingest(
        [
            tank.message("probe", "reading", NAMELESS, packet_id=5),
            tank.message("probe", "reading", NAMELESS, packet_id=6),
            tank.message("probe", "reading", NAMELESS, packet_id=5, dup=True),
        ]
    )
    assert await count(tank) == 2 == len(peer.of_type("reading"))


async def test_without_dup_it_is_another_reading(tank: Tank) -> None:
    for _ in range(2):
        await tank.hear("probe", "reading", NAMELESS, packet_id=5)
    assert await count(tank) == 2


async def test_dup_of_what_never_came_is_stored(tank: Tank) -> None:
    await tank.hear("probe", "reading", NAMELESS, packet_id=5, dup=True)
    assert await count(tank) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"payload": {"metric": "temperature", "value": 26.0}},
        {"session": "probe/else"},
        {"packet_id": 6},
        {"what": "sensor/temperature", "payload": 25.0},
    ],
)
async def test_other_bytes_session_or_packet_id_are_another_message(
    tank: Tank, other: dict[str, Any]
) -> None:
    first: dict[str, Any] = {"what": "reading", "payload": NAMELESS, "packet_id": 5}
    await tank.hear("probe", **first)
    await tank.hear("probe", **{**first, **other}, dup=True)
    assert await count(tank) == 2


async def test_a_packet_id_used_again_names_the_new_message(tank: Tank) -> None:
    newer = {**NAMELESS, "value": 26.0}
    await tank.hear("probe", "reading", NAMELESS, packet_id=5)
    await tank.hear("probe", "reading", newer, packet_id=5)
    await tank.hear("probe", "reading", newer, packet_id=5, dup=True)
    assert [row["value"] for row in await tank.rows(readings)] == [25.0, 26.0]


async def test_after_a_restart_it_is_still_stored_once(database: Path, tank: Tank) -> None:
    await tank.hear("probe", "reading", NAMELESS, packet_id=5)
    async with Tank.running(database, tank.clock) as again:
        peer = await again.listen(1)
        await again.hear("probe", "reading", NAMELESS, packet_id=5, dup=True)
        assert await count(again) == 1
        assert peer.of_type("reading") == []


async def test_a_device_that_was_away_for_an_hour_may_still_ask(tank: Tank) -> None:
    """The PUBACK was lost with the WiFi: the client cannot know, whatever its keepalive is."""
    await tank.hear("probe", "reading", NAMELESS, packet_id=5)
    await tank.passes(3600, step=600)
    await tank.hear("probe", "reading", NAMELESS, packet_id=9)
    await tank.hear("probe", "reading", NAMELESS, packet_id=5, dup=True)
    assert await count(tank) == 2


async def test_what_is_remembered_of_a_session_is_bounded(tank: Tank) -> None:
    for number in range(3 * SETTLED_KEPT):
        await tank.read("probe", packet_id=number + 1)
    assert len(await tank.rows(inflight)) == 3 * SETTLED_KEPT  # all of the last minute
    await tank.passes(SETTLED_AFTER + 1)
    await tank.read("probe", packet_id=60_000)
    held = [row["packet_id"] for row in await tank.rows(inflight)]
    assert held == [*range(2 * SETTLED_KEPT + 1, 3 * SETTLED_KEPT + 1), 60_000]


async def test_what_was_never_asked_for_again_is_forgotten_by_the_sweep(
    tank: Tank, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redelivery, "ABANDONED_AFTER", 600.0)  # a week has too many minutes
    await tank.read("probe")
    await tank.clock.advance(590)
    await tank.app.watch.sweep()
    assert len(await tank.rows(inflight)) == 1
    await tank.clock.advance(20)
    await tank.app.watch.sweep()
    assert await tank.rows(inflight) == []
    await tank.read("probe", packet_id=1)


async def test_qos_0_without_a_name_is_never_deduplicated(tank: Tank) -> None:
    for _ in range(2):
        await tank.read("probe", qos=0)
    assert await count(tank) == 2
    assert await tank.rows(inflight) == []


async def test_what_could_not_be_kept_is_kept_once_there_is_room(tank: Tank) -> None:
    peer = await tank.listen(1)
    async with tank.storage.write() as tx:
        await tx.execute(text("PRAGMA max_page_count=1"))
    batch = [
        tank.message("probe", "reading", {"temperature": 1.0 * n, "x": "y" * 200})
        for n in range(2000)
    ]
    for _ in range(2):
        with pytest.raises(Unavailable):
            await tank.app.ingest(batch)
    assert await count(tank) == 0 == len(peer.of_type("reading"))
    async with tank.storage.write() as tx:
        await tx.execute(text("PRAGMA max_page_count=100000000"))
    await tank.app.ingest(batch)
    assert await count(tank) == 2000
    assert [e["value"] for e in data(peer.of_type("reading"))][:3] == [0.0, 1.0, 2.0]
