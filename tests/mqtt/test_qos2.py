"""Exactly once, in both directions, also over broken connections (§4.3.3)."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from cardume.mqtt.codec.packets import (
    LEVEL,
    LEVEL_5,
    Disconnect,
    Pingreq,
    Pingresp,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
)
from cardume.mqtt.codec.reasons import Reason
from cardume.mqtt.limits import Limits
from tests.mqtt.clients import Raw, until
from tests.mqtt.conftest import House, open_house

READING = "aquabook/tank/reading"
COMMAND = "aquabook/tank/command"


async def come(house: House, level: int, *, present: bool = False) -> Raw:
    """A device with a session that outlives its connection."""
    if level == LEVEL:
        return await Raw.login(house.port, clean=False, present=present)
    return await Raw.login_5(house.port, clean=False, session_expiry=600, present=present)


async def leave(house: House, raw: Raw) -> None:
    raw.cut()
    await until(lambda: not house.listener.connected("tank"))


both = pytest.mark.parametrize("level", [LEVEL, LEVEL_5])


# -- from the client -------------------------------------------------------------------------------


@both
async def test_answered_after_the_handler_kept_it(house: House, level: int) -> None:
    raw = await come(house, level)
    house.store.open.clear()
    await raw.send(Publish(READING, b"1", 2, packet_id=7))
    await until(lambda: house.store.entered)
    await raw.quiet()
    house.store.open.set()
    assert await raw.next() == Pubrec(7)
    (message,) = house.store.messages
    assert (message.qos, message.packet_id, message.payload) == (2, 7, b"1")
    await raw.send(Pubrel(7))
    assert await raw.next() == Pubcomp(7)


@both
async def test_a_publish_that_comes_again_is_kept_once(house: House, level: int) -> None:
    raw = await come(house, level)
    again = Publish(READING, b"1", 2, dup=True, packet_id=7)
    await raw.send(Publish(READING, b"1", 2, packet_id=7))
    assert await raw.next() == Pubrec(7)
    await leave(house, raw)
    raw = await come(house, level, present=True)
    await raw.send(again, again)
    assert [await raw.next() for _ in "ab"] == [Pubrec(7), Pubrec(7)]
    await raw.send(Pubrel(7))
    assert await raw.next() == Pubcomp(7)
    assert house.store.payloads == [b"1"]
    # From now on the identifier means another message.
    await raw.exactly_once(READING, b"2", 7)
    assert house.store.payloads == [b"1", b"2"]


@both
async def test_a_publish_that_comes_again_while_the_first_is_being_kept(
    house: House, level: int
) -> None:
    raw = await come(house, level)
    house.store.open.clear()
    await raw.send(Publish(READING, b"1", 2, packet_id=7))
    await until(lambda: house.store.entered)
    await leave(house, raw)
    raw = await come(house, level, present=True)
    await raw.send(Publish(READING, b"1", 2, dup=True, packet_id=7))
    await raw.quiet()
    house.store.open.set()
    assert await raw.next() == Pubrec(7)
    await raw.quiet()
    assert house.store.payloads == [b"1"]


@both
async def test_a_release_that_comes_again_is_answered_again(house: House, level: int) -> None:
    raw = await come(house, level)
    await raw.exactly_once(READING, b"1", 7)
    await raw.send(Pubrel(7))
    unknown = 0 if level == LEVEL else Reason.UNKNOWN_PACKET_ID
    assert await raw.next() == Pubcomp(7, unknown)
    assert house.drops == {}


async def test_recs_leave_in_the_order_of_their_publishes(house: House) -> None:
    raw = await Raw.login(house.port)
    house.store.open.clear()
    foreign = "aquabook/reef/reading"
    await raw.send(
        Publish(READING, b"", 2, packet_id=1),
        Publish(foreign, b"", 2, packet_id=2),
        Publish(READING, b"", 1, packet_id=3),
        Publish(foreign, b"", 1, packet_id=4),
        Publish(READING, b"", 2, packet_id=5),
    )
    await until(lambda: house.drops.get("forbidden_topic") == 2)
    house.store.open.set()
    expected = [Pubrec(1), Pubrec(2), Puback(3), Puback(4), Pubrec(5)]
    assert [await raw.next() for _ in expected] == expected
    await raw.send(Pubrel(2))  # refused in silence, and yet released by its sender
    assert await raw.next() == Pubcomp(2)


async def test_what_was_poisonous_may_be_sent_again(house: House) -> None:
    raw = await come(house, LEVEL)
    await raw.send(Publish(READING, house.store.poison, 2, packet_id=7))
    assert await raw.closed()
    house.store.poison = b"cured"
    raw = await come(house, LEVEL, present=True)
    await raw.send(Publish(READING, b"poison", 2, dup=True, packet_id=7))
    assert await raw.next() == Pubrec(7)
    assert house.store.payloads == [b"poison"]


async def test_identifiers_never_released_are_bounded() -> None:
    async with open_house(limits=Limits(max_received=3)) as house:
        raw = await Raw.login(house.port)
        for n in (1, 2, 3):
            await raw.send(Publish(READING, b"", 2, packet_id=n))
            assert await raw.next() == Pubrec(n)
        await raw.send(Publish(READING, b"", 2, packet_id=4))
        assert await raw.closed()
        assert house.drops == {"receive_maximum": 1}


async def test_identifiers_of_all_sessions_share_one_bound() -> None:
    async with open_house(limits=Limits(all_sessions_bytes=64 * 3)) as house:
        for name, fits in (("1", 2), ("2", 1)):
            raw = await Raw.login(house.port, client_id=name, clean=False)
            for n in range(1, fits + 1):
                await raw.send(Publish(READING, b"", 2, packet_id=n))
                assert await raw.next() == Pubrec(n)
        await raw.send(Publish(READING, b"", 2, packet_id=9))
        assert await raw.closed()
        raw = await Raw.login(house.port, client_id="2", clean=False, present=True)
        await raw.send(Pubrel(1))
        assert await raw.next() == Pubcomp(1)
        await raw.exactly_once(READING, b"", 9)


class Sender:
    """A client that keeps to the protocol, on a network that does not."""

    def __init__(self, house: House, level: int) -> None:
        self.house = house
        self.level = level
        self.raw: Raw | None = None
        self.sent = 0
        self.steps: dict[int, Publish | Pubrel] = {}
        """What is to be sent again, by identifier."""

    async def line(self) -> Raw:
        if self.raw is None:
            present = self.house.listener.stats().parked_sessions > 0
            self.raw = await come(self.house, self.level, present=present)
            for step in list(self.steps.values()):
                again = replace(step, dup=True) if isinstance(step, Publish) else step
                await self.raw.send(again)
        return self.raw

    async def publish(self) -> None:
        raw = await self.line()
        id = next(id for id in range(1, 99) if id not in self.steps)
        packet = Publish(READING, b"%d" % self.sent, 2, packet_id=id)
        self.sent += 1
        self.steps[id] = packet
        await raw.send(packet)

    async def answer(self) -> None:
        """React to everything that has come."""
        raw = await self.line()
        await raw.send(Pingreq())
        for packet in await raw.until(Pingresp()):
            match packet:
                case Pubrec(id) if id in self.steps:
                    self.steps[id] = Pubrel(id)
                    await raw.send(Pubrel(id))
                case Pubcomp(id):
                    del self.steps[id]

    async def cut(self) -> None:
        if self.raw is not None:
            self.raw.cut()
            self.raw = None
            await until(lambda: not self.house.listener.connected("tank"))


@given(
    st.sampled_from([LEVEL, LEVEL_5]),
    st.lists(st.sampled_from(["publish", "answer", "cut", "close", "open"]), max_size=25),
)
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_exactly_once_whatever_breaks(house: House, level: int, path: list[str]) -> None:
    house.store.messages.clear()
    house.store.open.set()
    sender = Sender(house, level)
    for step in path:
        match step:
            case "close":
                house.store.open.clear()
            case "open":
                house.store.open.set()
            case _:
                await getattr(sender, step)()
    house.store.open.set()
    while sender.steps:
        await sender.answer()
    assert house.store.payloads == [b"%d" % n for n in range(sender.sent)]
    await sender.cut()
    (await Raw.login(house.port)).cut()  # ends the session
    await until(lambda: house.listener.stats().connections == 0)
    assert house.listener._broker._depot.room.used == 0


# -- to the client ---------------------------------------------------------------------------------


@both
async def test_four_steps_to_the_client(house: House, level: int) -> None:
    raw = await come(house, level)
    assert await raw.subscribe(COMMAND, 2) == 2
    house.listener.publish(COMMAND, b"go", qos=2)
    assert await raw.next() == Publish(COMMAND, b"go", 2, packet_id=1)
    await raw.send(Pubrec(1))
    assert await raw.next() == Pubrel(1)
    await raw.send(Pubcomp(1))
    house.listener.publish(COMMAND, b"lower", qos=1)
    assert await raw.next() == Publish(COMMAND, b"lower", 1, packet_id=2)


@both
async def test_each_step_is_taken_up_where_it_broke(house: House, level: int) -> None:
    raw = await come(house, level)
    await raw.subscribe(COMMAND, 2)
    for payload in (b"a", b"b"):
        house.listener.publish(COMMAND, payload, qos=2)
    assert [(await raw.published()).packet_id for _ in "ab"] == [1, 2]
    await raw.send(Pubrec(1))
    assert await raw.next() == Pubrel(1)
    await leave(house, raw)

    raw = await come(house, level, present=True)
    assert await raw.next() == Pubrel(1)
    assert await raw.next() == Publish(COMMAND, b"b", 2, dup=True, packet_id=2)
    await raw.send(Pubcomp(1), Pubrec(2))
    assert await raw.next() == Pubrel(2)
    await raw.send(Pubrec(2))  # again, because our answer got lost
    assert await raw.next() == Pubrel(2)
    await raw.send(Pubcomp(2))
    await leave(house, raw)
    raw = await come(house, level, present=True)
    await raw.quiet()


async def test_a_refusal_ends_it(house: House) -> None:
    raw = await Raw.login_5(house.port, receive_maximum=1)
    await raw.subscribe(COMMAND, 2)
    for payload in (b"a", b"b"):
        house.listener.publish(COMMAND, payload, qos=2)
    first = await raw.published()
    await raw.send(Pubrec(first.packet_id, Reason.UNSPECIFIED))
    second = await raw.published()  # and makes room for the next
    assert second.payload == b"b"
    await raw.send(Pubcomp(second.packet_id), Puback(second.packet_id))  # out of turn: no effect
    await raw.send(Pubrec(second.packet_id))
    assert await raw.next() == Pubrel(second.packet_id)


async def test_an_answer_to_nothing_is_told_so(house: House) -> None:
    raw = await Raw.login_5(house.port)
    await raw.send(Pubrec(99), Pubcomp(98), Puback(97))
    assert await raw.next() == Pubrel(99, Reason.UNKNOWN_PACKET_ID)
    await raw.quiet()
    await raw.send(Disconnect())
    assert await raw.closed()
