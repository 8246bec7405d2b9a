"""Listing, acknowledging and shelving; the action is the twin of the call."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cardume.wire.messages import rfc3339
from tests.support.peers import declare
from tests.support.tank import Tank, data


@pytest.fixture
async def alarmed(database: Path) -> AsyncIterator[Tank]:
    """With alert 1, open, in ana's aquarium 1."""
    async with Tank.running(database) as tank:
        await tank.aquarium()
        await tank.device("probe", 1)
        await tank.ok(
            "POST", "/alert-rules", {"aquarium_id": 1, "metric": "temperature", "high": 20}
        )
        await tank.read("probe", 25)
        yield tank


async def test_an_acknowledgement_is_announced_once(alarmed: Tank) -> None:
    peer = await alarmed.listen(1)
    first = await alarmed.ok("POST", "/alerts/1/ack", {"note": "on my way"})
    assert (first["state"], first["acked_by"], first["ack_note"]) == (
        "active_ack",
        "ana",
        "on my way",
    )
    await alarmed.passes(5)
    again = await alarmed.ok("POST", "/alerts/1/ack", {"note": "other"}, who="root", role="admin")
    assert again == first
    assert await alarmed.ok("POST", "/alerts/1/ack") == first
    assert data(peer.of_type("alert_ack")) == [
        {
            "id": 1,
            "acked_by": "ana",
            "acked_at": first["acked_at"],
            "version": 2,
            "note": "on my way",
        }
    ]


async def test_the_action_does_what_the_call_does(alarmed: Tank) -> None:
    peer = await alarmed.listen(1)
    peer.connection.identity = await alarmed.hub.auth.verify(alarmed.token("ana"))
    action = {"type": "action", "id": 5, "data": {"name": "ack_alert", "alert_id": 1}}
    await peer.say(action)
    (result,) = peer.of_type("result")
    assert result["data"] == (await alarmed.alerts())[0]
    assert len(peer.of_type("alert_ack")) == 1
    await peer.say({**action, "data": {"name": "ack_alert", "alert_id": 2**70}})
    assert peer.of_type("error")
    assert peer.live


async def test_worse_than_what_was_acknowledged_asks_again(alarmed: Tank) -> None:
    await alarmed.ok("POST", "/alerts/1/ack")
    await alarmed.passes(1)
    await alarmed.read("probe", 19)
    await alarmed.passes(1)
    await alarmed.read("probe", 25)
    (alert,) = await alarmed.alerts()
    assert (alert["state"], alert["acked_by"]) == ("active_unack", None)


async def test_shelving_holds_back_until_then(alarmed: Tank) -> None:
    until = rfc3339(alarmed.clock.now() + 3600)
    shelved = await alarmed.ok("POST", "/alerts/1/shelve", {"until": until, "reason": "feeding"})
    assert (shelved["shelved_until"], shelved["shelve_reason"]) == (until, "feeding")
    past = {"until": rfc3339(alarmed.clock.now() - 1), "reason": "x"}
    assert (await alarmed.call("POST", "/alerts/1/shelve", past)).status_code == 422
    for wrong in ({}, {"until": until}, {"until": "soon", "reason": "x"},
                  {"until": "2027-01-01T00:00:00", "reason": "x"}):  # fmt: skip
        assert (await alarmed.call("POST", "/alerts/1/shelve", wrong)).status_code == 422
    await alarmed.read("probe", 19)
    closed = await alarmed.call("POST", "/alerts/1/shelve", {"until": until, "reason": "x"})
    assert closed.status_code == 409
    assert closed.json()["legal"]


@pytest.mark.parametrize("id", ["2", "0", "-1", str(2**63), str(2**80)])
async def test_an_alert_that_is_not_there(alarmed: Tank, id: str) -> None:
    response = await alarmed.call("POST", f"/alerts/{id}/ack")
    assert response.status_code in (404, 422)
    assert response.headers["content-type"] == "application/problem+json"


async def test_somebody_elses_alert_looks_like_none(alarmed: Tank) -> None:
    assert (await alarmed.call("POST", "/alerts/1/ack", who="eva")).status_code == 404
    assert (await alarmed.call("POST", "/alerts/1/ack", who=None)).status_code == 401
    assert (await alarmed.ok("GET", "/alerts", who="eva"))["items"] == []
    assert (await alarmed.call("GET", "/alerts?aquarium_id=1", who="eva")).status_code == 403
    granted = await alarmed.ok("POST", "/alerts/1/ack", who="eva", aquariums=["1"])
    assert granted["acked_by"] == "eva"


async def test_lists_are_filtered_and_paged_newest_first(alarmed: Tank) -> None:
    for metric in ("ph", "orp", "kh"):
        rule = {"aquarium_id": 1, "metric": metric, "high": 1, "severity": "major"}
        await alarmed.ok("POST", "/alert-rules", rule)
        await alarmed.hear("probe", "reading", {metric: 5.0})
    await alarmed.read("probe", 10)  # clears the first
    assert [a["id"] for a in await alarmed.alerts()] == [4, 3, 2, 1]
    assert [a["id"] for a in await alarmed.alerts(state="open")] == [4, 3, 2]
    assert [a["id"] for a in await alarmed.alerts(state="cleared")] == [1]
    assert [a["id"] for a in await alarmed.alerts(state="cleared_unack")] == [1]
    assert [a["id"] for a in await alarmed.alerts(severity="major")] == [4, 3, 2]
    assert await alarmed.alerts(severity="critical") == []
    seen, cursor = [], ""
    while True:
        page = await alarmed.ok("GET", f"/alerts?limit=3{cursor}")
        seen += [a["id"] for a in page["items"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert seen == [4, 3, 2, 1]
    for wrong in ("state=nonsense", "severity=x", "limit=0", "limit=9999", "cursor=nonsense",
                  "cursor=OTk5OTk5OTk5OTk5OTk5OTk5OTk5"):  # fmt: skip
        assert (await alarmed.call("GET", f"/alerts?{wrong}")).status_code == 422


async def test_a_raised_alert_is_told_in_a_room_as_well(database: Path) -> None:
    async with Tank.running(database, alerts_room="system") as tank:
        declare(tank.hub, "system", history=10)
        room = await tank.subscribe("system")
        await tank.aquarium()
        await tank.device("probe", 1)
        rule = {"aquarium_id": 1, "metric": "temperature", "high": 20}
        await tank.ok("POST", "/alert-rules", rule)
        await tank.read("probe", 25)
        await tank.ok("POST", "/alerts/1/ack")
        (alert,) = await tank.alerts()
        (event,) = room.of_type("alert_triggered")
        assert event["data"] == {
            "level": "warning",
            "message": alert["title"],
            "details": {
                "alert_id": 1,
                "aquarium_id": 1,
                "kind": "threshold",
                "device_id": "probe",
                "metric": "temperature",
            },
        }
