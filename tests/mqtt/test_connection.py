"""What goes wrong on a connection: the client lost, slow, hostile, or one of very many."""

from __future__ import annotations

import asyncio
import gc

import pytest

from cardume.mqtt.codec.encoder import encode
from cardume.mqtt.codec.packets import (
    Disconnect,
    Pingreq,
    Pingresp,
    Puback,
    Publish,
    Subscribe,
    Will,
)
from cardume.mqtt.connection import Connection
from cardume.mqtt.limits import Limits
from cardume.testing import FakeClock
from tests.mqtt.clients import Raw, mosquitto_start, needs_mosquitto, until
from tests.mqtt.conftest import House, open_house

READING = "aquabook/tank/reading"
COMMAND = "aquabook/tank/command"
WILL = Will("aquabook/tank/availability", b"offline", 1, True)


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> object:
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
    return ("asyncio", {"use_uvloop": request.param == "uvloop"})


# -- wills -----------------------------------------------------------------------------------------


@needs_mosquitto
async def test_the_will_of_a_killed_mosquitto(house: House) -> None:
    arguments = ("-t", COMMAND, "--will-topic", WILL.topic, "--will-payload", "offline",
                 "--will-retain", "--will-qos", "1")  # fmt: skip
    running = await mosquitto_start("sub", house.port, *arguments)
    await until(lambda: house.listener.connected("tank"))
    running.kill()
    await running.wait()
    await until(lambda: house.store.wills == [b"offline"])
    assert house.listener.stats().retained == 1
    assert not house.listener.connected("tank")
    (message,) = house.store.messages
    assert (message.principal, message.packet_id, message.qos) == ("tank", None, 1)


async def test_no_will_after_disconnect(house: House) -> None:
    raw = await Raw.login(house.port, will=WILL)
    await raw.send(Publish(READING, b"bye"), Disconnect())
    assert await raw.closed()
    await until(lambda: house.store.payloads == [b"bye"])
    await Raw.login(house.port)
    assert house.store.wills == []


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"\xff\xff", "malformed_packet"),
        (b"\x30\x03\x00\x01#", "malformed_packet"),
        (b"\x30\x03\x00\x01\x00", "malformed_packet"),
        (b"\x30\x03\x00\x01\xff", "malformed_packet"),
        (b"\x20\x02\x00\x00", "unexpected_packet"),
        (b"\x82\x07\x00\x01\x00\x02a#\x00", "malformed_packet"),
        (encode(Publish(READING, bytes(65_537))), "payload_too_large"),
        (encode(Publish(READING, bytes(300_000))), "packet_too_large"),
    ],
)
async def test_a_broken_rule_closes_and_publishes_the_will(
    house: House, sent: bytes, reason: str
) -> None:
    raw = await Raw.login(house.port, will=WILL)
    other = await Raw.login(house.port, "reef")
    raw.writer.write(encode(Publish(READING, b"before")) + sent)
    assert await raw.closed()
    await until(lambda: house.store.payloads == [b"before", b"offline"])
    assert house.drops == {reason: 1}
    await other.publish("aquabook/reef/reading", b"unharmed")


async def test_keepalive_lapses_after_one_and_a_half() -> None:
    clock = FakeClock()
    async with open_house(clock=clock) as house:
        raw = await Raw.login(house.port, keepalive=10, will=WILL)
        free = await Raw.login(house.port, "reef", keepalive=0)
        await clock.advance(9)
        await raw.quiet()
        await clock.advance(14.9)
        await raw.quiet()
        await clock.advance(14.9)
        assert house.listener.connected("tank")
        await clock.advance(0.6)
        assert await raw.closed()
        await until(lambda: house.store.wills == [b"offline"])
        assert house.drops == {"keepalive": 1}
        await clock.advance(100_000)
        await free.quiet()


async def test_a_will_may_be_forced_by_us(house: House) -> None:
    one = await Raw.login(house.port, client_id="1", will=WILL)
    two = await Raw.login(house.port, client_id="2", will=WILL)
    assert house.listener.disconnect("tank") == 2
    assert await one.closed()
    assert await two.closed()
    await until(lambda: len(house.store.wills) == 2)
    assert house.listener.disconnect("tank") == 0


