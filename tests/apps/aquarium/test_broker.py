"""The app behind a real mosquitto: crashes of either side, and what they must not cost."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from cardume.devices.liveness import DeviceState
from cardume.mqtt.intake import Intake
from cardume.mqtt.link.link import Link
from cardume.mqtt.link.url import parse_url
from cardume.storage.tables import readings
from tests.support.broker import Mosquitto, mosquitto, needs_broker
from tests.support.tank import Tank, data
from tests.support.waiting import until, wait_for

pytestmark = needs_broker

FILTERS = tuple(f"aquabook/+/{topic}" for topic in ("availability", "state", "reading"))


class Harbour:
    """A tank whose devices speak to a broker. The hub's time stands still unless it is moved."""

    def __init__(self, tank: Tank, broker: Mosquitto) -> None:
        self.tank = tank
        self.broker = broker
        self.intake = Intake(tank.app.ingest, tank.clock)
        address = parse_url(broker.url)
        self.link = Link(address, self.intake, tank.clock, filters=FILTERS)
        hearing = tank.app.hearing
        self.link.up, self.link.down = hearing.heard, hearing.lost
        tank.app.watch.caught_up = lambda: self.intake.healthy and self.link.hears()

    async def linked(self) -> None:
        """Connected, and past the resync."""
        while not self.link.stats().up:
            await self.tank.clock.advance(1)  # until the next try
            await asyncio.sleep(0.01)
        await self.tank.passes(10)
        assert self.tank.app.hearing.is_up

    async def lost(self) -> None:
        await until(lambda: not self.link.stats().up, "losing the link")

    async def stored(self, count: int) -> list[dict[str, Any]]:
        """All readings, once there are so many and the broker has nothing under way."""
        async with asyncio.timeout(15):
            while len(found := await self.tank.rows(readings)) < count:
                await self.tank.clock.advance(0.1)
                await asyncio.sleep(0.01)
        await until(lambda: not (self.link.stats().in_flight or self.intake.stats().pending))
        return found


@asynccontextmanager
async def harbour(tank: Tank, broker: Mosquitto) -> AsyncIterator[Harbour]:
    there = Harbour(tank, broker)
    await there.link.start("hub")
    try:
        yield there
    finally:
        await there.link.stop(2.0)
        await there.intake.drain(2.0)
        assert there.link.stats().faults == 0


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with mosquitto(tmp_path / "broker") as running:
        yield running


@pytest.fixture
async def linked(database: Path) -> AsyncIterator[Tank]:
    async with Tank.running(database, linked=True) as tank:
        assert await tank.aquarium() == 1
        await tank.device("probe", 1)
        yield tank


