from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.tank import Tank, data

RULE = {"aquarium_id": 1, "metric": "temperature", "high": 26.5, "high_critical": 30}


async def values(tank: Tank, *wanted: float) -> None:
    for value in wanted:
        await tank.passes(1)
        await tank.read("probe", value)


async def test_a_rule_is_made_read_changed_and_deleted(tank: Tank) -> None:
    made = await tank.ok("POST", "/alert-rules", RULE)
    assert made["severity"] == "warning"
    assert await tank.ok("GET", f"/alert-rules/{made['id']}") == made
    changed = await tank.ok("PATCH", f"/alert-rules/{made['id']}", {"high": 27, "name": "warm"})
    assert changed == {**made, "high": 27.0, "name": "warm"}
    assert (await tank.ok("GET", "/alert-rules?aquarium_id=1"))["items"] == [changed]
    await tank.ok("DELETE", f"/alert-rules/{made['id']}")
    for method in ("GET", "PATCH", "DELETE"):
        body: dict[str, Any] | None = {} if method == "PATCH" else None
        gone = await tank.call(method, f"/alert-rules/{made['id']}", body)
        assert gone.status_code == 404


async def test_a_rule_that_went_leaves_nothing_behind(tank: Tank) -> None:
    for metric in ("ph", "kh", "gh"):
        made = await tank.ok("POST", "/alert-rules", {**RULE, "metric": metric})
        await tank.ok("PATCH", f"/alert-rules/{made['id']}", {"metric": f"{metric}_2"})
        await tank.ok("DELETE", f"/alert-rules/{made['id']}")
    assert tank.app.catalogue._rules_by_metric == {}


async def test_a_rule_survives_a_restart(database: Path, tank: Tank) -> None:
    made = await tank.ok("POST", "/alert-rules", {**RULE, "for_seconds": 60})
    await tank.read("probe", 28)
    async with Tank.running(database, tank.clock) as again:
        assert (await again.ok("GET", "/alert-rules"))["items"] == [made]
        await again.passes(61)
        await again.read("probe", 28)  # pending since before the restart
        assert [a["kind"] for a in await again.alerts()] == ["threshold"]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"high": None, "high_critical": None}, "at least one bound"),
        ({"low": 30}, "bounds must rise"),
        ({"high_critical": 26.5}, "bounds must rise"),
        ({"low": 20, "deadband": 10}, "deadband must be narrower"),
        ({"deadband": -1}, "deadband"),
        ({"severity": "info"}, "severity"),
        ({"for_seconds": 1e9}, "for_seconds"),
        ({"metric": "no spaces"}, "metric"),
        ({"sensor_id": 99999}, "no sensor 99999"),
        ({"sensor_id": 2**200}, "no sensor"),
        ({"high": "warm"}, "high"),
    ],
)
async def test_a_wrong_rule_is_422_and_says_what_is_wrong(
    tank: Tank, wrong: dict[str, Any], says: str
) -> None:
    response = await tank.call("POST", "/alert-rules", {**RULE, **wrong})
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert says in response.json()["detail"]
    assert (await tank.ok("GET", "/alert-rules"))["items"] == []
    made = await tank.ok("POST", "/alert-rules", RULE)
    patched = await tank.call("PATCH", f"/alert-rules/{made['id']}", wrong)
    assert patched.status_code == 422
    assert says in patched.json()["detail"]
    assert await tank.ok("GET", f"/alert-rules/{made['id']}") == made


async def test_readings_raise_worsen_and_clear_an_alert(tank: Tank) -> None:
    await tank.ok("POST", "/alert-rules", {**RULE, "deadband": 0.5, "name": "Too warm"})
    peer = await tank.listen(1)
    await values(tank, 26.5, 26.6, 27, 31, 26.4, 25.9)
    alerts = data(peer.of_type("alert"))
    assert [(a["action"], a["severity"]) for a in alerts] == [
        ("raised", "warning"),
        ("severity_changed", "critical"),
        ("severity_changed", "warning"),  # back within the deadband of the inner bound
        ("cleared", "warning"),
    ]
    assert [a["version"] for a in alerts] == [1, 2, 3, 4]
    (alert,) = await tank.alerts()
    assert (alert["title"], alert["state"], alert["peak_value"]) == (
        "Too warm",
        "cleared_unack",
        31.0,
    )
    raised = alerts[0]
    assert {k: raised[k] for k in ("kind", "state", "metric", "value", "threshold")} == {
        "kind": "threshold",
        "state": "active_unack",
        "metric": "temperature",
        "value": 26.6,
        "threshold": 26.5,
    }


