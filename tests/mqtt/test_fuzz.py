"""Clients that send anything, in either version: no fault of ours, no leak, no neighbour hurt."""

from __future__ import annotations

import asyncio
import contextlib

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cardume.mqtt.codec.encoder import encode
from cardume.mqtt.codec.packets import LEVEL, LEVEL_5, Connect, Disconnect, Packet, Publish
from cardume.mqtt.codec.properties import FOREVER, MAX_REPEATED, NONE, Properties
from cardume.mqtt.codec.reasons import Reason
from tests.mqtt.clients import Raw, until
from tests.mqtt.conftest import House
from tests.mqtt.strategies import packets, packets_5

_spoiled = st.tuples(st.binary(min_size=1, max_size=4), st.integers(0, 400))


def _bytes(level: int, sent: list[Packet], spoil: tuple[bytes, int] | None) -> bytes:
    data = b"".join(encode(packet, level) for packet in sent)
    if spoil is None:
        return data
    at = spoil[1] % (len(data) + 1)
    return data[:at] + spoil[0] + data[at + len(spoil[0]) :]


_said = st.one_of(
    st.builds(_bytes, st.just(LEVEL), st.lists(packets, max_size=12), st.none() | _spoiled).map(
        lambda data: (LEVEL, data)
    ),
    st.builds(_bytes, st.just(LEVEL_5), st.lists(packets_5, max_size=12), st.none() | _spoiled).map(
        lambda data: (LEVEL_5, data)
    ),
)


async def rant(port: int, level: int, data: bytes, *, clean: bool) -> None:
    """Log in, say all of it, and leave in the middle of a word."""
    raw = await Raw.dial(port, level=level)
    said = Properties(session_expiry=FOREVER) if level == LEVEL_5 and not clean else NONE
    hello = Connect("c", clean, 0, "service", b"service", level=level, properties=said)
    with contextlib.suppress(ConnectionError):
        raw.writer.write(encode(hello, level) + data)
        raw.writer.write_eof()
        while await raw.read():
            pass
    raw.cut()


@given(st.lists(st.tuples(_said, st.booleans()), min_size=1, max_size=3))
@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_no_bytes_are_a_fault_of_ours(
    house: House, rants: list[tuple[tuple[int, bytes], bool]]
) -> None:
    """All rants share one session name, so takeovers and resumptions come along."""
    other = await Raw.login_5(house.port, "tank")
    async with asyncio.timeout(20):
        async with asyncio.TaskGroup() as group:
            for (level, data), clean in rants:
                group.create_task(rant(house.port, level, data, clean=clean))
    await other.publish("aquabook/tank/reading", b"unharmed")
    other.cut()
    await until(lambda: house.listener.stats().connections == 0)
    stats = house.listener.stats()
    assert stats.faults == 0
    assert stats.parked_sessions <= 1
    assert house.listener._broker._depot.room.used <= 1 << 20


async def test_properties_are_counted(house: House) -> None:
    raw = await Raw.login_5(house.port)
    topic, pairs = "aquabook/tank/reading", (("", ""),) * MAX_REPEATED
    await raw.publish(topic, b"", 1, Properties(user=pairs))
    await raw.send(Publish(topic, b"", properties=Properties(user=(*pairs, ("a", "b")))))
    assert await raw.next() == Disconnect(Reason.QUOTA)
    assert len(house.store.messages) == 1
    assert house.drops == {"too_many_properties": 1}
