from __future__ import annotations

import logging
from typing import Any

import pytest
from msgspec.structs import replace

from cardume.apps.aquarium.measurements import MAX_SENSORS
from cardume.storage.tables import devices, readings, sensors
from cardume.wire.messages import rfc3339
from tests.support.databases import on_both
from tests.support.tank import Tank, data

pytestmark = on_both

DAY = 86_400.0
FIFTY_YEARS = 50 * 366 * DAY


async def stored(tank: Tank) -> list[dict[str, Any]]:
    return await tank.rows(readings)


@pytest.mark.parametrize(
    ("what", "payload", "found"),
    [
        ("reading", {"metric": "temperature", "value": 25.3}, {"temperature": 25.3}),
        ("reading", {"metric": "Temperature", "value": 25, "unit": "F"}, {"temperature": 25.0}),
        ("reading", {"readings": [{"metric": "ph", "value": 8.1}, {"metric": "orp", "value": 3}]},
         {"ph": 8.1, "orp": 3.0}),
        ("reading", {"temperature": 25.3, "ph": 7.1}, {"temperature": 25.3, "ph": 7.1}),
        ("sensor/temperature", b"25.3", {"temperature": 25.3}),
        ("sensor/temperature/state", b" -1e2 ", {"temperature": -100.0}),
    ],
)  # fmt: skip
async def test_every_shape_of_a_reading_becomes_one_row_and_one_event_each(
    tank: Tank, what: str, payload: Any, found: dict[str, float]
) -> None:
    peer = await tank.listen(1)
    await tank.hear("probe", what, payload)
    assert {row["metric"]: row["value"] for row in await stored(tank)} == found
    events = data(peer.of_type("reading"))
    assert {event["metric"]: event["value"] for event in events} == found
    assert len(events) == len(await stored(tank)) == len(found)


async def test_an_event_says_what_the_row_holds(tank: Tank) -> None:
    peer = await tank.listen(1)
    sent = {"metric": "temperature", "value": 25.3, "sensor": "top", "ts": tank.clock.now() - 60}
    await tank.hear("probe", "reading", sent)
    (row,) = await stored(tank)
    (frame,) = peer.of_type("reading")
    event = frame["data"]
    assert frame["channel"] == "aquarium:1"
    assert frame["offset"] == 2  # the device's first sign of life was 1
    assert event == {
        "id": event["id"],
        "aquarium_id": 1,
        "device_id": "probe",
        "sensor_id": row["sensor_id"],
        "metric": "temperature",
        "value": 25.3,
        "unit": "C",  # of the target
        "measured_at": rfc3339(tank.clock.now() - 60),
        "received_at": rfc3339(tank.clock.now()),
        "origin": "sensor",
    }
    assert row["received_at"] - row["measured_at"] == 60
    (sensor,) = await tank.rows(sensors)
    assert (sensor["name"], sensor["value"], sensor["unit"]) == ("top", 25.3, "C")


async def test_a_batch_is_one_transaction_in_order(tank: Tank) -> None:
    peer = await tank.listen(1)
    batch = [
        tank.message("probe", "reading", {"metric": "temperature", "value": n}) for n in range(50)
    ]
    await tank.app.ingest(batch)
    assert [event["value"] for event in data(peer.of_type("reading"))] == list(range(50))
    assert [row["value"] for row in await stored(tank)] == list(range(50))
    offsets = peer.offsets()
    assert offsets == list(range(1, len(offsets) + 1))
    (sensor,) = await tank.rows(sensors)
    assert sensor["value"] == 49


