"""Clients that are not ours, in both versions: paho-mqtt and mosquitto's tools."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties as PahoProperties
from paho.mqtt.subscribeoptions import SubscribeOptions

from cardume.mqtt.codec.reasons import Reason
from cardume.mqtt.ports import Delivery
from cardume.testing import FakeClock
from tests.mqtt.clients import PATIENCE, mosquitto, mosquitto_start, needs_mosquitto, until
from tests.mqtt.conftest import House, open_house

READING = "aquabook/tank/reading"
COMMAND = "aquabook/tank/command"


class Gadget:
    """paho in its own thread, as a device would run it."""

    def __init__(
        self, house: House, user: str = "tank", version: MQTTProtocolVersion = paho.MQTTv5
    ) -> None:
        self.house = house
        self.got: list[paho.MQTTMessage] = []
        self.ends: list[int] = []
        self.granted: list[int] = []
        clean = None if version == paho.MQTTv5 else False
        self.client = paho.Client(CallbackAPIVersion.VERSION2, "tank-1", clean, protocol=version)
        self.client.username_pw_set("tank", "tank")
        self.client.reconnect_delay_set(1, 1)
        self.client.on_message = lambda client, data, message: self.got.append(message)
        self.client.on_disconnect = lambda client, data, flags, reason, said: self.ends.append(
            reason.value
        )
        self.client.on_subscribe = lambda client, data, id, reasons, said: self.granted.extend(
            reason.value for reason in reasons
        )

    async def connect(self, *, clean: bool = False, **said: Any) -> None:
        five: dict[str, Any] = {}
        if self.client.protocol == paho.MQTTv5:
            five = {"clean_start": clean, "properties": properties(PacketTypes.CONNECT, **said)}
        self.client.connect_async("127.0.0.1", self.house.port, **five)
        self.client.loop_start()
        await until(self.client.is_connected, "paho to be let in")

    async def subscribe(self, *asked: tuple[str, SubscribeOptions]) -> list[int]:
        self.granted.clear()
        self.client.subscribe(list(asked))
        await until(lambda: self.granted, "a SUBACK")
        return list(self.granted)

    async def publish(self, topic: str, payload: bytes, qos: int, **said: Any) -> None:
        info = self.client.publish(
            topic, payload, qos, properties=properties(PacketTypes.PUBLISH, **said)
        )
        await until(info.is_published, "an acknowledgement")

    def stop(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def properties(kind: int, **said: Any) -> PahoProperties:
    made = PahoProperties(kind)  # type: ignore[no-untyped-call]
    for name, value in said.items():
        setattr(made, name, value)
    return made


@pytest.fixture
async def timeless() -> AsyncIterator[House]:
    """Nothing expires while it waits for a client."""
    async with open_house(FakeClock()) as opened:
        yield opened


@pytest.fixture
async def gadget(house: House) -> AsyncIterator[Gadget]:
    made = Gadget(house)
    yield made
    made.stop()


async def test_paho_5_in_all_qualities_with_aliases_and_properties(gadget: Gadget) -> None:
    house = gadget.house
    await gadget.connect(SessionExpiryInterval=60, UserProperty=[("firmware", "1.2")])
    assert await gadget.subscribe((COMMAND, SubscribeOptions(qos=2))) == [2]
    for qos in (0, 1, 2):
        await gadget.publish(READING, b"%d" % qos, qos, UserProperty=[("a", "b")])
    await gadget.publish(READING, b"named", 1, TopicAlias=3)
    await gadget.publish("", b"aliased", 2, TopicAlias=3)
    await until(lambda: len(house.store.messages) == 5)
    assert {message.topic for message in house.store.messages} == {READING}
    for qos in (0, 1, 2):
        house.listener.publish(COMMAND, b"%d" % qos, qos=qos)
    await until(lambda: len(gadget.got) == 3)
    assert sorted(message.qos for message in gadget.got) == [0, 1, 2]
    assert house.drops == {}


async def test_paho_5_takes_up_its_session_after_we_cut_it(gadget: Gadget) -> None:
    house = gadget.house
    await gadget.connect(SessionExpiryInterval=60)
    await gadget.subscribe((COMMAND, SubscribeOptions(qos=2)))
    house.store.open.clear()
    receipt = gadget.client.publish(READING, b"once", qos=2)
    await until(lambda: house.store.entered == 1)
    house.listener.disconnect("tank")
    house.listener.publish(COMMAND, b"kept", qos=2)
    house.store.open.set()
    await until(receipt.is_published, "the four steps to end")
    await until(lambda: [message.payload for message in gadget.got] == [b"kept"])
    assert gadget.ends == [Reason.BY_US]
    assert house.store.payloads == [b"once"]


async def test_paho_3_1_1_at_qos_2_over_a_cut(house: House) -> None:
    gadget = Gadget(house, version=paho.MQTTv311)
    try:
        await gadget.connect()
        house.store.open.clear()
        receipts = [gadget.client.publish(READING, b"%d" % n, qos=2) for n in range(30)]
        await until(lambda: house.store.entered == 1)
        house.listener.disconnect("tank")
        house.store.open.set()
        await until(lambda: all(receipt.is_published() for receipt in receipts))
        assert house.store.payloads == [b"%d" % n for n in range(30)]
    finally:
        gadget.stop()


async def test_a_command_is_acknowledged_by_paho(gadget: Gadget) -> None:
    await gadget.connect(SessionExpiryInterval=60)
    await gadget.subscribe((COMMAND, SubscribeOptions(qos=1)))
    downlink = gadget.house.listener.downlink
    state = await downlink.publish_to("tank", COMMAND, b"feed", expiry=30)
    assert state is Delivery.ACKNOWLEDGED
    (message,) = gadget.got
    assert 0 < message.properties.MessageExpiryInterval <= 30  # type: ignore[union-attr]


async def test_paho_hears_why_it_is_refused(gadget: Gadget) -> None:
    said: list[int] = []
    gadget.client.on_connect = lambda client, data, flags, reason, more: said.append(reason.value)
    gadget.client.username_pw_set("tank", "wrong")
    gadget.client.connect_async("127.0.0.1", gadget.house.port)
    gadget.client.loop_start()
    await until(lambda: said)
    assert said[0] == Reason.BAD_CREDENTIALS


@needs_mosquitto
@pytest.mark.parametrize("version", ["311", "5"])
async def test_mosquitto_publishes_exactly_once(house: House, version: str) -> None:
    more = ("-D", "publish", "user-property", "a", "b") if version == "5" else ()
    code, output = await mosquitto(
        "pub", house.port, "-V", version, "-q", "2", "-t", READING, "-m", "{}", "--repeat", "3",
        *more,
    )  # fmt: skip
    assert (code, output) == (0, "")
    assert house.store.payloads == [b"{}"] * 3
    assert {message.qos for message in house.store.messages} == {2}


@needs_mosquitto
async def test_mosquitto_5_subscribes_at_qos_2(timeless: House) -> None:
    house = timeless
    running = await mosquitto_start(
        "sub", house.port, "-V", "5", "-q", "2", "-t", "aquabook/+/reading", "-C", "2",
        "-F", "%q %p %E", "-D", "subscribe", "subscription-identifier", "7", user="service",
    )  # fmt: skip
    await until(lambda: house.listener.publish("aquabook/x/reading", b"probe", qos=2))
    code, _ = await mosquitto(
        "pub", house.port, "-V", "5", "-q", "2", "-t", READING, "-m", "live",
        "-D", "publish", "message-expiry-interval", "60",
    )  # fmt: skip
    assert code == 0
    async with asyncio.timeout(PATIENCE):
        output, _ = await running.communicate()
    assert output.decode().split("\n")[0].startswith("2 probe")
    assert output.decode().split("\n")[1].startswith("2 live 60")


@needs_mosquitto
async def test_mosquitto_shares_a_subscription(house: House) -> None:
    share = ("-V", "5", "-q", "1", "-t", "$share/g/aquabook/+/reading", "-C", "3", "-F", "%p")
    workers = []
    for name in ("one", "two"):
        worker = await mosquitto_start("sub", house.port, *share, "-t", name, user="service")
        await until(lambda name=name: house.listener.publish(name, name.encode()))  # type: ignore[misc]
        workers.append(worker)
    for n in range(4):
        house.listener.publish(READING, b"%d" % n, qos=1)
    async with asyncio.timeout(PATIENCE):
        outputs = [(await worker.communicate())[0].decode().split() for worker in workers]
    assert outputs == [["one", "0", "2"], ["two", "1", "3"]]
