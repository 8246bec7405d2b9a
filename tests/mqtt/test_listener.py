"""Messages in and out over real sockets, with real clients."""

from __future__ import annotations

import asyncio
import socket

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from cardume.clock import SystemClock
from cardume.errors import ConfigurationError, Invalid, Unavailable
from cardume.mqtt.codec.packets import (
    Puback,
    Publish,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
    Will,
)
from cardume.mqtt.codec.reasons import REFUSED
from cardume.mqtt.intake import Intake
from cardume.mqtt.listener import Listener
from tests.mqtt.clients import (
    Raw,
    mosquitto,
    mosquitto_start,
    needs_mosquitto,
    until,
)
from tests.mqtt.conftest import House, Keeper, Store

READING = "aquabook/tank/reading"
COMMAND = "aquabook/tank/command"


@needs_mosquitto
@pytest.mark.parametrize("qos", [0, 1])
async def test_mosquitto_publishes(house: House, qos: int) -> None:
    code, _ = await mosquitto(
        "pub", house.port, "-t", READING, "-m", '{"temperature":25}', "-q", str(qos), "-r"
    )
    assert code == 0
    await until(lambda: house.store.messages)
    (message,) = house.store.messages
    assert (message.topic, message.payload, message.qos) == (READING, b'{"temperature":25}', qos)
    assert message.replay is False  # its own publish is live, whatever the RETAIN bit
    assert message.dup is False
    assert message.will is False
    assert (message.packet_id is None) is (qos == 0)
    assert message.received_at > 1_700_000_000


async def test_acknowledged_only_after_the_handler_returned(house: House) -> None:
    raw = await Raw.login(house.port)
    house.store.open.clear()
    await raw.send(*(Publish(READING, b"%d" % n, 1, packet_id=n) for n in (1, 2, 3)))
    await until(lambda: house.store.entered)
    await raw.quiet()
    assert house.store.messages == []
    house.store.open.set()
    assert [await raw.next() for _ in range(3)] == [Puback(n) for n in (1, 2, 3)]
    assert house.store.payloads == [b"1", b"2", b"3"]


async def test_acknowledgements_of_a_batch_leave_together_and_in_order(house: House) -> None:
    """§4.6: also those of publishes that were dropped in between."""
    raw = await Raw.login(house.port)
    house.store.open.clear()
    topics = [READING, "aquabook/reef/reading", READING, "aquabook/reef/reading"]
    await raw.send(*(Publish(t, b"", 1, packet_id=n) for n, t in enumerate(topics, 1)))
    await until(lambda: house.drops.get("forbidden_topic") == 2)
    await raw.quiet()
    house.store.open.set()
    assert [await raw.next() for _ in range(4)] == [Puback(n) for n in (1, 2, 3, 4)]
    assert len(house.store.messages) == 2
    await raw.send(Publish("aquabook/reef/reading", b"", 1, packet_id=9))
    assert await raw.next() == Puback(9)


async def test_a_recovering_handler_acknowledges_once(house: House) -> None:
    house.store.faults = [Unavailable("database is locked")]
    raw = await Raw.login(house.port)
    await raw.publish(READING, b"1")
    assert house.store.payloads == [b"1"]
    await raw.quiet()


async def test_a_poisonous_message_costs_its_sender_the_connection_only(house: House) -> None:
    reef, tank = await Raw.login(house.port, "reef"), await Raw.login(house.port)
    await tank.send(Publish(READING, house.store.poison, 1, packet_id=5))
    assert await tank.closed()
    await reef.publish("aquabook/reef/reading", b"fine")
    assert house.store.payloads == [b"fine"]
    assert house.drops == {"poisoned": 1}


async def test_paho_repeats_with_dup_what_was_not_acknowledged(house: House) -> None:
    house.store.open.clear()
    client = paho.Client(
        CallbackAPIVersion.VERSION2, "tank", clean_session=False, protocol=paho.MQTTv311
    )
    client.username_pw_set("tank", "tank")
    client.reconnect_delay_set(1, 1)
    client.connect_async("127.0.0.1", house.port)
    client.loop_start()
    try:
        await until(client.is_connected)
        receipt = client.publish(READING, b"once", qos=1)
        await until(lambda: house.store.entered == 1, "the first delivery")
        assert house.listener.disconnect("tank") == 1
        await until(lambda: house.listener.stats().received == 2, "the second delivery")
        assert not receipt.is_published()
        house.store.open.set()
        await until(receipt.is_published)
    finally:
        client.disconnect()
        client.loop_stop()
    first, second = house.store.messages
    assert (first.dup, second.dup) == (False, True)
    assert (first.session, first.packet_id) == (second.session, second.packet_id)


@needs_mosquitto
async def test_retained_reaches_a_late_mosquitto(house: House) -> None:
    raw = await Raw.login(house.port)
    for topic, payload in (("a", b"1"), ("b", b"2"), ("b", b"3"), ("c", b"4"), ("c", b"")):
        await raw.send(Publish(f"aquabook/tank/{topic}", payload, 1, True, packet_id=1))
        await raw.next()
    await raw.publish("aquabook/tank/d", b"not retained")
    for topic_filter in ("aquabook/tank/+", "aquabook/#", "#"):
        code, output = await mosquitto(
            "sub", house.port, "-t", topic_filter, "-F", "%r %t %p", "-C", "2", user="service"
        )
        assert code == 0
        assert sorted(output.split("\n")[:-1]) == ["1 aquabook/tank/a 1", "1 aquabook/tank/b 3"]
    assert house.listener.stats().retained == 2


