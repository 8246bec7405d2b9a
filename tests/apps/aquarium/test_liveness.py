"""The rows of the device table that this issue asks for, from the message to the event."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from cardume.devices.store import register
from cardume.storage.tables import devices
from tests.support.databases import on_both
from tests.support.peers import Peer
from tests.support.tank import Tank, data

ONLINE, OFFLINE = b"online", b"offline"


async def said(tank: Tank, payload: Any, **more: Any) -> None:
    await tank.hear("probe", "availability", payload, **more)


async def will(tank: Tank, payload: Any = OFFLINE) -> None:
    await said(tank, payload, will=True)


async def statuses(tank: Tank) -> list[tuple[str, str]]:
    return [(event["status"], event["reason"]) for event in await tank.events("probe")]


def actions(peer: Peer) -> list[tuple[str, str]]:
    return [(alert["kind"], alert["action"]) for alert in data(peer.of_type("alert"))]


async def go_offline(tank: Tank) -> None:
    await tank.read("probe")
    await tank.passes(300)
    assert (await tank.status("probe"))["status"] == "offline"


@pytest.mark.parametrize(
    ("what", "payload"),
    [
        ("reading", {"temperature": 1.0}),
        ("state", {"uptime": 1}),
        ("availability", ONLINE),
        ("reading", b"nonsense"),
    ],
)
async def test_row_1_the_first_sign_of_life(tank: Tank, what: str, payload: Any) -> None:
    peer = await tank.listen(1)
    before = await tank.status("probe")
    assert (before["status"], before["reason"], before["last_seen_at"]) == (
        "never_seen",
        "never",
        None,
    )
    assert before["offline_deadline_at"] is None
    await tank.hear("probe", what, payload)
    after = await tank.status("probe")
    assert (after["status"], after["reason"], after["state_version"]) == ("online", "first_seen", 1)
    (event,) = data(peer.of_type("device_status"))
    assert event == {
        "device_id": "probe",
        "aquarium_id": 1,
        "status": "online",
        "previous": "never_seen",
        "reason": "first_seen",
        "status_since": after["status_since"],
        "last_seen_at": after["last_seen_at"],
        "state_version": 1,
    }
    assert peer.of_type("alert") == []
    assert await statuses(tank) == [("online", "first_seen")]


async def test_row_2_a_replayed_birth_proves_nothing(tank: Tank) -> None:
    await said(tank, ONLINE, replay=True)
    await tank.passes(1000, step=100)
    status = await tank.status("probe")
    assert (status["status"], status["last_seen_at"]) == ("never_seen", None)
    assert await tank.alerts() == []


async def test_row_3_who_was_never_seen_cannot_go_offline(tank: Tank) -> None:
    await will(tank)
    await said(tank, OFFLINE, replay=True)
    await tank.passes(1000, step=100)
    assert (await tank.status("probe"))["status"] == "never_seen"
    assert await tank.alerts() == []
    assert await tank.events("probe") == []


async def test_row_4_life_moves_the_deadline_and_says_nothing(tank: Tank) -> None:
    await tank.read("probe")
    peer = await tank.listen(1)
    for _ in range(5):
        await tank.passes(299)
        await tank.read("probe")
    status = await tank.status("probe")
    assert (status["status"], status["state_version"]) == ("online", 1)
    assert peer.of_type("device_status") == []


async def test_rows_5_and_7_a_will_takes_effect_after_its_hold(tank: Tank) -> None:
    await tank.read("probe")
    peer = await tank.listen(1)
    await will(tank)
    held = await tank.status("probe")
    assert held["status"] == "online"
    assert held["hold_until"] == held["offline_deadline_at"]
    assert peer.of_type("device_status") == []
    await tank.passes(14.9)
    assert (await tank.status("probe"))["status"] == "online"
    await tank.passes(0.2)
    assert (await tank.status("probe"))["status"] == "offline"
    assert await statuses(tank) == [("online", "first_seen"), ("offline", "lwt")]
    assert actions(peer) == [("device_offline", "raised")]
    (alert,) = await tank.alerts(state="open")
    assert (alert["device_id"], alert["severity"], alert["kind"]) == (
        "probe",
        "major",
        "device_offline",
    )


async def test_a_goodbye_is_told_apart_from_a_lost_connection(tank: Tank) -> None:
    await tank.read("probe")
    await said(tank, OFFLINE)
    await tank.passes(15)
    assert (await statuses(tank))[-1] == ("offline", "graceful")


async def test_row_5_without_a_hold_at_once(database: Path) -> None:
    async with Tank.running(database, lwt_hold=0.0) as tank:
        await tank.aquarium()
        await tank.device("probe", 1)
        await tank.read("probe")
        await will(tank)
        assert (await tank.status("probe"))["status"] == "offline"


async def test_row_6_life_within_the_hold_cancels_it(tank: Tank) -> None:
    await tank.read("probe")
    peer = await tank.listen(1)
    await will(tank)
    await tank.passes(10)
    await tank.read("probe")
    await tank.passes(60)
    assert (await tank.status("probe"))["hold_until"] is None
    assert tank.rejected("hold_cancelled") == 1
    assert peer.of_type("device_status") == peer.of_type("alert") == []


async def test_row_8_the_will_of_an_older_session_is_ignored(tank: Tank, database: Path) -> None:
    await said(tank, {"state": "online", "session": 17})
    await tank.passes(1)
    await said(tank, {"state": "online", "session": 18})
    await will(tank, {"state": "offline", "session": 17})
    assert tank.rejected("stale_will") == 1
    await tank.passes(20)
    assert (await tank.status("probe"))["status"] == "online"
    async with Tank.running(database, tank.clock) as again:  # the session is not forgotten
        await will(again, {"state": "offline", "session": 17})
        assert again.rejected("stale_will") == 1
        await will(again, {"state": "offline", "session": 18})
        await again.passes(15)
        assert (await again.status("probe"))["status"] == "offline"


async def test_row_9_silence_is_noticed_within_a_second_and_wins(tank: Tank) -> None:
    await said(tank, ONLINE)
    peer = await tank.listen(1)
    await said(tank, ONLINE, replay=True)
    await tank.passes(299.5)
    assert (await tank.status("probe"))["status"] == "online"
    await tank.passes(1)
    assert await statuses(tank) == [("online", "first_seen"), ("offline", "timeout")]
    assert actions(peer) == [("device_offline", "raised")]


async def test_row_10_an_offline_again_changes_nothing(tank: Tank) -> None:
    await tank.read("probe")
    await will(tank)
    await tank.passes(10)
    await said(tank, OFFLINE, dup=True)
    await tank.passes(5)
    assert await statuses(tank) == [("online", "first_seen"), ("offline", "lwt")]


async def test_row_14_back_is_news_and_clears_the_alert_after_a_minute(tank: Tank) -> None:
    await go_offline(tank)
    peer = await tank.listen(1)
    await tank.read("probe")
    assert [(e["status"], e["reason"]) for e in data(peer.of_type("device_status"))] == [
        ("online", "alive")
    ]
    assert actions(peer) == [("device_online", "info")]
    online, offline = await tank.alerts()
    assert (online["kind"], online["severity"], online["state"]) == (
        "device_online",
        "info",
        "cleared_ack",
    )
    assert offline["state"] == "active_unack"
    await tank.passes(59)
    assert (await tank.alerts())[1]["state"] == "active_unack"
    await tank.passes(2)
    assert actions(peer)[1:] == [("device_offline", "cleared")]
    cleared = (await tank.alerts())[1]
    assert (cleared["state"], cleared["clear_reason"]) == ("cleared_unack", "auto")


async def test_gone_again_within_the_hold_is_the_same_alert(tank: Tank) -> None:
    await go_offline(tank)
    await tank.read("probe")
    await tank.passes(10)
    peer = await tank.listen(1)
    await will(tank)
    await tank.passes(15)
    assert actions(peer) == [("device_offline", "reopened")]
    (alert,) = await tank.alerts(state="open")
    assert alert["occurrences"] == 2
    await tank.passes(120)  # the clearing that was planned does not come
    assert len(await tank.alerts(state="open")) == 1


async def test_the_pending_clear_survives_a_restart(database: Path, tank: Tank) -> None:
    await go_offline(tank)
    await tank.read("probe")
    async with Tank.running(database, tank.clock) as again:
        await again.passes(61)
        assert await again.alerts(state="open") == []


async def test_good_news_is_never_an_open_alert(tank: Tank) -> None:
    for _ in range(3):
        await go_offline(tank)
    await tank.read("probe")
    news = [a for a in await tank.alerts() if a["kind"] == "device_online"]
    assert [a["state"] for a in news] == ["cleared_ack"] * 3


async def test_row_15_a_replayed_birth_does_not_revive(tank: Tank) -> None:
    await go_offline(tank)
    await said(tank, ONLINE, replay=True)
    assert (await tank.status("probe"))["status"] == "offline"


async def test_row_16_late_readings_are_life_but_neither_news_nor_alarm(tank: Tank) -> None:
    rule = {"aquarium_id": 1, "metric": "temperature", "high": 20}
    await tank.ok("POST", "/alert-rules", rule)
    await tank.hear("probe", "reading", {"temperature": 19, "ts": tank.clock.now()})
    await tank.passes(300)
    late = {"temperature": 30, "ts": tank.clock.now() - 3600}
    await tank.hear("probe", "reading", late)
    assert (await tank.status("probe"))["status"] == "online"
    overview = await tank.ok("GET", "/aquariums/1/overview")
    assert [m["value"] for m in overview["metrics"] if m["metric"] == "temperature"] == [19]
    assert [a["kind"] for a in await tank.alerts()] == ["device_online", "device_offline"]


async def test_row_17_offline_twice_is_one_alert(tank: Tank) -> None:
    await go_offline(tank)
    await will(tank)
    await said(tank, OFFLINE, replay=True)
    await tank.passes(1000, step=200)
    assert len(await tank.alerts()) == 1
    assert len(await tank.events("probe")) == 2


async def test_row_23_a_restart_changes_no_status_and_raises_no_false_alarm(
    database: Path, tank: Tank
) -> None:
    await tank.read("probe")
    before = await tank.rows(devices)
    await tank.clock.advance(290)
    tank.app.watch.stop()  # that life is over: it hears nothing and says nothing
    await tank.clock.advance(5000)
    async with Tank.running(database, tank.clock) as again:
        peer = await again.listen(1)
        assert await again.rows(devices) == before
        assert (await again.status("probe"))["status"] == "online"
        await again.passes(299)  # nobody is judged before a full threshold of listening
        assert await again.rows(devices) == before
        assert peer.of_type("device_status") == peer.of_type("alert") == []
        await again.passes(2)
        assert (await again.status("probe"))["status"] == "offline"


async def test_row_23_a_restart_leaves_the_offline_offline_without_a_second_alert(
    database: Path, tank: Tank
) -> None:
    await go_offline(tank)
    async with Tank.running(database, tank.clock) as again:
        await again.passes(700, step=100)
        assert len(await again.alerts()) == 1
        assert len(await again.events("probe")) == 2


async def test_status_says_that_a_device_flaps(tank: Tank) -> None:
    await go_offline(tank)
    await tank.read("probe")
    assert not (await tank.status("probe"))["flapping"]
    await will(tank)
    await tank.passes(15)
    assert (await tank.status("probe"))["flapping"]
    await tank.passes(901, step=300)
    assert not (await tank.status("probe"))["flapping"]


@on_both
async def test_an_overview_has_more_devices_than_a_statement_has_parameters(tank: Tank) -> None:
    """PostgreSQL takes 32,767 of them, SQLite 32,766 where nobody built it for more."""
    await go_offline(tank)
    await tank.read("probe")
    await will(tank)
    await tank.passes(15)
    probe = tank.app.devices.get("probe")
    assert probe is not None
    for number in range(33_000):
        tank.app.devices.put(replace(probe, device_id=f"d{number}"))
    told = (await tank.app.overview(1))["devices"]
    assert len(told) == 33_001
    assert [device["device_id"] for device in told if device["flapping"]] == ["probe"]


async def test_rows_18_to_20_sleep_is_planned_silence(tank: Tank) -> None:
    await tank.read("probe")
    await said(tank, {"state": "sleeping", "wake_in": 600})
    await will(tank)
    await tank.passes(1000, step=250)
    assert (await tank.status("probe"))["status"] == "sleeping"
    await tank.read("probe")
    assert (await tank.status("probe"))["status"] == "online"
    assert await tank.alerts() == []


async def test_many_devices_fall_silent_in_one_batch(tank: Tank) -> None:
    names = [f"d{n}" for n in range(30)]
    for name in names:
        await tank.device(name, 1)
    await tank.app.ingest([tank.message(name, "reading", {"ph": 8.0}) for name in names])
    peer = await tank.listen(1)
    await tank.passes(300)
    assert {e["device_id"] for e in data(peer.of_type("device_status"))} == set(names)
    assert len(await tank.alerts(state="open")) == 30


async def test_while_messages_wait_to_be_kept_silence_proves_nothing(tank: Tank) -> None:
    await tank.read("probe")
    waiting = True
    tank.app.watch.caught_up = lambda: not waiting
    await tank.passes(400)
    assert (await tank.status("probe"))["status"] == "online"
    waiting = False
    await tank.passes(10)
    assert (await tank.status("probe"))["status"] == "offline"


async def test_a_device_that_a_command_registered_is_listed(tank: Tank) -> None:
    await tank.clock.advance(1)
    async with tank.storage.write() as tx:
        await register(tx, device_id="new", aquarium_id=1, key="k", now=tank.clock.now())
    listed = (await tank.ok("GET", "/devices", who="root", role="admin"))["items"]
    assert "new" in {device["device_id"] for device in listed}
