"""Commands to a real client: through our own listener, and through a real mosquitto."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from cardume.apps.aquarium.gatekeeper import DeviceGatekeeper
from cardume.mqtt.intake import Intake
from cardume.mqtt.link.link import Link
from cardume.mqtt.link.url import parse_url
from cardume.mqtt.listener import Listener
from cardume.mqtt.ports import Delivery, Downlink
from cardume.server.link import TOPICS
from tests.support.broker import Mosquitto, mosquitto, needs_broker
from tests.support.feeder import Feeder
from tests.support.tank import Tank, data
from tests.support.waiting import eventually, until

FILTERS = tuple(f"aquabook/+/{topic}" for topic in TOPICS)


class Overheard:
    """A way to devices, and the ids of what was handed to it."""

    def __init__(self, downlink: Downlink) -> None:
        self._downlink = downlink
        self.ids: list[str] = []

    @classmethod
    def of(cls, tank: Tank, downlink: Downlink) -> None:
        tank.app.commands.deliver_by(cls(downlink))

    async def publish_to(self, user: str, topic: str, payload: bytes, **how: Any) -> Delivery:
        self.ids.append(json.loads(payload)["id"])
        return await self._downlink.publish_to(user, topic, payload, **how)


async def ask(tank: Tank, **more: Any) -> str:
    """The id of a new command, once it was tried."""
    id: str = (await tank.ok("POST", "/devices/probe/commands", {"command": "feed", **more}))["id"]
    overheard = tank.app.commands.deliveries.downlink
    assert isinstance(overheard, Overheard)
    await until(lambda: id in overheard.ids)
    await tank.quiet()
    return id


async def becomes(tank: Tank, id: str, status: str, *, step: float = 0) -> dict[str, Any]:
    """The command, once it has this status. So many seconds pass before each look."""

    async def is_so() -> bool:
        await tank.passes(step)
        return bool((await command(tank, id))["status"] == status)

    await eventually(is_so, f"{id} {status}")
    return await command(tank, id)


async def command(tank: Tank, id: str) -> dict[str, Any]:
    found = await tank.ok("GET", f"/devices/probe/commands/{id}")
    assert isinstance(found, dict)
    return found


async def acknowledged_once(tank: Tank, id: str) -> None:
    events = [e["status"] for e in await tank.events("probe") if e["command_id"] == id]
    assert events.count("acknowledged") == 1


async def connected(feeder: Feeder) -> None:
    await asyncio.to_thread(feeder.connect)


async def born(tank: Tank) -> None:
    """Its birth was heard by way of a broker: a command of just before it would wait for the clock
    to be sent once more."""

    async def is_so() -> bool:
        return bool((await tank.status("probe"))["status"] == "online")

    await eventually(is_so, "the birth")
    await tank.quiet()


async def gone(feeder: Feeder, listener: Listener | None = None) -> None:
    await asyncio.to_thread(feeder.leave)
    if listener is not None:
        await until(lambda: not listener.connected("probe"))


# -- the listener ---------------------------------------------------------------------------


@asynccontextmanager
async def listening(tank: Tank) -> AsyncIterator[Listener]:
    gatekeeper = DeviceGatekeeper(tank.app.devices, "aquabook", None)
    intake = Intake(tank.app.ingest, tank.clock)
    listener = Listener("127.0.0.1", 0, gatekeeper, intake, tank.clock)
    Overheard.of(tank, listener.downlink)
    tank.app.connected = lambda device: listener.connected(device.device_id)
    await listener.start()
    try:
        yield listener
    finally:
        await listener.stop(2.0)
        await intake.drain(2.0)
        assert listener.stats().faults == 0


Make = Callable[..., Awaitable[Feeder]]


@pytest.fixture
async def make(tank: Tank) -> AsyncIterator[tuple[Listener, Make]]:
    """The listener, and a device that is registered and not connected yet."""
    made: list[Feeder] = []

    async def feeder(**how: Any) -> Feeder:
        await tank.ok("DELETE", "/devices/probe")
        key = await tank.device("probe", 1)
        made.append(Feeder("probe", key, listener.port, **how))
        return made[-1]

    async with listening(tank) as listener:
        yield listener, feeder
        for device in made:
            await gone(device)


@pytest.mark.parametrize("v5", [True, False])
async def test_a_device_that_is_there_does_it_and_answers(
    tank: Tank, make: tuple[Listener, Make], v5: bool
) -> None:
    viewer = await tank.listen(1)
    feeder = await make[1](v5=v5)
    await connected(feeder)
    id = await ask(tank, params={"grams": 2})
    done = await becomes(tank, id, "acknowledged")
    assert (done["result"], done["answer"]) == ("ok", 1)
    assert [(c["id"], c["command"], c["params"]) for c in feeder.got] == [
        (id, "feed", {"grams": 2})
    ]
    steps = [event["status"] for event in data(viewer.of_type("device_command"))]
    assert steps in (["queued", "sent", "acknowledged"], ["queued", "acknowledged"])


@pytest.mark.parametrize("v5", [True, False])
async def test_its_session_keeps_it_while_it_is_away(
    tank: Tank, make: tuple[Listener, Make], v5: bool
) -> None:
    listener, feeder = make[0], await make[1](v5=v5, keeps=True)
    await connected(feeder)
    await becomes(tank, await ask(tank), "acknowledged")
    await gone(feeder, listener)
    first, second = await ask(tank), await ask(tank)
    assert (await command(tank, first))["status"] == "queued"
    await connected(feeder)
    for id in (first, second):
        await becomes(tank, id, "acknowledged")
    await tank.passes(10)
    assert feeder.ids[1:] == [first, second]  # once each, in order


async def test_without_a_session_it_comes_with_the_birth(
    tank: Tank, make: tuple[Listener, Make]
) -> None:
    listener, feeder = make[0], await make[1](v5=False)
    first, second = await ask(tank), await ask(tank)
    await tank.passes(2)
    await connected(feeder)
    for id in (first, second):
        await becomes(tank, id, "acknowledged")
    assert feeder.ids == [first, second]
    await gone(feeder, listener)
    short = await ask(tank, expires_in=30)
    await tank.passes(30)
    await becomes(tank, short, "expired")
    await connected(feeder)
    await becomes(tank, await ask(tank), "acknowledged")
    assert short not in feeder.ids


async def test_what_its_session_keeps_expires_there_too(
    tank: Tank, make: tuple[Listener, Make]
) -> None:
    listener, feeder = make[0], await make[1](keeps=True)
    await connected(feeder)
    await gone(feeder, listener)
    short = await ask(tank, expires_in=30)
    await tank.passes(30)
    await becomes(tank, short, "expired")
    await connected(feeder)
    await becomes(tank, await ask(tank), "acknowledged")
    assert short not in feeder.ids


async def test_one_that_did_not_answer_is_asked_again_when_it_is_back(
    tank: Tank, make: tuple[Listener, Make]
) -> None:
    listener, feeder = make[0], await make[1]()
    feeder.answers = None
    await connected(feeder)
    id = await ask(tank)
    await becomes(tank, id, "sent")
    await gone(feeder, listener)
    await tank.passes(20)
    feeder.answers = "failed"
    await connected(feeder)
    assert (await becomes(tank, id, "acknowledged"))["result"] == "failed"
    assert feeder.ids == [id, id]
    await acknowledged_once(tank, id)


# -- the link -------------------------------------------------------------------------------


class Harbour:
    def __init__(self, tank: Tank, broker: Mosquitto) -> None:
        self.tank = tank
        self.intake = Intake(tank.app.ingest, tank.clock)
        self.link = Link(parse_url(broker.url), self.intake, tank.clock, filters=FILTERS)
        self.link.up, self.link.down = self._up, self._down
        Overheard.of(tank, self.link)

    def _up(self) -> None:
        self.tank.app.hearing.heard()
        self.tank.app.commands.reachable()

    def _down(self) -> None:
        self.tank.app.hearing.lost()
        self.tank.app.commands.unreachable()

    async def linked(self) -> None:
        while not self.link.stats().up:
            await self.tank.clock.advance(1)  # until the next try
            await asyncio.sleep(0.01)
        await self.tank.passes(10)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with mosquitto(tmp_path / "broker") as running:
        yield running


@pytest.fixture
async def harbour(database: Path, broker: Mosquitto) -> AsyncIterator[Harbour]:
    async with Tank.running(database, linked=True) as tank:
        await tank.aquarium()
        await tank.device("probe", 1)
        there = Harbour(tank, broker)
        await there.link.start("hub")
        await there.linked()
        yield there
        await there.link.stop(2.0)
        await there.intake.drain(2.0)
        assert there.link.stats().faults == 0


@needs_broker
@pytest.mark.parametrize("v5", [True, False])
async def test_through_a_broker(harbour: Harbour, broker: Mosquitto, v5: bool) -> None:
    tank, feeder = harbour.tank, Feeder("probe", None, broker.port, v5=v5, keeps=True)
    before = await ask(tank)
    await tank.passes(2)
    assert (await command(tank, before))["status"] == "queued"  # nobody has subscribed
    await connected(feeder)
    await becomes(tank, before, "acknowledged")
    await becomes(tank, await ask(tank), "acknowledged")
    await gone(feeder)
    away = await ask(tank)
    await becomes(tank, away, "sent")  # the broker keeps it now
    await tank.passes(20)
    await connected(feeder)
    await becomes(tank, away, "acknowledged")
    await gone(feeder)
    # With its birth it may have come a second time.
    assert (feeder.done[-1], len(feeder.done)) == (away, 3)
    await acknowledged_once(tank, away)


@needs_broker
async def test_while_there_is_no_broker_it_waits(harbour: Harbour, broker: Mosquitto) -> None:
    tank, feeder = harbour.tank, Feeder("probe", None, broker.port)
    await connected(feeder)
    await born(tank)
    await becomes(tank, await ask(tank), "acknowledged")
    broker.kill()
    await until(lambda: not harbour.link.stats().up, "losing the link")
    id = await ask(tank, expires_in=3600)
    await tank.quiet()
    assert (await command(tank, id))["status"] == "queued"
    broker.start()
    await harbour.linked()
    # The device comes back in its own time, perhaps just after we tried: then we try once more.
    await becomes(tank, id, "acknowledged", step=1)
    await gone(feeder)
    assert feeder.done[-1] == id