@needs_mosquitto
async def test_wildcards_live_through_mosquitto(house: House) -> None:
    running = await mosquitto_start(
        "sub", house.port, "-t", "aquabook/+/reading", "-F", "%r %p", "-C", "2", user="service"
    )
    await until(lambda: house.listener.connected("service"))
    raw = await Raw.login(house.port)
    # Until its SUBSCRIBE was read, there is nobody to send to.
    await until(lambda: house.listener.publish("aquabook/x/reading", b"probe"))
    await raw.publish("aquabook/tank/state", b"no")
    await raw.send(Publish(READING, b"yes", 1, True, packet_id=1))
    output, _ = await running.communicate()
    assert output == b"0 probe\n0 yes\n"


async def test_a_device_hears_its_own_commands_and_nothing_else(house: House) -> None:
    house.listener.publish(COMMAND, b"waiting", qos=1, retain=True)
    house.listener.publish("aquabook/reef/command", b"foreign", retain=True)
    raw = await Raw.login(house.port)
    for foreign in ("aquabook/reef/command", "aquabook/+/command", "#"):
        assert await raw.subscribe(foreign) == REFUSED
    assert await raw.subscribe(COMMAND, 2) == 2
    waiting = await raw.next()
    assert waiting == Publish(COMMAND, b"waiting", 1, True, packet_id=1)
    await raw.send(Puback(1))
    assert house.listener.publish("aquabook/reef/command", b"foreign") == 0
    assert house.listener.publish(COMMAND, b"now") == 1
    assert await raw.next() == Publish(COMMAND, b"now")
    await raw.send(Unsubscribe(4, (COMMAND,)))
    assert await raw.next() == Unsuback(4)
    assert house.listener.publish(COMMAND, b"unheard") == 0
    await raw.quiet()
    assert house.drops == {"forbidden_filter": 3}


async def test_overlapping_subscriptions_deliver_once(house: House) -> None:
    raw = await Raw.login(house.port, "service")
    await raw.send(Subscribe(1, (("aquabook/#", 0), ("aquabook/+/command", 1), ("#", 0))))
    assert await raw.next() == Suback(1, (0, 1, 0))
    assert house.listener.publish(COMMAND, b"x", qos=1) == 1
    assert await raw.next() == Publish(COMMAND, b"x", 1, packet_id=1)
    await raw.quiet()


async def test_a_device_may_not_write_elsewhere_and_is_not_cut_for_it(house: House) -> None:
    raw = await Raw.login(house.port)
    await raw.publish("aquabook/reef/reading", b"mine now")
    await raw.send(Publish("aquabook/reef/state", b"x", 0, True))
    await raw.publish(READING, b"1", 2)
    assert house.store.payloads == [b"1"]
    assert house.drops == {"forbidden_topic": 2}
    assert house.listener.stats().retained == 0


async def test_publish_refuses_what_it_could_not_send(house: House) -> None:
    for topic, payload, qos in (
        ("a/#", b"", 0),
        ("", b"", 0),
        ("a", bytes(70_000), 0),
        ("a", b"", 3),
    ):
        with pytest.raises(Invalid):
            house.listener.publish(topic, payload, qos=qos)


async def test_a_port_in_use_says_what_to_do(house: House) -> None:
    clock = SystemClock()
    second = Listener("127.0.0.1", house.port, Keeper(), Intake(Store(), clock), clock)
    with pytest.raises(ConfigurationError) as refused:
        await second.start()
    assert str(refused.value) == (
        f"the MQTT listener cannot listen on 127.0.0.1:{house.port} (Address already in use): "
        "stop what else uses that port, or choose another with --mqtt-port or CARDUME_MQTT_PORT"
    )


async def test_a_host_that_is_none_says_why(house: House) -> None:
    clock = SystemClock()
    second = Listener("no.such.invalid", 0, Keeper(), Intake(Store(), clock), clock)
    with pytest.raises(ConfigurationError) as refused:
        await second.start()
    assert "Unknown error" not in str(refused.value)


async def test_stop_acknowledges_what_was_sent_and_publishes_no_will(house: House) -> None:
    raw = await Raw.login(house.port, will=Will("aquabook/tank/availability", b"offline"))
    house.store.open.clear()
    await raw.send(Publish(READING, b"last", 1, packet_id=8))
    await until(lambda: house.store.entered)
    stopping = asyncio.create_task(house.listener.stop(5.0))
    await until(lambda: _refused(house.port), "the listener to accept no more")
    house.store.open.set()
    assert await raw.next() == Puback(8)
    assert await raw.closed()
    await stopping
    assert await house.intake.drain(5.0)
    assert house.store.payloads == [b"last"]


def _refused(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) != 0
