"""Readings entered by hand, and the history of a metric."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from sqlalchemy import insert

from cardume.storage.tables import readings, sensors
from cardume.wire.messages import rfc3339
from tests.support.databases import on_both
from tests.support.tank import Tank, data

pytestmark = on_both


async def test_a_manual_reading_is_announced_and_is_no_sign_of_life(tank: Tank) -> None:
    await tank.read("probe")
    await tank.passes(299)
    peer = await tank.listen(1)
    body = {"metric": "nitrate", "value": 5, "note": "Salifert"}
    made = await tank.ok("POST", "/aquariums/1/readings", body)
    assert data(peer.of_type("reading")) == [made]
    assert (made["origin"], made["entered_by"], made["note"], made["unit"]) == (
        "manual",
        "ana",
        "Salifert",
        "mg/L",
    )
    assert "device_id" not in made
    await tank.passes(1)
    assert (await tank.status("probe"))["status"] == "offline"
    metrics = (await tank.ok("GET", "/aquariums/1/overview"))["metrics"]
    assert [m["origin"] for m in metrics if m["metric"] == "nitrate"] == ["manual"]


async def test_an_old_notebook_does_not_move_the_latest_value(tank: Tank) -> None:
    now = tank.clock.now()
    for value, at in ((5, now), (9, now - 3000 * 86_400)):
        body = {"metric": "nitrate", "value": value, "measured_at": rfc3339(at)}
        await tank.ok("POST", "/aquariums/1/readings", body)
    metrics = (await tank.ok("GET", "/aquariums/1/overview"))["metrics"]
    assert [m["value"] for m in metrics if m["metric"] == "nitrate"] == [5]


@pytest.mark.parametrize(
    "wrong",
    [
        {"metric": "No"},
        {"metric": ""},
        {"value": "five"},
        {"value": None},
        {"value": float("inf")},
        {"value": 10**400},
        {"unit": "x" * 17},
        {"note": "x" * 2001},
        {"measured_at": "2026-11-20"},
        {"measured_at": "2026-11-20T10:00:00"},
        {"measured_at": "1970-01-01T00:00:00Z"},
        {"measured_at": "2099-01-01T00:00:00Z"},
        {"measured_at": 1e300},
    ],
)
async def test_a_wrong_reading_is_refused(tank: Tank, wrong: dict[str, Any]) -> None:
    headers = {"Authorization": f"Bearer {tank.token()}", "Content-Type": "application/json"}
    content = json.dumps({"metric": "ph", "value": 8, **wrong})
    response = await tank.client.post(
        "/api/v1/aquariums/1/readings", content=content, headers=headers
    )
    # Numbers beyond a double are no JSON of ours.
    assert response.status_code in (400, 422)
    assert await tank.rows(readings) == []


async def test_metrics_by_hand_are_bounded_too(tank: Tank) -> None:
    rows = [
        {"aquarium_id": 1, "name": "manual", "metric": f"m{n}", "source": f"/m{n}/manual",
         "created_at": 0.0}
        for n in range(256)
    ]  # fmt: skip
    async with tank.storage.write() as tx:
        await tx.execute(insert(sensors), rows)
    await tank.app.catalogue.load()
    body = {"metric": "one-more", "value": 1}
    assert (await tank.call("POST", "/aquariums/1/readings", body)).status_code == 409
    await tank.ok("POST", "/aquariums/1/readings", {"metric": "m0", "value": 1})


async def history(tank: Tank, **query: Any) -> dict[str, Any]:
    params = {"metric": "temperature", **query}
    headers = {"Authorization": f"Bearer {tank.token()}"}
    response = await tank.client.get("/api/v1/aquariums/1/readings", params=params, headers=headers)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


async def fill(tank: Tank, count: int) -> list[tuple[float, float]]:
    """`count` readings at random times of the last hour, some at the very same moment."""
    chance = random.Random(7)
    now = tank.clock.now()
    series = [(now - chance.randrange(3600), round(chance.gauss(25, 3), 2)) for _ in range(count)]
    series += [(now, 1.0), (now - 3600, 99.0)]
    message = [{"metric": "temperature", "value": v, "ts": t, "id": str(n)}
               for n, (t, v) in enumerate(series)]  # fmt: skip
    for start in range(0, len(message), 200):
        await tank.hear("probe", "reading", {"readings": message[start : start + 200]})
    return sorted(series)


async def test_raw_history_is_paged_oldest_first(tank: Tank) -> None:
    series = await fill(tank, 500)
    found: list[dict[str, Any]] = []
    cursor: dict[str, Any] = {}
    while True:
        page = await history(tank, limit=37, **cursor)
        assert page["resolution"] == 0
        found += page["items"]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert [point["measured_at"] for point in found] == [rfc3339(at) for at, _ in series]
    assert sorted(p["value"] for p in found) == sorted(value for _, value in series)
    assert len({point["id"] for point in found}) == len(series)


@pytest.mark.parametrize("points", [1, 2, 7, 60, 300])
async def test_downsampling_agrees_with_brute_force(tank: Tank, points: int) -> None:
    series = await fill(tank, 800)
    since, until = tank.clock.now() - 3600, tank.clock.now()
    found = await history(tank, points=points, **{"from": rfc3339(since), "to": rfc3339(until)})
    width = 3600 / points
    assert found["resolution"] == pytest.approx(width)
    buckets: dict[int, list[float]] = {}
    for at, value in series:
        buckets.setdefault(min(int((at - since) / width), points - 1), []).append(value)
    assert len(found["items"]) == len(buckets) <= points
    for point, (number, values) in zip(found["items"], sorted(buckets.items()), strict=True):
        assert point["measured_at"] == rfc3339(since + number * width)
        assert (point["min"], point["max"]) == (min(values), max(values))
        assert point["mean"] == pytest.approx(sum(values) / len(values))
        assert point["count"] == len(values)


async def test_few_readings_are_not_downsampled(tank: Tank) -> None:
    await fill(tank, 10)
    found = await history(tank, points=12)
    assert found["resolution"] == 0
    assert len(found["items"]) == 12


async def test_many_readings_of_one_moment_are_one_point(tank: Tank) -> None:
    now = tank.clock.now()
    for n in range(5):
        await tank.hear("probe", "reading", {"temperature": n, "ts": now, "id": str(n)})
    moment = rfc3339(now)
    found = await history(tank, points=2, **{"from": moment, "to": moment})
    (point,) = found["items"]
    assert (point["min"], point["mean"], point["max"], point["count"]) == (0.0, 2.0, 4.0, 5)


async def test_the_last_day_unless_asked_for_more(tank: Tank) -> None:
    now = tank.clock.now()
    for n, age in enumerate((0, 86_399, 86_401)):
        await tank.hear("probe", "reading", {"temperature": n, "ts": now - age})
    assert [p["value"] for p in (await history(tank))["items"]] == [1, 0]
    longer = await history(tank, **{"from": rfc3339(now - 90_000)})
    assert len(longer["items"]) == 3


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"metric": "No"},
        {"metric": "ph", "points": 0},
        {"metric": "ph", "points": 5001},
        {"metric": "ph", "from": "yesterday"},
        {"metric": "ph", "from": "2026-11-20T10:00:00"},
        {"metric": "ph", "from": "2026-11-20T10:00:00Z", "to": "2026-11-19T10:00:00Z"},
        {"metric": "ph", "cursor": "bm90aGluZw"},
        {"metric": "ph", "cursor": "WzEsIDk5OTk5OTk5OTk5OTk5OTk5OTk5XQ=="},
    ],
)
async def test_a_wrong_question_is_422(tank: Tank, query: dict[str, Any]) -> None:
    headers = {"Authorization": f"Bearer {tank.token()}"}
    response = await tank.client.get("/api/v1/aquariums/1/readings", params=query, headers=headers)
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"


async def test_one_sensor_of_a_metric_can_be_asked_for(tank: Tank) -> None:
    for sensor, value in (("left", 20.0), ("right", 30.0), ("left", 22.0)):
        reading = {"metric": "oxygen", "value": value, "sensor": sensor}
        await tank.hear("probe", "reading", reading)
    overview = await tank.ok("GET", "/aquariums/1/overview")
    left = next(m["sensor_id"] for m in overview["metrics"] if m["sensor"] == "left")
    path = f"/aquariums/1/readings?metric=oxygen&sensor_id={left}"
    assert [item["value"] for item in (await tank.ok("GET", path))["items"]] == [20.0, 22.0]
    (bucket,) = (await tank.ok("GET", f"{path}&points=1"))["items"]
    assert (bucket["min"], bucket["max"], bucket["count"]) == (20.0, 22.0, 2)