# -- sessions that outlive a connection ------------------------------------------------------------


async def test_a_persistent_session_keeps_subscriptions_and_messages(house: House) -> None:
    raw = await Raw.login(house.port, clean=False)
    assert await raw.subscribe(COMMAND, 1) == 1
    house.listener.publish(COMMAND, b"unacknowledged", qos=1)
    first = await raw.next()
    raw.cut()
    await until(lambda: not house.listener.connected("tank"))
    house.listener.publish(COMMAND, b"queued", qos=1)
    house.listener.publish(COMMAND, b"lost at QoS 0")
    assert house.listener.stats().parked_sessions == 1

    raw = await Raw.login(house.port, clean=False, present=True)
    again, queued = await raw.next(), await raw.next()
    assert first == Publish(COMMAND, b"unacknowledged", 1, packet_id=1)
    assert again == Publish(COMMAND, b"unacknowledged", 1, dup=True, packet_id=1)
    assert queued == Publish(COMMAND, b"queued", 1, packet_id=2)
    await raw.send(Puback(1), Puback(2))
    house.listener.publish(COMMAND, b"live")
    assert await raw.next() == Publish(COMMAND, b"live")

    await raw.send(Disconnect())
    assert await raw.closed()
    raw = await Raw.login(house.port, clean=True)
    house.listener.publish(COMMAND, b"to nobody", qos=1)
    await raw.quiet()
    raw.cut()
    await until(lambda: not house.listener.connected("tank"))
    await Raw.login(house.port, clean=False, present=False)


async def test_parked_sessions_are_bounded() -> None:
    async with open_house(limits=Limits(max_parked=2)) as house:
        for client_id in "123":
            raw = await Raw.login(house.port, client_id=client_id, clean=False)
            await raw.send(Disconnect())
            assert await raw.closed()
        assert house.listener.stats().parked_sessions == 2
        assert house.drops == {"parked_session_evicted": 1}
        await Raw.login(house.port, client_id="1", clean=False, present=False)
        await Raw.login(house.port, client_id="3", clean=False, present=True)


async def test_subscriptions_are_bounded() -> None:
    async with open_house(limits=Limits(max_subscriptions=2)) as house:
        raw = await Raw.login(house.port, "service")
        assert [await raw.subscribe(name) for name in "aabbc"] == [0, 0, 0, 0, 0x80]


# -- pressure --------------------------------------------------------------------------------------


async def test_a_stuck_handler_stops_the_reading_and_loses_nothing() -> None:
    async with open_house(max_pending=64) as house:
        house.store.open.clear()
        flood, other = await Raw.login(house.port), await Raw.login(house.port, "reef")
        count = 2000
        payload = bytes(1000)
        sending = asyncio.create_task(
            flood.send(*(Publish(READING, payload, 1, packet_id=n + 1) for n in range(count)))
        )
        await until(lambda: house.intake.stats().pending == 64)
        await other.send(Publish("aquabook/reef/reading", b"0", 0), Pingreq())
        await until(lambda: house.intake.stats().pending == 65)
        for _ in range(50):
            await asyncio.sleep(0)
        assert house.intake.stats().pending == 65  # held, what came was taken
        house.store.open.set()
        assert await other.next() == Pingresp()
        assert [await flood.next() for _ in range(count)] == [Puback(n + 1) for n in range(count)]
        await sending
        assert len(house.store.messages) == count + 1
        assert max(house.store.batches) <= 65
        assert house.drops == {}


async def test_a_device_we_do_not_read_is_not_declared_silent() -> None:
    clock = FakeClock()
    async with open_house(clock=clock, max_pending=2) as house:
        raw = await Raw.login(house.port, keepalive=10, will=WILL)
        house.store.open.clear()
        await raw.send(*(Publish(READING, b"%d" % n, 1, packet_id=n) for n in (1, 2, 3)))
        await until(lambda: house.intake.stats().pending == 2)
        await clock.advance(60)
        assert house.listener.connected("tank")
        house.store.open.set()
        assert [await raw.next() for _ in range(3)] == [Puback(n) for n in (1, 2, 3)]
        assert house.store.wills == []


