"""Commands: asked for, on their way, answered, out of time."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from cardume.apps.aquarium.commands import MAX_OPEN
from cardume.mqtt.ports import Delivery
from cardume.storage.tables import device_commands
from tests.apps.aquarium.radio import Radio
from tests.support.databases import on_both
from tests.support.tank import Tank, data

PATH = "/devices/probe/commands"


@pytest.fixture
async def radio(tank: Tank) -> Radio:
    return Radio.of(tank)


async def ask(tank: Tank, radio: Radio, command: str = "feed", **more: Any) -> str:
    """The id of a new command that was sent once, whatever came of it."""
    made = await tank.ok("POST", PATH, {"command": command, **more})
    await radio.sends(tank, made["id"])
    id: str = made["id"]
    return id


async def answer(tank: Tank, id: str, result: str = "ok", **more: Any) -> None:
    await tank.hear("probe", "command/result", {"id": id, "result": result, **more})


async def command(tank: Tank, id: str) -> dict[str, Any]:
    found = await tank.ok("GET", f"{PATH}/{id}")
    assert isinstance(found, dict)
    return found


async def history(tank: Tank, id: str) -> list[tuple[str, str, str]]:
    steps = [event for event in await tank.events("probe") if event["command_id"] == id]
    assert [step["state_version"] for step in steps] == list(range(1, len(steps) + 1))
    return [(step["previous"], step["status"], step["reason"]) for step in steps]


@on_both
async def test_from_queued_to_acknowledged(tank: Tank) -> None:
    radio = Radio.of(tank, Delivery.ACKNOWLEDGED)
    viewer = await tank.listen(1)
    response = await tank.call("POST", PATH, {"name": "feed", "params": {"grams": 2.5}})
    assert response.status_code == 201
    made = response.json()
    assert made["status"] == "queued"
    assert (made["command"], made["params"], made["created_by"]) == ("feed", {"grams": 2.5}, "ana")
    await radio.sends(tank, made["id"])
    ((device, payload),) = radio.sent
    assert device == "probe"
    assert payload == {
        "id": made["id"],
        "command": "feed",
        "params": {"grams": 2.5},
        "expires_at": made["expires_at"],
    }
    assert radio.expiries == [300.0]
    sent = await command(tank, made["id"])
    assert (sent["status"], sent["version"]) == ("sent", 2)
    assert sent["sent_at"] is not None
    await answer(tank, made["id"], "OK", answer={"grams": 2.4})
    done = await command(tank, made["id"])
    assert (done["status"], done["result"], done["answer"]) == (
        "acknowledged",
        "ok",
        {"grams": 2.4},
    )
    frames = viewer.of_type("device_command")
    assert [frame["data"]["status"] for frame in frames] == ["queued", "sent", "acknowledged"]
    assert data(frames)[-1] == done
    assert await history(tank, made["id"]) == [
        ("none", "queued", "created"),
        ("queued", "sent", "delivered"),
        ("sent", "acknowledged", "ok"),
    ]
    await tank.passes(400)
    assert await command(tank, made["id"]) == done
    assert (await tank.status("probe"))["flapping"] is False


@on_both
async def test_a_failure_is_an_answer_too(tank: Tank) -> None:
    id = await ask(tank, Radio.of(tank, Delivery.SENT))
    await answer(tank, id, "failed", answer="the hopper is empty")
    done = await command(tank, id)
    assert (done["status"], done["result"], done["answer"]) == (
        "acknowledged", "failed", "the hopper is empty"
    )  # fmt: skip


@on_both
async def test_any_json_comes_and_goes_as_it_is(tank: Tank) -> None:
    radio = Radio.of(tank, Delivery.SENT)
    odd: dict[str, Any] = {
        "\0": "\0é\U0001f41f",
        "n": [10**40, -0.0, 1e308, None, True],
        "deep": [[[{}]]],
    }
    id = await ask(tank, radio, params=odd)
    assert radio.sent[0][1]["params"] == odd
    await answer(tank, id, answer=odd)
    done = await command(tank, id)
    assert (done["params"], done["answer"]) == (odd, odd)


async def test_a_stop_does_not_wait_for_devices(database: Path) -> None:
    async with Tank.running(database) as tank:
        await tank.aquarium()
        await tank.device("probe", 1)
        radio = Radio.of(tank, Delivery.QUEUED)
        await ask(tank, radio)
        await tank.ok("POST", PATH, {"command": "feed"})  # it stops in the middle of this
        async with asyncio.timeout(4):
            await tank.app.commands.stop()


@on_both
async def test_it_expires_and_a_late_result_changes_nothing(tank: Tank, radio: Radio) -> None:
    radio.how = Delivery.SENT
    sent = await ask(tank, radio, expires_in=60)
    radio.how = Delivery.NO_SESSION
    waiting = await ask(tank, radio, expires_in=60)
    await tank.passes(59)
    assert (await command(tank, waiting))["status"] == "queued"
    await tank.passes(1)
    for id, previous in ((waiting, "queued"), (sent, "sent")):
        assert (await command(tank, id))["status"] == "expired"
        assert (await history(tank, id))[-1] == (previous, "expired", "timeout")
        await answer(tank, id)
        assert (await command(tank, id))["status"] == "expired"
    assert tank.rejected("late_result") == 2
    await tank.read("probe")
    await tank.quiet()
    assert len(radio.sent) == 2


async def test_two_answers_are_one(tank: Tank, radio: Radio) -> None:
    viewer = await tank.listen(1)
    id = await ask(tank, radio)
    message = tank.message("probe", "command/result", {"id": id, "result": "ok"})
    await tank.app.ingest([message, message])
    await answer(tank, id, "failed")
    assert (await command(tank, id))["result"] == "ok"
    steps = [event["status"] for event in data(viewer.of_type("device_command"))]
    assert steps == ["queued", "acknowledged"]
    assert tank.rejected("repeated_result") == 2


async def test_results_that_are_none(tank: Tank, radio: Radio) -> None:
    id = await ask(tank, radio)
    await tank.device("other", 1)
    await tank.hear("other", "command/result", {"id": id, "result": "ok"})
    await answer(tank, "who-knows")
    assert tank.rejected("unknown_command") == 2
    nonsense = [
        b"", b"ok", b"[]", b"{}", b"\xff", b'{"id":1,"result":"ok"}', {"id": id},
        {"id": id, "result": "perhaps"}, {"id": id, "result": True}, {"id": "a b", "result": "ok"},
        {"id": "x" * 65, "result": "ok"}, {"id": None, "result": "ok"}, b"[" * 70_000,
    ]  # fmt: skip
    for payload in nonsense:
        await tank.hear("probe", "command/result", payload)
    assert tank.rejected("bad_command_result") == len(nonsense)
    assert (await command(tank, id))["status"] == "queued"
    assert (await tank.status("probe"))["status"] == "online"  # nonsense is a sign of life
    await answer(tank, id, answer="x" * 5000)
    done = await command(tank, id)
    assert (done["status"], done["answer"]) == ("acknowledged", None)
    assert tank.rejected("answer_too_big") == 1


# -- the way to the device ------------------------------------------------------------------


async def test_one_that_is_away_gets_it_with_its_birth(tank: Tank, radio: Radio) -> None:
    first, second = await ask(tank, radio), await ask(tank, radio, "light")
    assert (await command(tank, first))["status"] == "queued"
    radio.sent.clear()
    radio.how = Delivery.SENT
    await tank.passes(20)
    await tank.hear("probe", "availability", b"online", replay=True)  # it proves nothing
    await tank.quiet()
    assert radio.sent == []
    await tank.hear("probe", "availability", b"online")
    await radio.sends(tank, second)
    assert radio.ids == [first, second]  # in the order in which they were asked for
    assert radio.expiries[-1] == 280.0
    assert (await command(tank, first))["status"] == "sent"


async def test_one_that_only_sends_readings_gets_it_with_the_next(tank: Tank, radio: Radio) -> None:
    await tank.read("probe")
    id = await ask(tank, radio)
    radio.how = Delivery.ACKNOWLEDGED
    await tank.passes(1)
    for _ in range(20):
        await tank.read("probe")
    await tank.quiet()
    assert radio.ids == [id]  # a try is not repeated for each of a burst
    await tank.passes(5)
    await tank.read("probe")
    await radio.sends(tank, id, 2)


async def test_one_that_is_there_and_says_nothing_gets_it_with_the_sweep(
    tank: Tank, radio: Radio
) -> None:
    tank.app.connected = lambda device: True
    id = await ask(tank, radio)
    radio.how = Delivery.ACKNOWLEDGED
    await tank.passes(33)
    await radio.sends(tank, id, 2)
    assert (await command(tank, id))["status"] == "sent"
    await tank.passes(100)
    assert len(radio.sent) == 2


async def test_what_was_not_answered_comes_again_with_the_next_birth(
    tank: Tank, radio: Radio
) -> None:
    radio.how = Delivery.ACKNOWLEDGED
    id = await ask(tank, radio)
    await tank.hear("probe", "availability", b"online")
    await tank.quiet()
    assert radio.ids == [id]  # it has just been sent
    await answer(tank, await ask(tank, radio, "other"))
    await tank.passes(10)
    await radio.sends(tank, id, 2)
    await tank.passes(2)
    for _ in range(5):
        await tank.hear("probe", "availability", b"online")
        await tank.read("probe")
    await radio.sends(tank, id, 3)
    assert len(radio.sent) == 4
    assert [status for _, status, _ in await history(tank, id)] == ["queued", "sent"]


async def test_while_a_session_keeps_it_nobody_sends_it_again(tank: Tank, radio: Radio) -> None:
    radio.how = Delivery.QUEUED
    id = await ask(tank, radio)
    await tank.hear("probe", "availability", b"online")
    radio.take()
    await tank.passes(60)
    assert radio.ids == [id]
    assert (await command(tank, id))["status"] == "sent"


async def test_a_session_that_nobody_takes_up_again_does_not_keep_it_for_ever(
    tank: Tank, radio: Radio
) -> None:
    """A device whose client id is another at each start."""
    radio.how = Delivery.QUEUED
    id = await ask(tank, radio)
    await tank.passes(30)
    radio.how = Delivery.ACKNOWLEDGED
    await tank.hear("probe", "availability", b"online")
    await tank.passes(4)
    assert radio.ids == [id]
    await tank.passes(2)
    await radio.sends(tank, id, 2)
    assert (await command(tank, id))["status"] == "sent"


async def test_a_way_that_is_lost_puts_in_doubt_what_went_just_before(
    tank: Tank, radio: Radio
) -> None:
    radio.how = Delivery.SENT
    long_ago = await ask(tank, radio)
    await tank.passes(40)
    just_now = await ask(tank, radio)
    tank.app.commands.unreachable()
    radio.how = Delivery.NO_SESSION
    meanwhile = await ask(tank, radio)
    radio.sent.clear()
    radio.how = Delivery.SENT
    tank.app.commands.reachable()
    await radio.sends(tank, meanwhile)
    assert radio.ids == [just_now, meanwhile]
    assert long_ago not in radio.ids
    tank.app.commands.reachable()
    await tank.quiet()
    assert len(radio.sent) == 2


@on_both
async def test_after_a_restart_it_goes_on(database: Path | str) -> None:
    async with Tank.running(database) as tank:
        await tank.aquarium()
        await tank.device("probe", 1)
        radio = Radio.of(tank, Delivery.SENT)
        sent = await ask(tank, radio, expires_in=600)
        radio.how = Delivery.NO_SESSION
        waiting = await ask(tank, radio, expires_in=600)
        short = await ask(tank, radio, expires_in=60)
    clock = tank.clock
    await clock.advance(100)
    async with Tank.running(database, clock) as tank:
        await tank.passes(1)
        assert (await command(tank, short))["status"] == "expired"
        radio = Radio.of(tank, Delivery.ACKNOWLEDGED)
        tank.app.commands.reachable()
        await radio.sends(tank, waiting)
        assert radio.ids == [waiting]
        assert radio.expiries == [499.0]
        assert (await command(tank, waiting))["status"] == "sent"
        await answer(tank, sent)
        await tank.passes(499)
        assert (await command(tank, waiting))["status"] == "expired"
        assert (await command(tank, sent))["status"] == "acknowledged"


async def test_a_device_that_is_deleted_takes_its_commands_along(tank: Tank, radio: Radio) -> None:
    radio.how = Delivery.QUEUED
    await ask(tank, radio)
    await tank.ok("DELETE", "/devices/probe")
    assert await tank.rows(device_commands) == []
    assert not tank.app.commands.waits_for("probe")
    await tank.device("probe", 1)
    await tank.passes(400)
    assert len(radio.sent) == 1
    assert (await tank.ok("GET", PATH))["items"] == []


async def test_an_aquarium_that_is_deleted_takes_those_of_its_devices_along(
    tank: Tank, radio: Radio
) -> None:
    radio.how = Delivery.QUEUED
    await ask(tank, radio)
    evicted: list[str] = []
    tank.app.evict = evicted.append
    await tank.ok("DELETE", "/aquariums/1")
    assert not tank.app.commands.waits_for("probe")
    assert evicted == ["probe"]
    assert tank.app.devices.get("probe") is None


async def test_when_the_wall_clock_is_set_nothing_expires(tank: Tank, radio: Radio) -> None:
    id = await ask(tank, radio, expires_in=60)
    tank.clock.step_wall(86_400)
    await tank.passes(50)
    assert (await command(tank, id))["status"] == "queued"
    await tank.passes(10)
    assert (await command(tank, id))["status"] == "expired"


# -- who may, and how much ------------------------------------------------------------------


async def test_only_who_may_write_may_send(tank: Tank, radio: Radio) -> None:
    body = {"command": "feed"}
    assert (await tank.call("POST", PATH, body, who=None)).status_code == 401
    assert (await tank.call("POST", PATH, body, who="eva")).status_code == 404
    service = await tank.call("POST", PATH, body, who="grafana", role="service")
    assert service.status_code == 403
    assert (await tank.call("POST", "/devices/none/commands", body)).status_code == 404
    await tank.ok("PUT", "/aquariums/1/members/eva", {"role": "member"})
    id = (await tank.ok("POST", PATH, body, who="eva"))["id"]
    assert (
        await tank.call("GET", f"{PATH}/{id}", who="grafana", role="service")
    ).status_code == 200
    for path in (PATH, f"{PATH}/{id}"):
        assert (await tank.call("GET", path, who="bob")).status_code == 404
    assert (await tank.call("GET", f"{PATH}/{id}x")).status_code == 404
    assert len(await tank.rows(device_commands)) == 1


async def test_an_id_of_ones_own_makes_asking_again_harmless(tank: Tank, radio: Radio) -> None:
    body = {"command": "feed", "params": {"n": 1}, "id": "tuesday"}
    first = await tank.call("POST", PATH, body)
    again = await tank.call("POST", PATH, body)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    await answer(tank, "tuesday")
    assert (await tank.ok("POST", PATH, body))["status"] == "acknowledged"
    other = await tank.call("POST", PATH, {**body, "params": {"n": 2}})
    assert other.status_code == 409
    await tank.device("other", 1)
    assert (await tank.call("POST", "/devices/other/commands", body)).status_code == 201


async def test_a_bounded_number_is_open(tank: Tank, radio: Radio) -> None:
    for number in range(MAX_OPEN):
        await tank.ok("POST", PATH, {"command": "feed", "id": f"c{number}"})
    refused = await tank.call("POST", PATH, {"command": "feed"})
    assert refused.status_code == 429
    assert "32 commands are open" in refused.json()["detail"]
    await answer(tank, "c0")
    await ask(tank, radio)
    found = await tank.ok("GET", f"{PATH}?limit=20")
    rest = await tank.ok("GET", f"{PATH}?limit=20&cursor={found['next']}")
    ids = [item["id"] for item in found["items"] + rest["items"]]
    assert ids[1:] == [f"c{number}" for number in reversed(range(MAX_OPEN))]
    assert rest["next"] is None
    for status, count in (("open", MAX_OPEN), ("queued", MAX_OPEN), ("acknowledged", 1)):
        found = await tank.ok("GET", f"{PATH}?status={status}")
        assert len(found["items"]) == count


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"command": ""}, 422),
        ({"command": "x" * 65}, 422),
        ({"command": "a\nb"}, 422),
        ({"command": "x", "params": []}, 422),
        ({"command": "x", "expires_in": 0.5}, 422),
        ({"command": "x", "expires_in": 8 * 86_400}, 422),
        ({"command": "x", "expires_in": True}, 422),
        ({"command": "x", "id": "a b"}, 422),
        ({"command": "x", "id": ""}, 422),
        ({"command": "x", "id": "a\n"}, 422),
        ({"command": "x", "what": 1}, 422),
        ({"command": "x", "params": {"x": "y" * 4096}}, 413),
    ],
)
async def test_what_is_no_command(tank: Tank, radio: Radio, body: Any, status: int) -> None:
    response = await tank.call("POST", PATH, body)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert await tank.rows(device_commands) == []
