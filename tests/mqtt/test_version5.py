"""MQTT 5.0 over a socket: what the two tell each other, and how a connection ends."""

from __future__ import annotations

import pytest

from cardume.mqtt.codec.encoder import encode
from cardume.mqtt.codec.packets import (
    AS_PUBLISHED,
    LEVEL_5,
    NO_LOCAL,
    Auth,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Puback,
    Publish,
    Pubrec,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
    Will,
)
from cardume.mqtt.codec.properties import FOREVER, Properties
from cardume.mqtt.codec.reasons import Reason
from cardume.mqtt.limits import Limits
from cardume.testing import FakeClock
from tests.mqtt.clients import Raw, until
from tests.mqtt.conftest import House, open_house

READING = "aquabook/tank/reading"
COMMAND = "aquabook/tank/command"
LIMITS = Limits()


async def test_a_client_is_told_our_bounds(house: House) -> None:
    raw = await Raw.login_5(house.port)
    assert raw.welcome == Properties(
        receive_maximum=LIMITS.receive_maximum,
        topic_alias_maximum=LIMITS.topic_aliases,
        maximum_packet_size=LIMITS.max_packet,
    )
    await raw.quiet()


async def test_a_client_is_told_where_it_gets_other_than_it_asked(house: House) -> None:
    raw = await Raw.login_5(house.port, client_id="", keepalive=0, session_expiry=FOREVER)
    assert raw.welcome.server_keep_alive == LIMITS.max_keepalive
    assert raw.welcome.session_expiry == LIMITS.session_expiry
    name = raw.welcome.assigned_client_id
    assert name
    raw.cut()
    await until(lambda: house.listener.stats().parked_sessions == 1)
    await Raw.login_5(house.port, client_id=name, clean=False, present=True)


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (Connect("c", level=LEVEL_5), Reason.NOT_AUTHORIZED),
        (Connect("c", username="tank", level=LEVEL_5), Reason.BAD_CREDENTIALS),
        (Connect("c", password=b"tank", level=LEVEL_5), Reason.NOT_AUTHORIZED),
        (Connect("c" * 200, level=LEVEL_5), Reason.BAD_CLIENT_ID),
        (
            Connect("c", username="tank", password=b"tank", level=LEVEL_5,
                    will=Will("aquabook/reef/x", b"")),
            Reason.NOT_AUTHORIZED,
        ),
        (
            Connect("c", username="tank", password=b"tank", level=LEVEL_5,
                    properties=Properties(authentication_method="SCRAM-SHA-1")),
            Reason.BAD_AUTHENTICATION,
        ),
    ],
)  # fmt: skip
async def test_refusals_say_why(house: House, packet: Connect, reason: Reason) -> None:
    raw = await Raw.dial(house.port, level=LEVEL_5)
    await raw.send(packet)
    assert await raw.next() == Connack(reason)
    assert await raw.closed()


@pytest.mark.parametrize(
    ("sent", "reason", "drop"),
    [
        (b"\xff\xff", Reason.MALFORMED, "malformed_packet"),
        (b"\x30\x03\x00\x00\x00", Reason.PROTOCOL_ERROR, "protocol_error"),
        (encode(Auth(0x18), 5), Reason.PROTOCOL_ERROR, "unexpected_packet"),
        (encode(Connect("tank", level=5), 5), Reason.PROTOCOL_ERROR, "second_connect"),
        (encode(Publish(READING, bytes(65_537)), 5), Reason.TOO_LARGE, "payload_too_large"),
        (encode(Publish(READING, bytes(99_000)), 5), Reason.TOO_LARGE, "packet_too_large"),
        (
            encode(Publish("", b"", properties=Properties(topic_alias=3)), 5),
            Reason.BAD_ALIAS,
            "bad_alias",
        ),
        (
            encode(Publish(READING, b"", properties=Properties(topic_alias=17)), 5),
            Reason.BAD_ALIAS,
            "bad_alias",
        ),
        (
            encode(Publish(READING, b"", properties=Properties(topic_alias=0)), 5),
            Reason.BAD_ALIAS,
            "bad_alias",
        ),
        (
            encode(Publish("aquabook/tank/" + "x" * 5000, b"",
                           properties=Properties(topic_alias=1)), 5),
            Reason.QUOTA,
            "alias_quota",
        ),
        (
            encode(Publish(READING, b"", properties=Properties(subscription_ids=(1,))), 5),
            Reason.PROTOCOL_ERROR,
            "protocol_error",
        ),
        (
            encode(Disconnect(0, Properties(session_expiry=5)), 5),
            Reason.PROTOCOL_ERROR,
            "protocol_error",
        ),
    ],
)  # fmt: skip
async def test_a_broken_rule_is_named_before_the_end(
    house: House, sent: bytes, reason: Reason, drop: str
) -> None:
    will = Will("aquabook/tank/availability", b"offline", 1)
    raw = await Raw.login_5(house.port, will=will)
    raw.writer.write(sent)
    assert await raw.next() == Disconnect(reason)
    assert await raw.closed()
    await until(lambda: house.store.wills == [b"offline"])
    assert house.drops == {drop: 1}