async def test_trouble_that_returns_soon_is_the_same_alert(tank: Tank) -> None:
    await tank.ok("POST", "/alert-rules", RULE)
    peer = await tank.listen(1)
    await values(tank, 27, 25, 27)
    assert [a["action"] for a in data(peer.of_type("alert"))] == ["raised", "cleared", "reopened"]
    (alert,) = await tank.alerts()
    assert alert["occurrences"] == 2
    await values(tank, 25)
    await tank.passes(301)
    await values(tank, 27)
    assert len([a for a in await tank.alerts() if a["kind"] == "threshold"]) == 2


async def test_each_sensor_is_judged_by_itself(tank: Tank) -> None:
    await tank.ok("POST", "/alert-rules", RULE)
    for sensor in ("top", "bottom"):
        reading = {"metric": "temperature", "value": 27, "sensor": sensor}
        await tank.hear("probe", "reading", reading)
    assert len(await tank.alerts(state="open")) == 2


async def test_a_rule_may_look_at_one_sensor_only(tank: Tank) -> None:
    for sensor in ("top", "bottom"):
        await tank.hear("probe", "reading", {"temperature": 20, "sensor": sensor})
    metrics = (await tank.ok("GET", "/aquariums/1/overview"))["metrics"]
    ids = {m["sensor"]: m["sensor_id"] for m in metrics if m["metric"] == "temperature"}
    await tank.ok("POST", "/alert-rules", {**RULE, "sensor_id": ids["top"]})
    for sensor in ("top", "bottom"):
        await tank.hear("probe", "reading", {"temperature": 27, "sensor": sensor})
    assert len(await tank.alerts(state="open")) == 1


async def test_a_manual_reading_may_break_a_rule(tank: Tank) -> None:
    await tank.ok("POST", "/alert-rules", {"aquarium_id": 1, "metric": "nitrate", "high": 15})
    await tank.ok("POST", "/aquariums/1/readings", {"metric": "nitrate", "value": 40})
    assert [a["kind"] for a in await tank.alerts()] == ["threshold"]


async def test_late_readings_raise_nothing(tank: Tank) -> None:
    await tank.ok("POST", "/alert-rules", RULE)
    late = {"temperature": 40, "ts": tank.clock.now() - 301}
    await tank.hear("probe", "reading", late)
    assert await tank.alerts() == []


async def test_deleting_or_changing_a_rule_clears_what_it_raised(tank: Tank) -> None:
    rule = await tank.ok("POST", "/alert-rules", RULE)
    await tank.read("probe", 27)
    await tank.ok("PATCH", f"/alert-rules/{rule['id']}", {"high": 28})
    assert [a["clear_reason"] for a in await tank.alerts()] == ["manual"]
    await tank.read("probe", 29)
    peer = await tank.listen(1)
    await tank.ok("DELETE", f"/alert-rules/{rule['id']}")
    assert [a["clear_reason"] for a in data(peer.of_type("alert"))] == ["rule_deleted"]
    await tank.read("probe", 29)
    assert await tank.alerts(state="open") == []


async def test_a_disabled_rule_is_quiet(tank: Tank) -> None:
    await tank.ok("POST", "/alert-rules", {**RULE, "enabled": False})
    await tank.read("probe", 40)
    assert await tank.alerts() == []


async def test_an_aquarium_has_so_many_rules(tank: Tank) -> None:
    for _ in range(200):
        await tank.ok("POST", "/alert-rules", RULE)
    assert (await tank.call("POST", "/alert-rules", RULE)).status_code == 409
