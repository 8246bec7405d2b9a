"""Rights that shrink: nothing comes through a filter that would be refused today."""

from __future__ import annotations

from cardume.mqtt.codec.packets import Publish
from cardume.mqtt.codec.reasons import REFUSED
from tests.mqtt.clients import Raw, until
from tests.mqtt.conftest import House

READING = "aquabook/tank/reading"
STATE = "aquabook/tank/state"
COMMAND = "aquabook/tank/command"


async def test_a_resumed_session_is_judged_again(house: House) -> None:
    raw = await Raw.login(house.port, "service", clean=False)
    assert [await raw.subscribe(name, 1) for name in (READING, STATE)] == [1, 1]
    raw.cut()
    await until(lambda: not house.listener.connected("service"))
    for topic in (READING, STATE):
        house.listener.publish(topic, b"queued", qos=1)
    house.keeper.barred.add(READING)
    raw = await Raw.login(house.port, "service", clean=False, present=True)
    assert await raw.next() == Publish(STATE, b"queued", 1, packet_id=1)
    assert house.listener.publish(READING, b"live") == 0
    await raw.quiet()
    assert house.drops["forbidden_filter"] == 1


async def test_asking_again_and_being_refused_ends_the_subscription(house: House) -> None:
    raw = await Raw.login(house.port, "service")
    assert await raw.subscribe(READING) == 0
    assert house.listener.publish(READING, b"1") == 1
    assert await raw.next() == Publish(READING, b"1")
    house.keeper.barred.add(READING)
    assert await raw.subscribe(READING) == REFUSED
    assert house.listener.publish(READING, b"2") == 0
    await raw.quiet()


async def test_a_forgotten_user_leaves_nothing_to_whoever_gets_the_name(house: House) -> None:
    here = await Raw.login(house.port, client_id="here", clean=False)
    away = await Raw.login(house.port, client_id="away", clean=False)
    for raw in (here, away):
        await raw.subscribe(COMMAND, 1)
    away.cut()
    await until(lambda: house.listener.stats().parked_sessions == 1)
    house.listener.publish(COMMAND, b"secret", qos=1)
    house.listener.forget("tank")
    assert house.listener.stats().parked_sessions == 0
    assert house.listener.publish(COMMAND, b"to nobody", qos=1) == 0
    for name in ("here", "away"):
        raw = await Raw.login(house.port, client_id=name, clean=False, present=False)
        await raw.quiet()