async def test_a_reader_that_never_reads_is_cut_and_freed() -> None:
    clock = FakeClock()
    async with open_house(clock=clock, limits=Limits(outbound=1 << 20)) as house:
        slow = await Raw.login(house.port, "service", receive_buffer=4096)
        fast = await Raw.login(house.port)
        await slow.subscribe("#")
        await fast.subscribe(COMMAND)
        slow.writer.transport.pause_reading()  # type: ignore[attr-defined]
        payload = bytes(60_000)
        while not house.drops.get("qos0_slow_reader"):
            house.listener.publish("aquabook/x/y", payload)
            await asyncio.sleep(0)
            assert house.listener.stats().sent < 400, "unbounded"
        house.listener.publish(COMMAND, b"still served")
        assert await fast.next() == Publish(COMMAND, b"still served")
        await clock.advance(11)
        await until(lambda: house.listener.stats().connections == 1)
        assert house.drops["slow_reader"] == 1
        assert house.listener.publish("aquabook/x/y", payload) == 0
        gc.collect()
        assert sum(isinstance(thing, Connection) for thing in gc.get_objects()) == 1
        slow.cut()


async def test_answers_that_are_never_read_do_not_pile_up() -> None:
    """Pings by the million and no reading: we stop answering by not reading either."""
    clock = FakeClock()
    async with open_house(clock=clock, limits=Limits(outbound=64 * 1024)) as house:
        raw = await Raw.login(house.port, receive_buffer=4096)
        raw.writer.transport.pause_reading()  # type: ignore[attr-defined]
        pings = encode(Pingreq()) * 50_000
        flooding = asyncio.create_task(_flood(raw, pings))
        while house.listener.stats().connections:
            await clock.advance(0.5)
            await asyncio.sleep(0.001)
        await flooding
        assert house.drops == {"slow_reader": 1}


async def _flood(raw: Raw, data: bytes) -> None:
    try:
        while True:
            await raw.write(data)
    except ConnectionError:
        raw.cut()


async def test_a_slow_subscriber_gets_every_retained_message() -> None:
    """More of them than its buffer holds: they wait for room instead of being dropped."""
    async with open_house(limits=Limits(outbound=64 * 1024)) as house:
        count = 200
        for number in range(count):
            house.listener.publish(f"aquabook/{number}/state", bytes(10_000), retain=True)
        raw = await Raw.login(house.port, "service", receive_buffer=4096)
        await raw.subscribe("aquabook/+/state")
        topics = set()
        for _ in range(count):
            packet = await raw.next()
            assert isinstance(packet, Publish)
            assert packet.retain
            topics.add(packet.topic)
        assert len(topics) == count
        assert house.drops == {}


async def test_many_subscribes_in_one_segment_leave_the_loop_its_turns(house: House) -> None:
    raw = await Raw.login(house.port, "service")
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    await raw.send(*(Subscribe(n, (("#", 0),)) for n in range(1, 300)))
    for n in range(1, 300):
        assert (await raw.next()).packet_id == n  # type: ignore[union-attr]
    counting.cancel()
    assert turns > 299


async def test_two_hundred_at_once(house: House) -> None:
    async def live(number: int) -> None:
        name = f"tank{number}"
        raw = await Raw.login(house.port, name, keepalive=60)
        await raw.subscribe(f"aquabook/{name}/command", 1)
        for packet_id in (1, 2, 3):
            await raw.publish(f"aquabook/{name}/reading", b"%d" % packet_id, packet_id)
        house.listener.publish(f"aquabook/{name}/command", b"go", qos=1)
        assert await raw.next() == Publish(f"aquabook/{name}/command", b"go", 1, packet_id=1)
        await raw.send(Puback(1))

    async with asyncio.TaskGroup() as group:
        for number in range(200):
            group.create_task(live(number))
    assert len(house.store.messages) == 600
    stats = house.listener.stats()
    assert (stats.received, stats.sent, stats.drops) == (600, 200, {})
