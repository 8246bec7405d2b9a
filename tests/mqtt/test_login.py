"""Who comes in, and who takes whose place."""

from __future__ import annotations

import asyncio

import pytest

from cardume.mqtt.codec.encoder import encode
from cardume.mqtt.codec.packets import Connack, Connect, Pingreq, Publish, Will
from cardume.mqtt.limits import Limits
from cardume.testing import FakeClock
from tests.mqtt.clients import Raw, mosquitto, needs_mosquitto, until
from tests.mqtt.conftest import House, open_house


@needs_mosquitto
async def test_mosquitto_is_let_in_or_told_why_not(house: House) -> None:
    arguments = ("-t", "aquabook/tank/reading", "-m", "{}", "-q", "1")
    assert await mosquitto("pub", house.port, *arguments) == (0, "")
    code, output = await mosquitto("pub", house.port, *arguments, "-P", "wrong")
    assert code != 0
    assert "bad user name or password" in output
    house.keeper.available = False
    code, output = await mosquitto("pub", house.port, *arguments)
    assert code != 0
    assert "unavailable" in output
    assert len(house.store.messages) == 1
    assert house.drops == {"bad_credentials": 1, "login_unavailable": 1}


@pytest.mark.parametrize(
    ("packet", "code"),
    [
        (Connect("c", level=6), 1),
        (Connect("c", level=3), 1),
        (Connect("", clean=False, username="tank", password=b"tank"), 2),
        (Connect("c" * 200, username="tank", password=b"tank"), 2),
        (Connect("c", username="tank", password=b"nope"), 4),
        (Connect("c", username="tank"), 4),
        (Connect("c"), 5),
        (Connect("c", username="tank", password=b"tank", will=Will("aquabook/reef/x", b"")), 5),
    ],
)
async def test_refusals(house: House, packet: Connect, code: int) -> None:
    raw = await Raw.dial(house.port)
    await raw.send(packet)
    assert await raw.next() == Connack(code)
    assert await raw.closed()
    assert sum(house.drops.values()) == 1


async def test_a_nameless_clean_client_gets_a_name(house: House) -> None:
    one = await Raw.login(house.port, client_id="")
    two = await Raw.login(house.port, client_id="")
    await one.quiet()
    await two.quiet()
    assert house.listener.stats().connections == 2


async def test_half_a_connect_and_silence_is_closed() -> None:
    clock = FakeClock()
    async with open_house(clock=clock) as house:
        silent, half, stuck = [await Raw.dial(house.port) for _ in range(3)]
        await half.write(encode(Connect("c", username="tank"))[:7])
        house.keeper.answering.clear()
        await stuck.send(Connect("c", username="tank", password=b"tank"))
        await until(lambda: house.listener.stats().connections == 3)
        await clock.advance(9.9)
        assert house.listener.stats().connections == 3
        await clock.advance(0.7)
        for raw in (silent, half, stuck):
            assert await raw.closed()
        await until(lambda: house.listener.stats().connections == 0)
        assert house.drops == {"connect_timeout": 3}
        assert not [t for t in asyncio.all_tasks() if t.get_name() == "mqtt-login"]


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "no_connect"),
        (b"\x00", "no_connect"),
        (encode(Pingreq()), "no_connect"),
        (encode(Publish("a", b"")), "no_connect"),
        (b"\x10\xff\xff\xff\x7f", "packet_too_large"),
        (b"\x10\xff\xff\xff\xff\xff", "malformed_packet"),
        (b"\x10\x04\x00\x04HTTP", "malformed_packet"),
    ],
)
async def test_what_is_no_connect_is_closed(house: House, sent: bytes, reason: str) -> None:
    raw = await Raw.dial(house.port)
    await raw.write(sent)
    assert await raw.closed()
    assert house.drops == {reason: 1}


async def test_packets_may_follow_connect_at_once(house: House) -> None:
    house.keeper.answering.clear()
    raw = await Raw.dial(house.port)
    big = bytes(30_000)  # more than a CONNECT may hold
    await raw.send(
        Connect("c", username="tank", password=b"tank"),
        Publish("aquabook/tank/reading", big, 1, packet_id=3),
    )
    await asyncio.sleep(0)
    house.keeper.answering.set()
    assert await raw.next() == Connack(0)
    await raw.next()
    assert house.store.payloads == [big]


async def test_a_second_connect_closes(house: House) -> None:
    raw = await Raw.login(house.port)
    await raw.send(Connect("tank", username="tank", password=b"tank"))
    assert await raw.closed()
    assert house.drops == {"second_connect": 1}


async def test_a_newcomer_takes_over_after_the_will_of_the_old(house: House) -> None:
    will = Will("aquabook/tank/availability", b"offline", 1, True)
    old = await Raw.login(house.port, will=will)
    new = await Raw.login(house.port)
    assert await old.closed()
    await new.publish("aquabook/tank/availability", b"online")
    assert house.store.payloads == [b"offline", b"online"]
    assert house.drops == {"takeover": 1}
    assert house.listener.stats().connections == 1


async def test_nobody_takes_over_anothers_session(house: House) -> None:
    tank = await Raw.login(house.port, "tank", "same")
    reef = await Raw.login(house.port, "reef", "same")
    await tank.publish("aquabook/tank/reading", b"1")
    await reef.publish("aquabook/reef/reading", b"2")
    assert house.drops == {}
    assert len({message.session for message in house.store.messages}) == 2
    assert [message.principal for message in house.store.messages] == ["tank", "reef"]


async def test_connections_are_capped() -> None:
    async with open_house(limits=Limits(max_connections=2)) as house:
        first = await Raw.login(house.port, client_id="1")
        await Raw.login(house.port, client_id="2")
        assert await (await Raw.dial(house.port)).closed()
        assert house.drops == {"too_many_connections": 1}
        first.cut()
        await until(lambda: house.listener.stats().connections == 1)
        await Raw.login(house.port, client_id="3")