class Device:
    """Publishes at QoS 1 with paho's own persistence: what is not acknowledged it sends again."""

    def __init__(self, broker: Mosquitto, name: str = "probe", *, will: bool = False) -> None:
        self.name = name
        self._client = Client(CallbackAPIVersion.VERSION2, client_id=name, clean_session=False)
        self._client.reconnect_delay_set(1, 1)
        self._client.max_inflight_messages_set(1000)
        if will:
            self._client.will_set(self._topic("availability"), "offline", 1, True)
        self._client.connect("127.0.0.1", broker.port)
        self._client.loop_start()

    def _topic(self, what: str) -> str:
        return f"aquabook/{self.name}/{what}"

    def say(self, what: str, *payloads: Any, retain: bool = False) -> None:
        """Until the broker has taken it, as often as that takes."""
        wait_for(self._client.is_connected)
        sent = [
            self._client.publish(
                self._topic(what),
                payload if isinstance(payload, str) else json.dumps(payload),
                1,
                retain,
            )
            for payload in payloads
        ]
        for info in sent:
            info.wait_for_publish(15)
            assert info.is_published()

    async def says(self, what: str, *payloads: Any, retain: bool = False) -> None:
        await asyncio.to_thread(self.say, what, *payloads, retain=retain)

    def trip(self) -> None:
        """Over its cable: the broker sees it go without a word, and it comes back."""
        connection: Any = self._client.socket()
        connection.shutdown(socket.SHUT_RDWR)

    def vanish(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def nameless(first: int, last: int) -> list[Any]:
    """Readings that only session, packet id and bytes tell apart."""
    return [{"metric": "temperature", "value": value} for value in range(first, last)]


def known(tank: Tank) -> DeviceState:
    device = tank.app.devices.get("probe")
    assert device is not None
    return device.state


def values(rows: list[dict[str, Any]]) -> list[float]:
    return [row["value"] for row in rows]


# -- readings ----------------------------------------------------------------------------------


async def test_a_broker_killed_in_the_middle_costs_and_doubles_nothing(
    linked: Tank, broker: Mosquitto
) -> None:
    """What we had received, not acknowledged and not stored comes again, and is stored once."""
    peer = await linked.listen(1)
    device = Device(broker)
    async with harbour(linked, broker) as there:
        await there.linked()
        await device.says("reading", *nameless(0, 50))
        assert values(await there.stored(50)) == list(range(50))
        async with linked.storage.write():  # nobody stores anything meanwhile
            await device.says("reading", *nameless(50, 150))
            await until(lambda: there.link.stats().in_flight == 100)
            await broker.save()
            broker.kill()
            await there.lost()
        await there.tank.quiet()
        broker.start()
        await there.linked()
        await device.says("reading", *nameless(150, 200))
        found = await there.stored(200)
        assert values(found) == list(range(200))
        told = [event["value"] for event in data(peer.of_type("reading"))]
        assert told == list(range(200))
        assert linked.rejected("redelivered") > 0
    device.vanish()


async def test_a_broker_without_memory_loses_nothing_that_devices_send_again(
    linked: Tank, tmp_path: Path
) -> None:
    with mosquitto(tmp_path / "forgetful", persistence=False) as broker:
        device = Device(broker)
        async with harbour(linked, broker) as there:
            await there.linked()
            await device.says("reading", *nameless(0, 20))
            await there.stored(20)
            broker.kill()
            await there.lost()
            broker.start()
            await there.linked()
            await device.says("reading", *nameless(20, 40))
            assert values(await there.stored(40)) == list(range(40))
        device.vanish()


async def test_what_a_restart_of_the_hub_leaves_unacknowledged_is_stored_once(
    database: Path, linked: Tank, broker: Mosquitto
) -> None:
    """Committed, and gone before the PUBACK: it comes again, to another life, with DUP."""
    device = Device(broker)
    there = Harbour(linked, broker)
    await there.link.start("hub")
    await there.linked()
    conversation = there.link._conversation
    assert conversation is not None
    async with linked.storage.write():
        await device.says("reading", *nameless(0, 20))
        await until(lambda: there.link.stats().in_flight == 20)
        conversation.pause()  # as a kernel that dies: nothing leaves any more
        conversation._wire.congested = True
    await until(lambda: there.intake.stats().handled >= 20)
    conversation._transport.abort()
    await there.link.stop(0.0)
    await there.intake.drain(0.1)
    assert len(await linked.rows(readings)) == 20
    async with (
        Tank.running(database, linked.clock, linked=True) as again,
        harbour(again, broker) as second,
    ):
        await second.linked()
        await device.says("reading", *nameless(20, 21))
        assert values(await second.stored(21)) == list(range(21))
        assert again.rejected("redelivered") == 20
    device.vanish()


async def test_while_the_database_is_away_nothing_is_acknowledged(
    linked: Tank, broker: Mosquitto
) -> None:
    device = Device(broker)
    async with harbour(linked, broker) as there:
        await there.linked()
        await linked.storage.close()
        await device.says("reading", *nameless(0, 30))
        await until(lambda: not there.intake.healthy)
        await until(lambda: there.link.stats().in_flight == 30)
        await linked.storage.open()
        assert values(await there.stored(30)) == list(range(30))
        assert there.link.stats().in_flight == 0
        assert there.link.stats().reconnects == 0
    device.vanish()


# -- lives -------------------------------------------------------------------------------------


async def test_a_will_that_the_broker_lost_is_caught_by_silence(
    linked: Tank, broker: Mosquitto
) -> None:
    """Broker and device die together: retained says `online` for ever."""
    device = Device(broker, will=True)
    async with harbour(linked, broker) as there:
        await there.linked()
        await device.says("availability", "online", retain=True)
        await device.says("reading", *nameless(0, 1))
        await there.stored(1)
        await broker.save()
        broker.kill()
        device.vanish()
        await there.lost()
        await linked.passes(3600, step=900)
        broker.start()
        await there.linked()
        await until(lambda: there.link.stats().received >= 3, "the retained word")
        status = await linked.status("probe")
        assert (status["status"], status["connected"]) == ("online", True)
        heard_for = linked.clock.now() - (linked.app.hearing.up_since or 0.0)
        await linked.passes(299 - heard_for)
        assert (await linked.status("probe"))["status"] == "online"
        await linked.passes(2)
        status = await linked.status("probe")
        assert (status["status"], status["reason"]) == ("offline", "timeout")


async def test_a_will_is_held_and_a_rebirth_cancels_it(linked: Tank, broker: Mosquitto) -> None:
    device = Device(broker, will=True)
    async with harbour(linked, broker) as there:
        await there.linked()
        await device.says("availability", "online", retain=True)
        await until(lambda: known(linked).connected)
        device.trip()
        await until(lambda: known(linked).hold_until)
        await device.says("availability", "online", retain=True)
        await until(lambda: not known(linked).hold_until)
        await linked.passes(60)
        assert [event["status"] for event in await linked.events("probe")] == ["online"]
    device.vanish()


async def test_a_stalled_broker_makes_nobody_offline(linked: Tank, broker: Mosquitto) -> None:
    device = Device(broker)
    async with harbour(linked, broker) as there:
        there.link._keepalive = 1
        await there.linked()
        await device.says("reading", *nameless(0, 1))
        await there.stored(1)
        broker.pause()
        await until(lambda: not there.link.hears())
        await linked.passes(400)  # the link is not given up yet
        assert [event["status"] for event in await linked.events("probe")] == ["online"]
        broker.resume()
    device.vanish()