async def test_takeover_keepalive_and_our_own_goodbyes_are_named() -> None:
    clock = FakeClock()
    async with open_house(clock) as house:
        old = await Raw.login_5(house.port)
        new = await Raw.login_5(house.port, keepalive=10)
        assert await old.next() == Disconnect(Reason.TAKEN_OVER)
        await clock.advance(16)
        assert await new.next() == Disconnect(Reason.KEEP_ALIVE)
        one = await Raw.login_5(house.port)
        house.listener.disconnect("tank")
        assert await one.next() == Disconnect(Reason.BY_US)
        two = await Raw.login_5(house.port)
        await house.listener.stop(2.0)
        assert await two.next() == Disconnect(Reason.SHUTTING_DOWN)


async def test_reasons_on_every_acknowledgement(house: House) -> None:
    raw = await Raw.login_5(house.port)
    no, yes = "aquabook/reef/reading", READING
    await raw.send(
        Publish(no, b"", 1, packet_id=1),
        Publish(yes, house.store.poison, 1, packet_id=2),
        Publish(yes, b"1", 1, packet_id=3),
        Publish(no, b"", 2, packet_id=4),
        Publish(yes, house.store.poison, 2, packet_id=5),
        Publish(yes, b"2", 2, packet_id=6),
    )
    assert [await raw.next() for _ in range(6)] == [
        Puback(1, Reason.NOT_AUTHORIZED),
        Puback(2, Reason.NOT_ACCEPTED),
        Puback(3),
        Pubrec(4, Reason.NOT_AUTHORIZED),
        Pubrec(5, Reason.NOT_ACCEPTED),
        Pubrec(6),
    ]
    await raw.send(Subscribe(7, ((COMMAND, 2), ("#", 1), ("$share/g", 1))))
    assert await raw.next() == Suback(7, (2, Reason.NOT_AUTHORIZED, Reason.BAD_FILTER))
    await raw.send(Unsubscribe(8, (COMMAND, "#")))
    assert await raw.next() == Unsuback(8, (0, Reason.NO_SUBSCRIPTION_EXISTED))
    assert house.store.payloads == [b"1", b"2"]


async def test_too_many_subscriptions_say_so() -> None:
    async with open_house(limits=Limits(max_subscriptions=1)) as house:
        raw = await Raw.login_5(house.port, "service")
        assert [await raw.subscribe(name) for name in "ab"] == [0, Reason.QUOTA]


async def test_who_publishes_beyond_our_receive_maximum_is_cut() -> None:
    async with open_house(limits=Limits(receive_maximum=3)) as house:
        house.store.open.clear()
        raw = await Raw.login_5(house.port)
        await raw.send(*(Publish(READING, b"", 1, packet_id=n) for n in (1, 2, 3)))
        await raw.quiet()
        await raw.send(Publish(READING, b"", 2, packet_id=4))
        assert await raw.next() == Disconnect(Reason.RECEIVE_MAXIMUM)


async def test_the_receive_maximum_counts_what_is_not_acknowledged() -> None:
    async with open_house(limits=Limits(receive_maximum=1)) as house:
        raw = await Raw.login_5(house.port)
        for n in range(1, 10):
            await raw.publish(READING, b"%d" % n, n)
            await raw.exactly_once(READING, b"x", n)
        assert house.drops == {}


async def test_we_keep_to_the_clients_receive_maximum(house: House) -> None:
    raw = await Raw.login_5(house.port, receive_maximum=2)
    await raw.subscribe(COMMAND, 1)
    for n in range(4):
        house.listener.publish(COMMAND, b"%d" % n, qos=1)
    first, second = [await raw.published() for _ in range(2)]
    await raw.quiet()
    await raw.send(Puback(second.packet_id))
    assert (await raw.published()).payload == b"2"
    await raw.send(Puback(first.packet_id))
    assert (await raw.published()).payload == b"3"


async def test_what_is_too_large_for_the_client_is_not_sent(house: House) -> None:
    raw = await Raw.login_5(house.port, maximum_packet_size=100)
    await raw.subscribe(COMMAND, 1)
    for qos in (0, 1):
        house.listener.publish(COMMAND, bytes(100), qos=qos)
        house.listener.publish(COMMAND, b"small", qos=qos)
        assert (await raw.published()).payload == b"small"
    assert house.drops == {"over_client_limit": 2}


async def test_a_client_that_takes_less_than_an_answer_is_let_go(house: House) -> None:
    raw = await Raw.dial(house.port, level=LEVEL_5)
    tiny = Properties(maximum_packet_size=5)
    await raw.send(Connect("c", True, 60, "tank", b"tank", None, LEVEL_5, tiny))
    assert await raw.closed()
    raw = await Raw.login_5(house.port, maximum_packet_size=60)
    await raw.send(Unsubscribe(1, tuple("abcdefgh" * 8)))
    assert await raw.closed()
    assert house.drops == {"over_client_limit": 2}


