from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from cardume.apps.aquarium.gatekeeper import DeviceGatekeeper
from cardume.mqtt.ports import Login
from cardume.storage.tables import devices
from tests.support.tank import Tank

API_KEY = "an-api-key"


def gate(tank: Tank) -> DeviceGatekeeper:
    return DeviceGatekeeper(tank.app.devices, "aquabook", API_KEY)


def login(user: str | None, password: str | bytes | None) -> Login:
    secret = password.encode() if isinstance(password, str) else password
    return Login("client", user, secret, "127.0.0.1:1")


async def test_a_key_is_shown_once_and_opens_the_listener(tank: Tank) -> None:
    key = await tank.device("d", 1)
    principal = await gate(tank).authenticate(login("d", key))
    assert principal is not None
    assert principal.may_publish("aquabook/d/reading")
    assert not principal.may_publish("aquabook/probe/reading")
    assert not principal.may_publish("aquabook/d")
    assert principal.may_subscribe("aquabook/d/command")
    assert not principal.may_subscribe("aquabook/+/command")
    for path in ("/devices", "/devices/d", "/devices/d/status", "/aquariums/1/overview"):
        assert key not in (await tank.call("GET", path)).text
    assert key not in str(await tank.rows(devices))


@pytest.mark.parametrize(
    ("user", "password"),
    [
        ("probe", "wrong"),
        ("probe", ""),
        ("probe", None),
        ("probe", b"\xff"),
        ("nobody", "x"),
        (None, "x"),
        ("", "x"),
        ("x" * 60_000, "x"),
        ("+/#", "x"),
    ],
)
async def test_nobody_else_comes_in(tank: Tank, user: str | None, password: Any) -> None:
    assert await gate(tank).authenticate(login(user, password)) is None


async def test_a_service_reads_everything_and_writes_nothing(tank: Tank) -> None:
    principal = await gate(tank).authenticate(login("probe", API_KEY))
    assert principal is not None
    assert principal.name != "probe"
    assert principal.may_subscribe("#")
    assert not principal.may_publish("aquabook/probe/reading")


async def test_a_device_from_its_registration_to_its_end(tank: Tank) -> None:
    body = {"device_id": "d", "aquarium_id": 1, "name": "Sump", "expected_interval_seconds": 60}
    made = await tank.ok("POST", "/devices", body)
    key = made.pop("key")
    assert await tank.ok("GET", "/devices/d") == made
    assert made["status"] == "never_seen"
    patched = await tank.ok("PATCH", "/devices/d", {"name": None})
    assert (patched["name"], patched["expected_interval_seconds"]) == (None, 60.0)
    evicted: list[str] = []
    tank.app.evict = evicted.append
    await tank.read("d")
    await tank.passes(300)
    assert len(await tank.alerts(state="open")) == 1
    await tank.ok("DELETE", "/devices/d")
    assert evicted == ["d"]
    assert await gate(tank).authenticate(login("d", key)) is None
    assert [a["clear_reason"] for a in await tank.alerts()] == ["device_deleted"]
    assert (await tank.call("GET", "/devices/d/status")).status_code == 404
    history = await tank.ok("GET", "/aquariums/1/readings?metric=temperature")
    assert len(history["items"]) == 1  # the readings stay


async def test_a_device_that_is_deleted_while_we_look_does_not_come_back(
    tank: Tank, monkeypatch: pytest.MonkeyPatch
) -> None:
    await tank.device("d", 1)
    read = tank.storage.read

    @asynccontextmanager
    async def overtaken() -> AsyncIterator[AsyncConnection]:
        async with read() as connection:
            yield connection
        monkeypatch.undo()
        await tank.ok("DELETE", "/devices/d")

    monkeypatch.setattr(tank.storage, "read", overtaken)
    await tank.app.devices.discover()
    assert tank.app.devices.get("d") is None
    assert [device["device_id"] for device in (await tank.ok("GET", "/devices"))["items"]] == [
        "probe"
    ]


async def test_an_id_is_taken_once(tank: Tank) -> None:
    await tank.aquarium("eva")
    body = {"device_id": "probe", "aquarium_id": 2}
    taken = await tank.call("POST", "/devices", body, who="eva")
    assert taken.status_code == 409
    assert (await tank.ok("GET", "/devices/probe"))["aquarium_id"] == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"device_id": ""},
        {"device_id": "a/b"},
        {"device_id": "a+"},
        {"device_id": "x" * 65},
        {"device_id": "d\n"},
        {"aquarium_id": "one"},
        {"expected_interval_seconds": 0},
        {"expected_interval_seconds": 1e9},
        {"expected_interval_seconds": "often"},
        {"expected_interval_seconds": "8"},
        {"expected_interval_seconds": True},
        {"name": "x" * 201},
    ],
)
async def test_a_wrong_device_is_422(tank: Tank, wrong: dict[str, Any]) -> None:
    body = {"device_id": "d", "aquarium_id": 1, **wrong}
    assert (await tank.call("POST", "/devices", body)).status_code == 422
    if "expected_interval_seconds" in wrong:
        assert (await tank.call("PATCH", "/devices/probe", wrong)).status_code == 422


@pytest.mark.parametrize("id", [2, -1, 2**64, 10**30])
async def test_a_device_needs_an_aquarium(tank: Tank, id: int) -> None:
    body = {"device_id": "d", "aquarium_id": id}
    assert (await tank.call("POST", "/devices", body)).status_code == 403
    response = await tank.call("POST", "/devices", body, who="root", role="admin")
    assert response.status_code == 404


async def test_the_status_says_whether_it_is_connected_now(tank: Tank) -> None:
    await tank.read("probe")
    assert (await tank.status("probe"))["connected"]
    tank.app.connected = lambda device: False
    assert not (await tank.status("probe"))["connected"]
