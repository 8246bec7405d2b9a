"""Shared subscriptions: one member of a group gets a message, in turn (5.0 §4.8.2)."""

from __future__ import annotations

import pytest

from cardume.mqtt.codec.packets import (
    Disconnect,
    Pingreq,
    Pingresp,
    Puback,
    Publish,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
)
from cardume.mqtt.codec.reasons import REFUSED, Reason
from cardume.mqtt.limits import Limits
from cardume.mqtt.topics import split_shared
from tests.mqtt.clients import Raw, until
from tests.mqtt.conftest import House, open_house

SHARE = "$share/workers/aquabook/+/reading"
READING = "aquabook/tank/reading"


async def work(house: House, name: str, *, keep: int = 0) -> Raw:
    raw = await Raw.login_5(house.port, "service", name, session_expiry=keep)
    assert await raw.subscribe(SHARE, 1) == 1
    return raw


def say(house: House, *payloads: bytes) -> None:
    for payload in payloads:
        house.listener.publish(READING, payload, qos=1)


async def test_members_take_turns(house: House) -> None:
    one, two = await work(house, "1"), await work(house, "2")
    alone = await Raw.login_5(house.port, "service", "3")
    await alone.subscribe(READING)
    say(house, b"a", b"b", b"c", b"d")
    assert [(await one.published()).payload for _ in "ac"] == [b"a", b"c"]
    assert [(await two.published()).payload for _ in "bd"] == [b"b", b"d"]
    assert [(await alone.published()).payload for _ in "abcd"] == [b"a", b"b", b"c", b"d"]
    for raw in (one, two):
        await raw.quiet()


async def test_each_group_has_its_own_turn_and_each_filter(house: House) -> None:
    raw = await work(house, "1")
    for other in ("$share/others/aquabook/+/reading", "$share/workers/aquabook/#"):
        await raw.subscribe(other)
    assert house.listener.publish(READING, b"x") == 3
    assert [(await raw.published()).payload for _ in "abc"] == [b"x"] * 3


async def test_who_is_away_is_passed_over_while_somebody_is_here(house: House) -> None:
    one, two = await work(house, "1", keep=60), await work(house, "2", keep=60)
    one.cut()
    await until(lambda: house.listener.stats().parked_sessions == 1)
    say(house, b"a", b"b")
    for payload in (b"a", b"b"):
        packet = await two.published()
        assert packet.payload == payload
        await two.send(Puback(packet.packet_id))
    await two.quiet()
    two.cut()
    await until(lambda: house.listener.stats().parked_sessions == 2)
    say(house, b"c")  # nobody is here: one of them gets it when it is back
    back = [
        await Raw.login_5(house.port, "service", name, clean=False, present=True) for name in "12"
    ]
    for raw in back:
        await raw.send(Pingreq())
    got = [packet for raw in back for packet in await raw.until(Pingresp())]
    assert [packet.payload for packet in got if isinstance(packet, Publish)] == [b"c"]


async def test_leaving_a_group(house: House) -> None:
    one, two = await work(house, "1"), await work(house, "2")
    await one.send(Unsubscribe(1, (SHARE,)))
    assert await one.next() == Unsuback(1, (0,))
    say(house, b"a", b"b")
    assert [(await two.published()).payload for _ in "ab"] == [b"a", b"b"]
    two.cut()
    await until(lambda: house.listener.stats().connections == 1)
    assert house.listener.publish(READING, b"c") == 0


async def test_nothing_retained_and_one_identifier(house: House) -> None:
    house.listener.publish(READING, b"old", retain=True)
    raw = await Raw.login_5(house.port, "service")
    await raw.subscribe(SHARE, 1, 5)
    await raw.subscribe("aquabook/#", 1, 6)
    assert (await raw.published()).properties.subscription_ids == (6,)
    say(house, b"new")
    found = [(await raw.published()).properties.subscription_ids for _ in "ab"]
    assert sorted(found) == [(5,), (6,)]
    await raw.quiet()


async def test_a_device_may_not_share_not_even_its_own(house: House) -> None:
    raw = await Raw.login_5(house.port)
    for name in (SHARE, "$share/g/aquabook/tank/command"):
        assert await raw.subscribe(name) == Reason.NOT_AUTHORIZED
    old = await Raw.login(house.port, client_id="old")
    assert await old.subscribe(SHARE) == REFUSED
    assert house.drops == {"forbidden_filter": 3}


async def test_a_share_needs_the_right_to_its_filter(house: House) -> None:
    house.keeper.barred.add("aquabook/+/reading")
    raw = await Raw.login_5(house.port, "service")
    assert await raw.subscribe(SHARE) == Reason.NOT_AUTHORIZED


async def test_no_local_has_no_place_in_a_group(house: House) -> None:
    raw = await Raw.login_5(house.port, "service")
    await raw.send(Subscribe(1, ((SHARE, 4),)))
    assert await raw.next() == Disconnect(Reason.PROTOCOL_ERROR)


async def test_a_full_group_says_so() -> None:
    async with open_house(limits=Limits(max_group=1)) as house:
        one = await work(house, "1")
        two = await Raw.login_5(house.port, "service", "2")
        assert await two.subscribe(SHARE) == Reason.QUOTA
        await one.send(Subscribe(9, ((SHARE, 2),)))  # a member may ask again
        assert await one.next() == Suback(9, (2,))


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("a/b", ("", "a/b")),
        ("$share", ("", "$share")),
        ("$shared/g/a", ("", "$shared/g/a")),
        ("$share/g/a/#", ("g", "a/#")),
        ("$share/g//", ("g", "/")),
        ("$share/g", ("g", "")),
        ("$share/g/", ("g", "")),
        ("$share//a", ("", "")),
        ("$share/+/a", ("+", "")),
    ],
)
def test_the_parts_of_a_share(name: str, parts: tuple[str, str]) -> None:
    assert split_shared(name) == parts