@pytest.mark.parametrize(
    ("device", "what", "payload", "reason"),
    [
        ("nobody", "reading", b'{"temperature":1}', "unknown_device"),
        ("probe", "nothing", b"1", "wrong_topic"),
        ("probe", "reading/more", b"1", "wrong_topic"),
        ("probe", "sensor/", b"1", "wrong_topic"),
        ("pro be", "reading", b"1", "wrong_topic"),
        ("probe", "reading", b"", "bad_reading"),
        ("probe", "reading", b"{", "bad_reading"),
        ("probe", "reading", b"[1]", "bad_reading"),
        ("probe", "reading", b"{}", "bad_reading"),
        ("probe", "reading", b"\xff\xfe", "bad_reading"),
        ("probe", "reading", b'{"temperature":NaN}', "bad_reading"),
        ("probe", "reading", b'{"temperature":1e999}', "bad_reading"),
        ("probe", "reading", b'{"temperature":"25.3"}', "bad_reading"),
        ("probe", "reading", b'{"metric":"\\ud800","value":1}', "bad_reading"),
        ("probe", "reading", b"[" * 5000, "bad_reading"),
        ("probe", "reading", b'{"temperature":1,"x":"' + b"y" * 300_000 + b'"}', "bad_reading"),
        ("probe", "sensor/temperature", b"nan", "bad_sensor"),
        ("probe", "sensor/temperature", b"25,3", "bad_sensor"),
        ("probe", "availability", b"maybe", "bad_availability"),
        ("probe", "availability", b'{"state":null}', "bad_availability"),
        ("probe", "state", b"up", "bad_state"),
    ],
)
async def test_what_nobody_can_use_is_counted_and_dropped(
    tank: Tank,
    device: str,
    what: str,
    payload: bytes,
    reason: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.DEBUG):
        await tank.hear(device, what, payload)
        await tank.hear(device, what, payload)
    assert tank.rejected(reason) == 2
    assert await stored(tank) == []
    lines = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert len(lines) == 1  # the second one within ten seconds is only counted
    assert lines[0].exc_info is None
    assert "25,3" not in caplog.text
    assert "yyyy" not in caplog.text


async def test_what_is_left_out_of_a_state_is_counted(
    tank: Tank, caplog: pytest.LogCaptureFixture
) -> None:
    await tank.hear("probe", "state", {"rssi": "weak", "uptime": 5, "wifi": {"ssid": "reef"}})
    await tank.hear("probe", "state", {"uptime": 6})
    assert tank.rejected("ignored_state_member") == 2
    assert tank.rejected("bad_state") == 0
    assert "reef" not in caplog.text
    (row,) = await tank.rows(devices)
    assert row["report"] == {"uptime": 6.0}


async def test_a_wrong_topic_is_named_on_one_line_of_bounded_length(
    tank: Tank, caplog: pytest.LogCaptureFixture
) -> None:
    message = tank.message("probe", "x\nWARNING forged " + "y" * 60_000, b"1")
    await tank.app.ingest([replace(message, principal="link")])
    (line,) = [r.getMessage() for r in caplog.records if "wrong_topic" in r.getMessage()]
    assert line.startswith("wrong_topic: 'link: aquabook/probe/x\\nWARNING forged yyy")
    assert len(line) < 260


async def test_a_bad_message_does_not_hurt_its_neighbours_nor_a_bad_reading_the_others(
    tank: Tank,
) -> None:
    good = {"readings": [{"metric": "ph", "value": 8.1}, {"metric": "ph", "value": "x"}]}
    await tank.app.ingest(
        [tank.message("probe", "reading", b"{"), tank.message("probe", "reading", good)]
    )
    assert [row["metric"] for row in await stored(tank)] == ["ph"]
    assert tank.rejected("bad_reading") == 2


@pytest.mark.parametrize("off", [-FIFTY_YEARS, 365 * DAY, 301.0, -31 * DAY])
async def test_an_impossible_time_is_replaced_by_ours_and_counted(tank: Tank, off: float) -> None:
    ts = tank.clock.now() + off
    await tank.hear("probe", "reading", {"metric": "temperature", "value": 1, "ts": ts})
    (row,) = await stored(tank)
    assert row["measured_at"] == row["received_at"] == tank.clock.now()
    assert float(row["ts_raw"]) == ts
    assert tank.rejected("clock_skew") == 1


@pytest.mark.parametrize("off", [0.0, 299.0, -29 * DAY])
async def test_a_possible_time_holds(tank: Tank, off: float) -> None:
    ts = tank.clock.now() + off
    await tank.hear("probe", "reading", {"metric": "temperature", "value": 1, "ts": ts})
    (row,) = await stored(tank)
    assert row["measured_at"] == pytest.approx(ts)
    assert tank.rejected("clock_skew") == 0


async def test_the_latest_value_never_goes_back(tank: Tank) -> None:
    now = tank.clock.now()
    for value, ts in ((1, now - 100), (2, now - 50), (3, now - 80), (4, now - 200)):
        await tank.hear("probe", "reading", {"metric": "temperature", "value": value, "ts": ts})
    mixed = [
        tank.message("probe", "reading", {"metric": "temperature", "value": value, "ts": ts})
        for value, ts in ((5, now - 10), (6, now - 40))
    ]
    await tank.app.ingest(mixed)
    (sensor,) = await tank.rows(sensors)
    assert (sensor["value"], sensor["measured_at"]) == (5, now - 10)
    metrics = (await tank.ok("GET", "/aquariums/1/overview"))["metrics"]
    assert [m["value"] for m in metrics if m["metric"] == "temperature"] == [5]
    assert len(await stored(tank)) == 6


