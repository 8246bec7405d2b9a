"""From the hub to one device, with word of what became of it."""

from __future__ import annotations

import asyncio

import pytest

from cardume.errors import Invalid
from cardume.mqtt.codec.packets import Puback, Publish, Pubrec, Unsubscribe
from cardume.mqtt.codec.reasons import Reason
from cardume.mqtt.limits import Limits
from cardume.mqtt.ports import Delivery, Downlink
from cardume.testing import FakeClock
from tests.mqtt.clients import Raw, until
from tests.mqtt.conftest import House, open_house

COMMAND = "aquabook/tank/command"


def send(house: House, payload: bytes = b"go", **how: float) -> asyncio.Task[Delivery]:
    downlink: Downlink = house.listener.downlink
    return asyncio.create_task(downlink.publish_to("tank", COMMAND, payload, **how))  # type: ignore[arg-type]


def follow(house: House, payload: bytes = b"go", qos: int = 1, **how: float) -> list[Delivery]:
    """What is said about it, as it comes."""
    said: list[Delivery] = []
    house.listener.downlink.dispatch("tank", COMMAND, payload, qos=qos, tell=said.append, **how)
    return said


async def away(house: House, qos: int = 1) -> None:
    """A device that subscribed and left."""
    raw = await Raw.login_5(house.port, session_expiry=600)
    await raw.subscribe(COMMAND, qos)
    raw.cut()
    await until(lambda: not house.listener.connected("tank"))


async def test_acknowledged(house: House) -> None:
    raw = await Raw.login(house.port)
    await raw.subscribe(COMMAND, 2)
    for qos, answer in ((1, Puback), (2, Pubrec)):
        sending = send(house, qos=qos)
        packet = await raw.published()
        assert (packet.payload, packet.qos) == (b"go", qos)
        assert not sending.done()
        await raw.send(answer(packet.packet_id))
        assert await sending is Delivery.ACKNOWLEDGED


async def test_nobody_there(house: House) -> None:
    assert await send(house) is Delivery.NO_SESSION
    await Raw.login(house.port)  # it has not subscribed
    listening = await Raw.login(house.port, "service")
    await listening.subscribe("#", 1)
    assert await send(house) is Delivery.NO_SESSION
    assert (await listening.published()).payload == b"go"


async def test_sent_at_qos_0_and_nothing_more_is_known(house: House) -> None:
    raw = await Raw.login(house.port)
    await raw.subscribe(COMMAND, 0)
    assert await send(house) is Delivery.SENT
    assert await raw.next() == Publish(COMMAND, b"go")
    await raw.subscribe(COMMAND, 1)
    assert await send(house, qos=0) is Delivery.SENT


async def test_rejected(house: House) -> None:
    raw = await Raw.login_5(house.port)
    await raw.subscribe(COMMAND, 1)
    sending = send(house)
    await raw.send(Puback((await raw.published()).packet_id, Reason.NOT_ACCEPTED))
    assert await sending is Delivery.REJECTED


async def test_patience_ends_and_the_message_stays_under_way() -> None:
    clock = FakeClock()
    async with open_house(clock) as house:
        raw = await Raw.login_5(house.port)
        await raw.subscribe(COMMAND, 1)
        sending = send(house, patience=3)
        packet = await raw.published()
        await clock.advance(3)
        assert await sending is Delivery.SENT
        await raw.send(Puback(packet.packet_id))
        raw.cut()
        await until(lambda: not house.listener.connected("tank"))
        await away(house)
        sending = send(house, patience=3)
        await clock.advance(3)
        assert await sending is Delivery.QUEUED


async def test_every_step_is_told_also_after_a_lost_connection(house: House) -> None:
    await away(house)
    said = follow(house)
    assert said == [Delivery.QUEUED]
    raw = await Raw.login_5(house.port, clean=False, session_expiry=600, present=True)
    await raw.published()
    assert said == [Delivery.QUEUED, Delivery.SENT]
    raw.cut()
    await until(lambda: not house.listener.connected("tank"))
    raw = await Raw.login_5(house.port, clean=False, session_expiry=600, present=True)
    packet = await raw.published()
    assert packet.dup
    await raw.send(Puback(packet.packet_id))
    await raw.quiet()
    assert said == [Delivery.QUEUED, Delivery.SENT, Delivery.ACKNOWLEDGED]


async def test_expired_before_the_device_was_back() -> None:
    clock = FakeClock()
    async with open_house(clock) as house:
        await away(house)
        said = follow(house, expiry=10)
        await clock.advance(10)
        raw = await Raw.login_5(house.port, clean=False, present=True)
        await raw.quiet()
        assert said == [Delivery.QUEUED, Delivery.EXPIRED]


async def test_dropped_with_its_session_its_subscription_or_for_want_of_room() -> None:
    async with open_house(limits=Limits(session_messages=1)) as house:
        await away(house)
        first, second = follow(house), follow(house)
        assert first == [Delivery.QUEUED]
        assert second == [Delivery.QUEUED, Delivery.DROPPED]
        house.keeper.barred.add(COMMAND)
        raw = await Raw.login_5(house.port, clean=False, session_expiry=600, present=True)
        assert first == [Delivery.QUEUED, Delivery.DROPPED]
        raw.cut()
        await until(lambda: not house.listener.connected("tank"))
        house.keeper.barred.clear()
        raw = await Raw.login_5(house.port, clean=False, session_expiry=600, present=True)
        await raw.subscribe(COMMAND, 1)
        third = follow(house)
        await raw.published()
        await raw.send(Unsubscribe(1, (COMMAND,)))  # it is under way: that is not undone
        await raw.next()
        assert third == [Delivery.QUEUED, Delivery.SENT]
        await Raw.login_5(house.port, clean=True)
        assert third[2:] == [Delivery.DROPPED]


async def test_not_kept_at_qos_0_for_a_device_that_is_away(house: House) -> None:
    await away(house, qos=0)
    assert await send(house) is Delivery.DROPPED


async def test_one_acknowledgement_of_two_clients_is_enough(house: House) -> None:
    one = await Raw.login_5(house.port, client_id="1")
    two = await Raw.login_5(house.port, client_id="2", session_expiry=600)
    for raw in (one, two):
        await raw.subscribe(COMMAND, 1)
    said = follow(house)
    packet = await one.published()
    one.cut()
    await until(lambda: house.listener.stats().connections == 1)
    assert said == [Delivery.QUEUED, Delivery.SENT]  # the other one may still answer
    assert (await two.published()).packet_id == packet.packet_id
    await two.send(Puback(packet.packet_id))
    await two.quiet()
    assert said[-1] is Delivery.ACKNOWLEDGED


@pytest.mark.parametrize(
    ("topic", "payload", "qos"),
    [("a/#", b"", 1), ("", b"", 1), ("a", bytes(70_000), 1), ("a", b"", 3)],
)
async def test_what_cannot_be_sent(house: House, topic: str, payload: bytes, qos: int) -> None:
    with pytest.raises(Invalid):
        await house.listener.downlink.publish_to("tank", topic, payload, qos=qos)
