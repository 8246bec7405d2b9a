"""The link to a real mosquitto: what it takes, what it acknowledges, and a broker that dies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from cardume.clock import SystemClock
from cardume.errors import Invalid, Unavailable
from cardume.mqtt.intake import Intake
from cardume.mqtt.link.link import Link, Protocol
from cardume.mqtt.link.url import parse_url, tls_context
from cardume.mqtt.ports import Delivery
from tests.client.authority import Authority
from tests.mqtt.conftest import Store
from tests.support.broker import Mosquitto, mosquitto, needs_broker
from tests.support.waiting import PATIENCE, until

pytestmark = needs_broker

FILTERS = ("aquabook/+/availability", "aquabook/+/reading")
READING = "aquabook/probe/reading"


class Shore:
    """A link, what came in by it, and what it told."""

    def __init__(self, link: Link, intake: Intake, store: Store) -> None:
        self.link = link
        self.intake = intake
        self.store = store
        self.told: list[str] = []
        link.up = lambda: self.told.append("up")
        link.down = lambda: self.told.append("down")

    @property
    def is_up(self) -> bool:
        return self.link.stats().up

    async def linked(self) -> None:
        await until(lambda: self.is_up, "the link")

    async def lost(self) -> None:
        await until(lambda: not self.is_up, "losing the link")

    async def has(self, count: int) -> None:
        await until(lambda: len(self.store.messages) >= count, f"{count} messages")

    async def acknowledged(self) -> None:
        """The broker has nothing under way to us, and knows it: it reads in order."""
        await until(lambda: self.link.stats().in_flight == 0, "the acknowledgements")
        await self.link.publish_to("nobody", "elsewhere", b"", patience=PATIENCE)


@asynccontextmanager
async def shore(
    url: str,
    *,
    client_id: str = "hub",
    protocol: Protocol = "auto",
    keepalive: int = 10,
    ca: str | None = None,
    cert: str | None = None,
) -> AsyncIterator[Shore]:
    clock, store = SystemClock(), Store()
    address = parse_url(url)
    intake = Intake(store, clock)
    tls = tls_context(address, ca=ca, cert=cert, key=None)
    link = Link(
        address,
        intake,
        clock,
        filters=FILTERS,
        tls=tls,
        protocol=protocol,
        keepalive=keepalive,
    )
    there = Shore(link, intake, store)
    await link.start(client_id)
    try:
        yield there
    finally:
        store.open.set()
        await link.stop(2.0)
        await intake.drain(2.0)
        assert link.stats().faults == 0


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with mosquitto(tmp_path / "broker") as running:
        yield running


def say(
    broker: Mosquitto, topic: str, *payloads: str | bytes, retain: bool = False, qos: int = 1
) -> None:
    """Publish, and wait until the broker has taken it."""
    client = Client(CallbackAPIVersion.VERSION2)
    client.max_inflight_messages_set(1000)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    try:
        sent = [
            client.publish(topic.format(n), text, qos, retain) for n, text in enumerate(payloads)
        ]
        for info in sent:
            info.wait_for_publish(10)
    finally:
        client.disconnect()
        client.loop_stop()


async def says(broker: Mosquitto, topic: str, *payloads: str | bytes, retain: bool = False) -> None:
    await asyncio.to_thread(say, broker, topic, *payloads, retain=retain)


def numbers(first: int, last: int) -> list[str]:
    return [str(number) for number in range(first, last)]


# -- what it takes -----------------------------------------------------------------------------


@pytest.mark.parametrize(("protocol", "spoken"), [("auto", "MQTT 5"), ("3.1.1", "MQTT 3.1.1")])
async def test_it_takes_what_devices_say_in_order_and_acknowledges_it(
    broker: Mosquitto, protocol: Protocol, spoken: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with shore(broker.url, protocol=protocol) as there:
        await there.linked()
        await says(broker, READING, *numbers(0, 500))
        await says(broker, "elsewhere/probe/reading", "not ours")
        await says(broker, "aquabook/probe/command", "ours, to them")
        await there.has(500)
        assert there.store.payloads == [text.encode() for text in numbers(0, 500)]
        first = there.store.messages[0]
        assert (first.topic, first.qos, first.replay, first.dup) == (READING, 1, False, False)
        assert (first.session, first.principal, first.will) == ("link/hub", "link", False)
        assert first.packet_id is not None
        await there.acknowledged()
    assert f"({spoken}, a new session)" in caplog.text
    async with shore(broker.url, protocol=protocol) as again:
        await again.linked()
        await says(broker, READING, "live")
        await again.has(1)
        assert again.store.payloads == [b"live"]
    assert f"({spoken}, the kept session)" in caplog.text


async def test_a_replay_is_told_from_a_live_message(broker: Mosquitto) -> None:
    topic = "aquabook/probe/availability"
    await says(broker, topic, "online", retain=True)
    async with shore(broker.url) as there:
        await there.has(1)
        await says(broker, topic, "offline", retain=True)
        await there.has(2)
        assert [(m.payload, m.replay) for m in there.store.messages] == [
            (b"online", True),
            (b"offline", False),
        ]


async def test_ten_thousand_retained_messages(broker: Mosquitto) -> None:
    await says(broker, "aquabook/d{}/availability", *["online"] * 10_000, retain=True)
    async with shore(broker.url) as there:
        await there.has(10_000)
        assert all(message.replay for message in there.store.messages)
        assert len({message.topic for message in there.store.messages}) == 10_000
        await there.acknowledged()
        await says(broker, READING, "live")
        await there.has(10_001)
        assert not there.store.messages[-1].replay


async def test_a_message_too_big_is_passed_over_and_done_with(broker: Mosquitto) -> None:
    """With 3.1.1 a client cannot ask for a limit; unacknowledged it would come for ever."""
    async with shore(broker.url, protocol="3.1.1") as there:
        await there.linked()
        await says(broker, READING, "x" * 1_000_000, "small")
        await there.has(1)
        assert there.store.payloads == [b"small"]
        assert there.link.stats().drops == {"too_big": 1}
        await there.acknowledged()
    async with shore(broker.url, protocol="3.1.1") as again:
        await again.linked()
        await says(broker, READING, "more")
        await again.has(1)
        assert again.link.stats().drops == {}


async def test_junk_on_every_topic_is_handed_on_and_acknowledged(broker: Mosquitto) -> None:
    async with shore(broker.url) as there:
        await there.linked()
        await says(broker, READING, "zu heiß".encode("latin-1"))
        await says(broker, "aquabook//reading", "no name")
        await says(broker, "aquabook/ä ö/reading", "")
        await there.has(3)
        await there.acknowledged()


async def test_it_hands_messages_to_the_broker(broker: Mosquitto) -> None:
    async with shore(broker.url) as there:
        link = there.link
        assert await link.publish_to("probe", READING, b"too early") is Delivery.NO_SESSION
        await there.linked()
        assert await link.publish_to("probe", READING, b"1", expiry=60) is Delivery.SENT
        assert await link.publish_to("probe", READING, b"2", qos=0) is Delivery.SENT
        await there.has(2)
        told = await link.publish_to("probe", "aquabook/probe/command", b"nobody subscribed")
        assert told is Delivery.NO_SESSION
        with pytest.raises(Invalid):
            await link.publish_to("probe", "aquabook/+/reading", b"1")
        broker.pause()
        assert await link.publish_to("probe", READING, b"3", patience=0.05) is Delivery.SENT
        waiting = asyncio.ensure_future(link.publish_to("probe", READING, b"4"))
        await asyncio.sleep(0)
        broker.kill()
        await there.lost()
        assert await waiting is Delivery.SENT  # perhaps
        assert await link.publish_to("probe", READING, b"5") is Delivery.NO_SESSION


# -- what it acknowledges ----------------------------------------------------------------------


async def test_nothing_is_acknowledged_before_it_is_kept(broker: Mosquitto) -> None:
    async with shore(broker.url) as there:
        await there.linked()
        there.store.open.clear()
        await says(broker, READING, *numbers(0, 5))
        await until(lambda: there.link.stats().in_flight == 5)
        await there.link.stop(0.1)  # nobody keeps them
        there.store.open.set()
    async with shore(broker.url) as again:
        await again.has(5)
        first = [(m.payload, m.packet_id, m.dup) for m in again.store.messages]
        assert first == [(b"%d" % n, n + 1, True) for n in range(5)]
        await again.acknowledged()


async def test_while_the_database_is_away_messages_wait_with_the_broker(broker: Mosquitto) -> None:
    async with shore(broker.url) as there:
        await there.linked()
        there.store.faults = [Unavailable("full")] * 10_000
        await says(broker, READING, *numbers(0, 10))
        await until(lambda: there.link.stats().in_flight == 10)
        await until(lambda: not there.intake.healthy)
        there.store.faults.clear()
        await there.has(10)  # by itself
        assert there.intake.healthy
        assert there.store.payloads == [text.encode() for text in numbers(0, 10)]
        await there.acknowledged()
        assert there.told == ["up"]


async def test_a_full_intake_stops_reading_and_keeps_the_link(broker: Mosquitto) -> None:
    """QoS 0 knows no bound but the socket."""
    async with shore(broker.url) as there:
        await there.linked()
        there.store.open.clear()
        await asyncio.to_thread(say, broker, READING, *numbers(0, 20_000), qos=0)
        await until(lambda: there.intake.stats().pending >= 4096)
        assert there.intake.stats().pending < 10_000
        there.store.open.set()
        await says(broker, READING, "at last")
        await until(lambda: b"at last" in there.store.payloads[-1:])
        assert there.told == ["up"]


async def test_a_message_that_cannot_be_handled_stays_with_the_broker(
    broker: Mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    async with shore(broker.url) as there:
        await there.linked()
        await says(broker, READING, "1", "poison", "2")
        await there.has(2)
        assert there.store.payloads == [b"1", b"2"]
        await until(lambda: there.intake.stats().poisoned == 1)
    assert "poison" not in caplog.text.replace("_keep_each", "")


# -- a broker that dies ------------------------------------------------------------------------


async def test_killed_and_started_again_it_has_what_it_saved(broker: Mosquitto) -> None:
    async with shore(broker.url) as there:
        await there.linked()
        await says(broker, READING, *numbers(0, 50))
        await there.has(50)
        await there.acknowledged()
        await broker.save()
        broker.kill()
        await there.lost()
        broker.start()
        await there.linked()
        await says(broker, READING, *numbers(50, 100))
        await there.has(100)
        assert there.store.payloads == [text.encode() for text in numbers(0, 100)]
        assert there.told == ["up", "down", "up"]
        assert there.link.stats().reconnects == 1


async def test_what_came_while_we_were_away_waits_through_a_crash_of_the_broker(
    broker: Mosquitto,
) -> None:
    async with shore(broker.url) as there:
        await there.linked()
    await says(broker, READING, *numbers(0, 200))
    await broker.save()
    broker.kill()
    broker.start()
    async with shore(broker.url) as again:
        await again.has(200)
        assert again.store.payloads == [text.encode() for text in numbers(0, 200)]
        assert not any(message.replay for message in again.store.messages)


async def test_a_broker_without_memory_is_subscribed_to_anew(tmp_path: Path) -> None:
    with mosquitto(tmp_path / "broker", persistence=False) as broker:
        async with shore(broker.url) as there:
            await there.linked()
            broker.stop()
            await there.lost()
            broker.start()
            await there.linked()
            await says(broker, READING, "heard")
            await there.has(1)


async def test_a_broker_that_hangs_is_doubted_first_and_given_up_then(broker: Mosquitto) -> None:
    async with shore(broker.url, keepalive=1) as there:
        await there.linked()
        assert there.link.hears()
        broker.pause()
        await until(lambda: not there.link.hears(), "doubts")
        assert there.is_up or there.told == ["up", "down"]
        await there.lost()
        broker.resume()
        await there.linked()
        await says(broker, READING, "heard")
        await there.has(1)


async def test_a_broker_that_comes_later_than_we_do(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path / "broker")
    async with shore(broker.url) as there:
        await until(lambda: "refused" in there.link.why)
        broker.start()
        try:
            await there.linked()
        finally:
            broker.kill()


# -- who comes in ------------------------------------------------------------------------------


async def test_a_wrong_password_is_said_without_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    passwords = tmp_path / "passwords"
    made = ("mosquitto_passwd", "-b", "-c", str(passwords), "hub", "hunter2")
    assert await (await asyncio.create_subprocess_exec(*made)).wait() == 0
    lines = ("allow_anonymous false", f"password_file {passwords}")
    with mosquitto(tmp_path / "broker", *lines) as broker:
        address = f"127.0.0.1:{broker.port}"
        async with shore(f"mqtt://hub:hunter3@{address}") as there:
            await until(lambda: "not authorized" in there.link.why)
        async with shore(f"mqtt://hub:hunter2@{address}") as there:
            await there.linked()
    assert "hunter" not in caplog.text


async def test_tls_with_a_certificate_of_its_own(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    ca, own = str(authority.ca), str(authority.server())
    files = (f"cafile {ca}", f"certfile {own}", f"keyfile {own}", "require_certificate true")
    with mosquitto(tmp_path / "broker", *files) as broker:
        url = f"mqtts://127.0.0.1:{broker.port}"
        async with shore(url, ca=ca, cert=own) as there:
            await there.linked()
            await there.link.publish_to("probe", READING, b"x" * 60_000)
            await there.has(1)
            broker.kill()
            await there.lost()
            broker.start()
            await there.linked()
        async with shore(url, cert=own) as there:  # the system does not know this one
            await until(lambda: "its certificate is not believed" in there.link.why)
        async with shore(url, ca=ca) as there:  # it asks for ours
            await until(lambda: there.link.why not in ("", "not connected yet"))
            assert not there.told


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_two_links_of_one_name_back_off_and_say_so_once(
    broker: Mosquitto, protocol: Protocol, caplog: pytest.LogCaptureFixture
) -> None:
    async with shore(broker.url, protocol=protocol) as one:
        await one.linked()
        async with shore(broker.url, protocol=protocol) as two:
            await until(lambda: "CARDUME_MQTT_CLIENT_ID" in caplog.text)
            assert one.link.stats().reconnects + two.link.stats().reconnects < 12
    assert caplog.text.count("CARDUME_MQTT_CLIENT_ID") <= 2  # once for each of the two
