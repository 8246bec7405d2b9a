"""The hub's own link as a state: up, resync, down, and what people are told of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cardume.devices.store import register
from cardume.storage.tables import devices
from cardume.testing import FakeClock
from tests.support.peers import Peer, declare
from tests.support.tank import Tank, data

HOUR = 3600.0


@pytest.fixture
async def linked(database: Path) -> AsyncIterator[Tank]:
    """As `tank`, but devices speak to a broker, and nobody has reached that yet."""
    async with Tank.running(database, linked=True) as tank:
        assert await tank.aquarium() == 1
        await tank.device("probe", 1)
        yield tank


async def up(tank: Tank) -> None:
    tank.app.hearing.heard()
    await tank.passes(10)
    assert tank.app.hearing.is_up


async def link(tank: Tank) -> dict[str, Any]:
    found: dict[str, Any] = (await tank.ok("GET", "/aquariums/1/overview"))["link"]
    return found


def links(peer: Peer) -> list[str]:
    return [event["link"] for event in data(peer.of_type("hub_status"))]


def alarms(peer: Peer) -> list[tuple[str, str]]:
    return [(alert["kind"], alert["action"]) for alert in data(peer.of_type("alert"))]


async def crowd(tank: Tank, count: int) -> list[str]:
    """So many devices, all of them online."""
    ids = [f"d{number}" for number in range(count)]
    async with tank.storage.write() as tx:
        for id in ids:
            await register(tx, device_id=id, aquarium_id=1, key="k", now=tank.clock.now())
    await tank.app.devices.discover()
    await all_speak(tank, ids)
    return ids


async def all_speak(tank: Tank, ids: list[str]) -> None:
    await tank.app.ingest([tank.message(id, "state", {"uptime": 1}) for id in ids])


async def counts(tank: Tank) -> dict[str, int]:
    found: dict[str, int] = {}
    for device in tank.app.devices.all():
        found[device.state.status] = found.get(device.state.status, 0) + 1
    return found


# -- the state ---------------------------------------------------------------------------------


async def test_without_a_link_the_hub_hears_from_its_start_on(tank: Tank) -> None:
    assert (await link(tank))["link"] == "up"
    await tank.passes(120)
    assert await tank.alerts() == []


async def test_row_22_a_link_goes_through_resync(linked: Tank) -> None:
    peer = await linked.listen(1)
    started = await link(linked)
    assert started["link"] == "down"
    await linked.passes(5)
    linked.app.hearing.heard()
    await linked.passes(9.9)
    assert (await link(linked))["link"] == "resync"
    assert (await linked.status("probe"))["status"] == "unknown"
    await linked.passes(0.2)
    now = await link(linked)
    assert (now["link"], now["since"] > started["since"]) == ("up", True)
    assert (await linked.status("probe"))["status"] == "never_seen"
    assert links(peer) == ["resync", "up"]
    assert data(peer.of_type("hub_status"))[-1] == now


async def test_row_21_losing_it_is_one_event_and_no_device_row(linked: Tank) -> None:
    await up(linked)
    await linked.read("probe")
    peer = await linked.listen(1)
    linked.app.hearing.lost()
    await linked.passes(59)
    status = await linked.status("probe")
    assert (status["status"], status["last_known_status"]) == ("unknown", "online")
    assert status["offline_deadline_at"] is None
    assert (await linked.ok("GET", "/devices/probe"))["status"] == "unknown"
    assert links(peer) == ["down"]
    assert peer.of_type("device_status") == peer.of_type("alert") == []
    assert [event["status"] for event in await linked.events("probe")] == ["online"]


async def test_a_link_that_falls_in_resync_was_never_up(linked: Tank) -> None:
    peer = await linked.listen(1)
    linked.app.hearing.heard()
    await linked.passes(5)
    linked.app.hearing.lost()
    await linked.passes(9)
    assert links(peer) == ["resync", "down"]


async def test_what_is_heard_before_the_link_is_up_counts(linked: Tank) -> None:
    """A kept session delivers before the subscription is granted again."""
    await linked.read("probe")
    await up(linked)
    assert (await linked.status("probe"))["status"] == "online"


async def test_a_step_of_the_wall_clock_moves_since_along(linked: Tank) -> None:
    await up(linked)
    await linked.read("probe")
    linked.clock.step_wall(-HOUR)
    await linked.passes(299)
    assert (await linked.status("probe"))["status"] == "online"
    linked.app.hearing.lost()
    linked.clock.step_wall(10 * HOUR)
    await up(linked)
    await linked.passes(289)
    assert (await linked.status("probe"))["status"] == "online"
    await linked.passes(2)
    assert (await linked.status("probe"))["status"] == "offline"


# -- the alert ---------------------------------------------------------------------------------


async def test_after_a_minute_one_critical_alert_and_it_clears_by_itself(linked: Tank) -> None:
    await linked.aquarium()  # nothing is measured there
    peer = await linked.listen(1)
    await linked.passes(60)
    (alert,) = await linked.alerts()
    assert (alert["kind"], alert["severity"], alert["aquarium_id"]) == (
        "hub_link_down",
        "critical",
        1,
    )
    assert alert["device_id"] is None
    await linked.passes(HOUR, step=600)
    assert alarms(peer) == [("hub_link_down", "raised")]
    linked.app.hearing.heard()
    await linked.passes(9)
    assert len(await linked.alerts(state="open")) == 1
    await linked.passes(1.1)
    assert await linked.alerts(state="open") == []
    assert alarms(peer)[1:] == [("hub_link_down", "cleared")]


async def test_a_short_loss_is_no_alert(linked: Tank) -> None:
    await up(linked)
    linked.app.hearing.lost()
    await linked.passes(45)
    await up(linked)
    await linked.passes(600)
    assert await linked.alerts() == []


async def test_a_link_that_never_gets_up_is_blind_all_the_while(linked: Tank) -> None:
    peer = await linked.listen(1)
    for _ in range(30):  # connects, and falls again
        linked.app.hearing.heard()
        await linked.passes(3)
        linked.app.hearing.lost()
        await linked.passes(3)
    assert alarms(peer) == [("hub_link_down", "raised")]


async def test_a_link_that_is_back_within_the_minute_is_no_alert(linked: Tank) -> None:
    """Not even if the minute ends in resync, for then the hub hears."""
    await up(linked)
    linked.app.hearing.lost()
    await linked.passes(55)
    linked.app.hearing.heard()
    await linked.passes(9)
    assert await linked.alerts() == []
    await linked.passes(2)
    assert await linked.alerts() == []


async def test_resync_does_not_put_the_alert_off(linked: Tank) -> None:
    peer = await linked.listen(1)
    linked.app.hearing.heard()
    for _ in range(5):
        linked.app.hearing.lost()
        await linked.passes(7)
        linked.app.hearing.heard()
        await linked.passes(9)
    assert alarms(peer) == [("hub_link_down", "raised")]
    assert len(await linked.alerts()) == 1


async def test_the_room_hears_of_it_once(database: Path) -> None:
    async with Tank.running(database, linked=True, alerts_room="room") as tank:
        declare(tank.hub, "room", history=10)
        for number in range(1, 4):
            assert await tank.aquarium() == number
            await tank.device(f"d{number}", number)
        await tank.passes(61)
        assert len(await tank.alerts()) == 3
        (word,) = (await tank.hub.history("room", limit=10)).publications
        assert word.type == "alert_triggered"


async def test_the_alert_of_an_earlier_life_is_cleared_by_the_next(database: Path) -> None:
    clock = FakeClock()
    async with Tank.running(database, clock, linked=True) as tank:
        await tank.aquarium()
        await tank.device("probe", 1)
        await tank.passes(61)
        assert len(await tank.alerts(state="open")) == 1
    async with Tank.running(database, clock, linked=True) as tank:
        await tank.passes(61)  # still away: the same alert, not another
        assert len(await tank.alerts()) == 1
        await up(tank)
        await tank.passes(0.1)
        assert await tank.alerts(state="open") == []


async def test_an_alert_that_the_database_did_not_keep_is_tried_again(
    linked: Tank,
) -> None:
    await linked.storage.close()
    await linked.clock.advance(61)
    await linked.storage.open()
    assert await linked.alerts() == []
    await linked.passes(5.1)
    assert len(await linked.alerts(state="open")) == 1


async def test_an_offline_alert_does_not_clear_while_nobody_hears(linked: Tank) -> None:
    await up(linked)
    await linked.read("probe")
    await linked.passes(300)
    await linked.read("probe")  # back: the alert would clear in a minute
    linked.app.hearing.lost()
    await linked.passes(50)
    await linked.passes(HOUR, step=100)
    open_ = [alert["kind"] for alert in await linked.alerts(state="open")]
    assert sorted(open_) == ["device_offline", "hub_link_down"]
    await up(linked)
    await linked.passes(1)
    assert await linked.alerts(state="open") == []


# -- the fleet ---------------------------------------------------------------------------------


async def test_a_thousand_devices_and_an_outage_of_an_hour(linked: Tank) -> None:
    await up(linked)
    ids = await crowd(linked, 1000)
    linked.app.hearing.lost()
    await linked.passes(HOUR, step=HOUR / 4)
    await up(linked)
    await linked.passes(200)
    talkers, silent = ids[50:], ids[:50]
    await all_speak(linked, talkers)
    assert await counts(linked) == {"never_seen": 1, "online": 1000}
    peer = await linked.listen(1)
    await linked.passes(89)
    assert peer.of_type("alert") == []
    await linked.passes(1.1)  # a threshold after the return: the silent ones, in one commit
    moved = data(peer.of_type("device_status"))
    assert sorted(event["device_id"] for event in moved) == sorted(silent)
    assert {(event["status"], event["reason"]) for event in moved} == {("offline", "timeout")}
    assert len({event["status_since"] for event in moved}) == 1
    raised = data(peer.of_type("alert"))
    assert len(raised) == 50
    assert "while the hub did not hear" in raised[0]["message"]
    assert await counts(linked) == {"never_seen": 1, "online": 950, "offline": 50}


@pytest.mark.parametrize("link_again", [True, False])
async def test_a_thousand_devices_and_a_restart(database: Path, link_again: bool) -> None:
    """By a link and by the listener: one threshold from when it hears."""
    clock = FakeClock()
    async with Tank.running(database, clock, linked=True) as tank:
        await tank.aquarium()
        await up(tank)
        ids = await crowd(tank, 1000)
    await clock.advance(HOUR)
    async with Tank.running(database, clock, linked=link_again) as tank:
        if link_again:
            await tank.passes(HOUR)  # the broker is later than we are
            await up(tank)
        assert await counts(tank) == {"online": 1000}
        await tank.passes(200)
        await all_speak(tank, ids[1:])
        await tank.passes(101)
        assert await counts(tank) == {"online": 999, "offline": 1}
        offline = await tank.alerts(kind="device_offline")
        assert [a["device_id"] for a in offline if a["kind"] == "device_offline"] == [ids[0]]


async def test_a_message_on_its_way_while_the_link_falls_saves_its_device(linked: Tank) -> None:
    """The deadline has come, but the link is gone before the transaction: nobody goes offline."""
    await up(linked)
    await linked.read("probe")
    await linked.clock.advance(299.9)
    async with linked.storage.write():  # whoever is due waits for the writer
        await linked.clock.advance(0.2)
        linked.app.hearing.lost()
    await linked.quiet()
    assert linked.app.devices.get("probe") is not None
    assert [event["status"] for event in await linked.events("probe")] == ["online"]


# -- retained words ----------------------------------------------------------------------------


async def said(tank: Tank, payload: bytes, **more: Any) -> None:
    await tank.hear("probe", "availability", payload, **more)


async def test_rows_11_and_12_a_will_that_came_while_we_were_away(linked: Tank) -> None:
    await linked.ok("PATCH", "/devices/probe", {"expected_interval_seconds": 100})
    await up(linked)
    await linked.read("probe")
    linked.app.hearing.lost()
    await linked.passes(HOUR)
    linked.app.hearing.heard()
    await linked.passes(1)
    await said(linked, b"offline", replay=True)
    await linked.passes(149)
    assert (await linked.status("probe"))["status"] == "online"
    await linked.passes(2)
    status = await linked.status("probe")
    assert (status["status"], status["reason"]) == ("offline", "lwt")
    (alert,) = (a for a in await linked.alerts() if a["kind"] == "device_offline")
    assert "while the hub did not hear" in alert["message"]


async def test_row_13_the_owner_is_told_of_a_birth_that_is_not_retained(
    linked: Tank, caplog: pytest.LogCaptureFixture
) -> None:
    await up(linked)
    await linked.read("probe")
    for _ in range(3):
        linked.app.hearing.lost()
        await up(linked)
        await said(linked, b"offline", replay=True)
        await linked.read("probe")
    (alert,) = await linked.alerts()
    assert (alert["kind"], alert["severity"]) == ("availability_unreliable", "info")
    assert linked.rejected("availability_unreliable") == 1
    assert linked.rejected("availability_ignored") == 1
    assert caplog.text.count("availability_unreliable") == 1
    (row,) = await linked.rows(devices)
    assert row["doubts"] == 2


async def test_over_a_link_an_offline_may_be_a_will(linked: Tank) -> None:
    await up(linked)
    await linked.read("probe")
    await said(linked, b"offline")
    await linked.passes(15)
    assert (await linked.status("probe"))["reason"] == "lwt"


async def test_over_a_link_a_word_of_sleep_is_no_sign_of_life(linked: Tank) -> None:
    await up(linked)
    await said(linked, b"sleeping")
    status = await linked.status("probe")
    assert (status["status"], status["last_seen_at"]) == ("never_seen", None)


async def test_row_29_whoever_deletes_a_retained_word_proves_nothing(tank: Tank) -> None:
    await said(tank, b"online")
    await tank.passes(299)
    await said(tank, b"")
    status = await tank.status("probe")
    assert (status["status"], status["connected"]) == ("online", False)
    await tank.passes(2)
    status = await tank.status("probe")
    assert (status["status"], status["reason"]) == ("offline", "timeout")
    await said(tank, b"")
    assert (await tank.status("probe"))["status"] == "offline"
    assert tank.rejected("bad_availability") == 0


async def test_row_30_nothing_that_nobody_knows_becomes_a_device(linked: Tank) -> None:
    await up(linked)
    await linked.app.ingest(
        [
            linked.message("stranger", "reading", {"temperature": 1.0}),
            linked.message("probe", "availability", b"\xc4\xd6", replay=True),
            linked.message("probe", "reading", "25,3".encode("utf-16"), replay=True),
        ]
    )
    assert linked.rejected("unknown_device") == 1
    assert (linked.rejected("bad_availability"), linked.rejected("bad_reading")) == (1, 1)
    assert (await linked.status("probe"))["last_seen_at"] is None