async def test_the_latest_value_survives_a_restart(database: Any, tank: Tank) -> None:
    now = tank.clock.now()
    await tank.hear("probe", "reading", {"metric": "temperature", "value": 9, "ts": now})
    async with Tank.running(database, tank.clock) as again:
        late = {"metric": "temperature", "value": 1, "ts": now - 60}
        await again.hear("probe", "reading", late)
        (sensor,) = await again.rows(sensors)
        assert sensor["value"] == 9


async def test_units_come_from_the_reading_then_from_the_target(tank: Tank) -> None:
    await tank.hear("probe", "reading", {"metric": "salinity", "value": 34})
    await tank.hear("probe", "reading", {"metric": "ph", "value": 8, "unit": "x"})
    await tank.hear("probe", "reading", {"metric": "wobble", "value": 1})
    assert {r["metric"]: r["unit"] for r in await stored(tank)} == {
        "salinity": "ppt",
        "ph": "x",
        "wobble": None,
    }


async def test_a_device_that_invents_metrics_is_not_followed_for_ever(tank: Tank) -> None:
    names = [f"m{n}" for n in range(MAX_SENSORS + 20)]
    for start in range(0, len(names), 100):
        await tank.hear("probe", "reading", dict.fromkeys(names[start : start + 100], 1.0))
    assert len(await tank.rows(sensors)) == MAX_SENSORS
    assert tank.rejected("too_many_sensors") == 20
    await tank.hear("probe", "reading", {"m0": 2.0})  # those it has go on
    assert (await stored(tank))[-1]["value"] == 2.0
    await tank.device("other", 1)
    await tank.hear("other", "reading", {"m0": 3.0})
    assert (await stored(tank))[-1]["value"] == 3.0


async def test_a_device_registered_anew_elsewhere_may_name_its_sensors_again(tank: Tank) -> None:
    names = [f"m{n}" for n in range(MAX_SENSORS)]
    for start in range(0, len(names), 128):
        await tank.hear("probe", "reading", dict.fromkeys(names[start : start + 128], 1.0))
    await tank.ok("DELETE", "/devices/probe")
    second = await tank.aquarium("eva")
    await tank.device("probe", second)
    await tank.read("probe", 25.0)
    assert tank.rejected("too_many_sensors") == 0
    assert (await stored(tank))[-1]["aquarium_id"] == second


async def test_a_device_added_by_a_command_is_found_when_it_speaks(
    database: Any, tank: Tank
) -> None:
    await tank.read("late")  # asked for before it was there
    assert tank.rejected("unknown_device") == 1
    async with Tank.running(database, tank.clock) as command:
        await command.device("late", 1)
    await tank.read("late")
    assert tank.rejected("unknown_device") == 2  # remembered for ten seconds
    await tank.passes(11)
    await tank.read("late")
    assert [row["device_id"] for row in await stored(tank)] == ["late"]


async def test_a_device_reports_about_itself(database: Any, tank: Tank) -> None:
    report = {"uptime": 12, "rssi": -61, "firmware": "1.2", "interval": 600, "heap": 23}
    await tank.hear("probe", "state", report)
    view = await tank.ok("GET", "/devices/probe")
    assert view["report"] == report
    assert view["expected_interval_seconds"] == 600
    assert (await tank.status("probe"))["threshold_seconds"] == 1500
    async with Tank.running(database, tank.clock) as again:  # and it is not forgotten
        assert (await again.status("probe"))["threshold_seconds"] == 1500
        await again.hear("probe", "state", {**report, "interval": 60})
        assert (await again.status("probe"))["threshold_seconds"] == 300


async def test_the_owners_word_about_the_interval_goes_before_the_devices(tank: Tank) -> None:
    await tank.ok("PATCH", "/devices/probe", {"expected_interval_seconds": 900})
    await tank.hear("probe", "state", {"interval": 60})
    assert (await tank.status("probe"))["threshold_seconds"] == 2250
    await tank.ok("PATCH", "/devices/probe", {"expected_interval_seconds": None})
    assert (await tank.status("probe"))["threshold_seconds"] == 300