async def test_an_alias_stands_for_its_topic(house: House) -> None:
    raw = await Raw.login_5(house.port)
    one = Properties(topic_alias=1)

    async def say(topic: str, payload: bytes) -> None:
        await raw.send(Publish(topic, payload, 1, packet_id=1, properties=one))
        assert await raw.next() == Puback(1)

    await say(READING, b"named")
    await say("", b"aliased")
    await say("aquabook/tank/state", b"renamed")
    await say("", b"aliased again")
    assert [message.topic for message in house.store.messages] == [
        READING, READING, "aquabook/tank/state", "aquabook/tank/state"
    ]  # fmt: skip


async def test_an_alias_lasts_as_long_as_its_connection(house: House) -> None:
    raw = await Raw.login_5(house.port, session_expiry=60)
    await raw.send(Publish(READING, b"", properties=Properties(topic_alias=1)))
    await raw.quiet()
    raw.cut()
    await until(lambda: not house.listener.connected("tank"))
    raw = await Raw.login_5(house.port, session_expiry=60, clean=False, present=True)
    await raw.send(Publish("", b"", properties=Properties(topic_alias=1)))
    assert await raw.next() == Disconnect(Reason.BAD_ALIAS)


async def test_what_a_publisher_said_about_its_message_travels(house: House) -> None:
    listening = await Raw.login_5(house.port, "service")
    old = await Raw.login(house.port, "service", "old")
    for raw in (listening, old):
        await raw.subscribe(READING, 1)
    said = Properties(
        payload_format=1,
        content_type="application/json",
        response_topic="answers",
        correlation_data=b"\0\1",
        user=(("a", "1"), ("a", "2")),
    )
    tank = await Raw.login_5(house.port)
    for qos in (0, 1):
        await tank.send(Publish(READING, b"{}", qos, packet_id=qos, properties=said))
        assert (await listening.published()).properties == said
        assert await old.published() == Publish(READING, b"{}", qos, packet_id=qos)


# -- subscription options --------------------------------------------------------------------------


async def test_no_local(house: House) -> None:
    house.keeper.generous = True
    raw = await Raw.login_5(house.port)
    await raw.subscribe(READING, 1 | NO_LOCAL)
    await raw.publish(READING, b"mine")
    await raw.quiet()
    house.listener.publish(READING, b"another's")
    assert (await raw.published()).payload == b"another's"
    await raw.subscribe("aquabook/tank/+", 0)  # this one wants to hear itself
    await raw.send(Publish(READING, b"mine", 0))
    assert (await raw.published()).payload == b"mine"


async def test_retain_as_published(house: House) -> None:
    plain, kept = (
        await Raw.login_5(house.port, "service", "1"),
        await Raw.login_5(house.port, "service", "2"),
    )
    await plain.subscribe(READING)
    await kept.subscribe(READING, AS_PUBLISHED)
    for retain in (True, False):
        house.listener.publish(READING, b"", retain=retain)
        assert (await plain.published()).retain is False
        assert (await kept.published()).retain is retain


async def test_retain_handling(house: House) -> None:
    house.listener.publish(READING, b"kept", retain=True)
    raw = await Raw.login_5(house.port, "service")
    for handling, sent in ((2, False), (0, True), (1, False), (0, True)):
        await raw.subscribe(READING, handling << 4)
        if sent:
            assert await raw.published() == Publish(READING, b"kept", retain=True)
        await raw.quiet()
    await raw.send(Unsubscribe(1, (READING,)))
    assert await raw.next() == Unsuback(1, (0,))
    await raw.subscribe(READING, 1 << 4)
    assert (await raw.published()).retain


async def test_subscription_identifiers(house: House) -> None:
    raw = await Raw.login_5(house.port, "service")
    await raw.subscribe("aquabook/#", 0, 1)
    await raw.subscribe("aquabook/+/reading", 1, 268_435_455)
    await raw.subscribe("#", 0)
    house.listener.publish(READING, b"", qos=1)
    packet = await raw.published()
    assert (packet.qos, packet.properties.subscription_ids) == (1, (1, 268_435_455))
    await raw.subscribe("aquabook/#", 0)  # the same filter, now without
    house.listener.publish("aquabook/x/state", b"")
    assert (await raw.published()).properties.subscription_ids == ()
    house.listener.publish(READING, b"")
    assert (await raw.published()).properties.subscription_ids == (268_435_455,)


async def test_properties_we_have_no_use_for_harm_nobody(house: House) -> None:
    user = (("firmware", "1.2"), ("é", ""))
    raw = await Raw.login_5(
        house.port, pairs=user, request_response_information=1, request_problem_information=0,
        topic_alias_maximum=10,
    )  # fmt: skip
    polite: list[Packet] = [
        Subscribe(1, ((COMMAND, 1),), Properties(user=user)),
        Publish(READING, b"", 1, packet_id=1, properties=Properties(user=user, content_type="")),
        Unsubscribe(2, (COMMAND,), Properties(user=user)),
    ]
    await raw.send(*polite)
    assert {type(await raw.next()) for _ in polite} == {Suback, Puback, Unsuback}
    await raw.send(Disconnect(0, Properties(user=user, reason_string="bye")))
    assert await raw.closed()
    assert house.drops == {}
