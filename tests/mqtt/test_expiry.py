"""What time does to sessions, wills and messages, by a clock that is moved by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from cardume.mqtt.codec.packets import Disconnect, Publish, Pubrec, Pubrel, Will
from cardume.mqtt.codec.properties import FOREVER, NONE, Properties
from cardume.mqtt.codec.reasons import Reason
from cardume.mqtt.limits import Limits
from cardume.testing import FakeClock
from tests.mqtt.clients import Raw, until
from tests.mqtt.conftest import House, open_house

COMMAND = "aquabook/tank/command"
READING = "aquabook/tank/reading"
AVAILABILITY = "aquabook/tank/availability"


@dataclass
class Timed:
    house: House
    clock: FakeClock

    @property
    def port(self) -> int:
        return self.house.port

    @property
    def parked(self) -> int:
        return self.house.listener.stats().parked_sessions

    async def leave(self, raw: Raw, packet: Disconnect | None = None) -> None:
        """Hang up, or say goodbye first."""
        if packet is None:
            raw.cut()
        else:
            await raw.send(packet)
            assert await raw.closed()
        await until(lambda: not self.house.listener.connected("tank"))


@pytest.fixture
async def timed() -> AsyncIterator[Timed]:
    clock = FakeClock()
    async with open_house(clock, Limits(session_expiry=1000)) as house:
        yield Timed(house, clock)


# -- sessions --------------------------------------------------------------------------------------


async def test_a_session_waits_as_long_as_was_asked(timed: Timed) -> None:
    for asked, waits in ((0, 0), (60, 60), (FOREVER, 1000)):
        raw = await Raw.login_5(timed.port, session_expiry=asked)
        await timed.leave(raw)
        if waits:
            await timed.clock.advance(waits - 1)
            assert timed.parked == 1
        await timed.clock.advance(1)
        assert timed.parked == 0


async def test_one_of_3_1_1_waits_as_long_as_any(timed: Timed) -> None:
    raw = await Raw.login(timed.port, clean=False)
    await timed.leave(raw)
    await timed.clock.advance(999)
    raw = await Raw.login(timed.port, clean=False, present=True)
    await timed.leave(raw)
    await timed.clock.advance(999)
    assert timed.parked == 1
    await timed.clock.advance(1)
    assert timed.parked == 0


async def test_a_clean_start_may_begin_a_session_that_lasts(timed: Timed) -> None:
    raw = await Raw.login_5(timed.port, clean=True, session_expiry=60)
    await raw.subscribe(COMMAND, 1)
    await timed.leave(raw)
    raw = await Raw.login_5(timed.port, clean=False, session_expiry=60, present=True)
    await timed.leave(raw)
    raw = await Raw.login_5(timed.port, clean=True, session_expiry=60, present=False)
    assert timed.house.listener.publish(COMMAND, b"") == 0


async def test_a_session_resumed_without_expiry_ends_with_that_connection(timed: Timed) -> None:
    raw = await Raw.login_5(timed.port, session_expiry=60)
    await timed.leave(raw)
    raw = await Raw.login_5(timed.port, clean=False, present=True)
    await timed.leave(raw)
    assert timed.parked == 0


async def test_a_goodbye_may_change_how_long(timed: Timed) -> None:
    raw = await Raw.login_5(timed.port, session_expiry=60)
    await timed.leave(raw, Disconnect(0, Properties(session_expiry=5)))
    await timed.clock.advance(4)
    assert timed.parked == 1
    await timed.clock.advance(1)
    assert timed.parked == 0
    raw = await Raw.login_5(timed.port, session_expiry=60)
    await timed.leave(raw, Disconnect(0, Properties(session_expiry=0)))
    assert timed.parked == 0


async def test_either_version_takes_up_the_session_of_the_other(timed: Timed) -> None:
    raw = await Raw.login_5(timed.port, session_expiry=60)
    await raw.subscribe(COMMAND, 1)
    await timed.leave(raw)
    timed.house.listener.publish(COMMAND, b"1", qos=1)
    raw = await Raw.login(timed.port, clean=False, present=True)
    assert await raw.next() == Publish(COMMAND, b"1", 1, packet_id=1)
    await timed.leave(raw)
    raw = await Raw.login_5(timed.port, clean=False, session_expiry=60, present=True)
    assert await raw.next() == Publish(COMMAND, b"1", 1, dup=True, packet_id=1)


# -- wills -----------------------------------------------------------------------------------------


def will(delay: int | None = None, expiry: int | None = None) -> Will:
    said = Properties(will_delay=delay, message_expiry=expiry)
    return Will(AVAILABILITY, b"offline", 1, True, NONE if said == NONE else said)


async def test_a_delayed_will_waits_and_a_client_that_comes_back_takes_it_back(
    timed: Timed,
) -> None:
    raw = await Raw.login_5(timed.port, will=will(30), session_expiry=60)
    await timed.leave(raw)
    await timed.clock.advance(29)
    assert timed.house.store.wills == []
    raw = await Raw.login_5(timed.port, clean=False, session_expiry=60, present=True)
    await timed.clock.advance(40)
    assert timed.house.store.wills == []
    await timed.leave(raw)
    raw = await Raw.login_5(timed.port, clean=False, will=will(30), session_expiry=60, present=True)
    await timed.leave(raw)
    await timed.clock.advance(30)
    await until(lambda: timed.house.store.wills == [b"offline"])
    assert timed.parked == 1
    await timed.clock.advance(30)
    assert timed.parked == 0


@pytest.mark.parametrize("expiry", [0, 10])
async def test_a_delayed_will_is_published_when_the_session_ends(timed: Timed, expiry: int) -> None:
    raw = await Raw.login_5(timed.port, will=will(300), session_expiry=expiry)
    await timed.leave(raw)
    await timed.clock.advance(expiry)
    await until(lambda: timed.house.store.wills == [b"offline"])


async def test_a_clean_start_ends_the_session_and_its_will_goes_ahead(timed: Timed) -> None:
    raw = await Raw.login_5(timed.port, will=will(30), session_expiry=60)
    await timed.leave(raw)
    raw = await Raw.login_5(timed.port, clean=True)
    await raw.publish(AVAILABILITY, b"online")
    assert timed.house.store.payloads == [b"offline", b"online"]


async def test_a_will_that_cannot_be_kept_is_published_at_once() -> None:
    async with open_house(FakeClock(), Limits(all_sessions_bytes=100)) as house:
        large = Will(AVAILABILITY, bytes(200), 1, properties=Properties(will_delay=30))
        raw = await Raw.login_5(house.port, will=large, session_expiry=60)
        raw.cut()
        await until(lambda: house.store.wills)


async def test_a_takeover_within_the_delay_is_no_loss(timed: Timed) -> None:
    old = await Raw.login_5(timed.port, will=will(30), session_expiry=60)
    await Raw.login_5(timed.port, clean=False, session_expiry=60, present=True)
    assert await old.next() == Disconnect(Reason.TAKEN_OVER)
    await timed.clock.advance(100)
    assert timed.house.store.wills == []


async def test_a_goodbye_with_will_publishes_it(timed: Timed) -> None:
    raw = await Raw.login_5(timed.port, will=will())
    await timed.leave(raw, Disconnect(Reason.WITH_WILL))
    await until(lambda: timed.house.store.wills == [b"offline"])


async def test_no_delayed_will_of_ours(timed: Timed) -> None:
    """We leave; a device that is well must not be declared lost by that."""
    raw = await Raw.login_5(timed.port, will=will(30), session_expiry=60)
    await timed.leave(raw)
    await timed.house.listener.stop(1.0)
    await timed.clock.advance(100)
    assert timed.house.store.wills == []


# -- messages --------------------------------------------------------------------------------------


async def test_a_message_says_how_long_it_is_still_good(timed: Timed) -> None:
    listening = await Raw.login_5(timed.port, "service", session_expiry=600)
    await listening.subscribe(READING, 1)
    tank = await Raw.login_5(timed.port)
    ten = Properties(message_expiry=10)
    await tank.send(Publish(READING, b"now", 0, properties=ten))
    assert (await listening.published()).properties == ten
    listening.cut()
    await until(lambda: not timed.house.listener.connected("service"))
    await tank.send(Publish(READING, b"kept", 1, packet_id=1, properties=ten))
    await tank.next()
    await timed.clock.advance(4)
    listening = await Raw.login_5(timed.port, "service", clean=False, present=True)
    packet = await listening.published()
    assert (packet.payload, packet.properties) == (b"kept", Properties(message_expiry=6))


async def test_a_message_that_expired_reaches_nobody(timed: Timed) -> None:
    ten = Properties(message_expiry=10)
    tank = await Raw.login_5(timed.port)
    raw = await Raw.login_5(timed.port, "service", session_expiry=600)
    await raw.subscribe(READING, 1)
    raw.cut()
    await until(lambda: not timed.house.listener.connected("service"))
    for payload, said in ((b"late", ten), (b"good", NONE)):
        await tank.send(Publish(READING, payload, 1, True, packet_id=1, properties=said))
        await tank.next()
    await tank.send(Publish("aquabook/tank/state", b"late", 1, True, packet_id=1, properties=ten))
    await tank.next()
    await timed.clock.advance(10)
    raw = await Raw.login_5(timed.port, "service", clean=False, present=True)
    assert (await raw.published()).payload == b"good"
    await raw.quiet()
    await raw.subscribe("aquabook/tank/state", 1)
    await raw.quiet()
    assert timed.house.drops["message_expired"] == 1
    assert timed.house.listener.stats().retained == 1


async def test_a_command_that_was_sent_but_expired_is_not_sent_again(timed: Timed) -> None:
    """mosquitto does the same. At QoS 2 the client may know the identifier already."""
    raw = await Raw.login_5(timed.port, session_expiry=600)
    await raw.subscribe(COMMAND, 2)
    downlink = timed.house.listener.downlink
    for payload, qos in ((b"feed", 1), (b"light", 2)):
        downlink.dispatch("tank", COMMAND, payload, qos=qos, expiry=10)
        assert (await raw.published()).payload == payload
    await timed.leave(raw)
    await timed.clock.advance(11)
    raw = await Raw.login_5(timed.port, clean=False, session_expiry=600, present=True)
    again = await raw.published()
    assert (again.payload, again.dup, again.properties.message_expiry) == (b"light", True, 0)
    await raw.send(Pubrec(again.packet_id))
    assert await raw.next() == Pubrel(again.packet_id)
    assert timed.house.drops["message_expired"] == 1


async def test_a_will_expires_too(timed: Timed) -> None:
    raw = await Raw.login_5(timed.port, will=will(expiry=5))
    await timed.leave(raw)
    await until(lambda: timed.house.listener.stats().retained == 1)
    raw = await Raw.login_5(timed.port, "service")
    await raw.subscribe(AVAILABILITY)
    assert (await raw.published()).properties == Properties(message_expiry=5)
    await timed.clock.advance(5)
    await raw.subscribe(AVAILABILITY)
    await raw.quiet()
