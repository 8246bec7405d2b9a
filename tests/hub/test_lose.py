"""What is kept and cannot be said: everybody on its channel starts over, from the snapshot."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import insert

from cardume.errors import Refused, Unavailable
from cardume.hub.hub import Hub
from cardume.hub.options import HubOptions
from cardume.storage.database import Storage
from cardume.storage.tables import users
from cardume.testing import FakeClock
from cardume.testing.clock import settle
from cardume.wire.messages import Position
from tests.hub.sdk import Client
from tests.support.databases import sqlite_url
from tests.support.engines import LateEngine
from tests.support.peers import Nobody, Peer, declare

ROOM = "room:1"


@pytest.fixture
def engine() -> LateEngine:
    made = LateEngine(FakeClock())
    made.prompt = True
    return made


@pytest.fixture
async def hub(engine: LateEngine) -> AsyncIterator[Hub]:
    made = Hub(auth=Nobody(), engine=engine, options=HubOptions(outbox_limit=4096))

    async def state(id: str) -> list[int]:
        return [1, 2, 3]

    declare(made, "room:{id}", history=50, snapshot=state)
    declare(made, "bare:{id}")
    declare(made, "keyed:{id}", history=50, keyed=True)
    async with made:
        yield made


async def test_everybody_comes_back_to_the_snapshot(hub: Hub) -> None:
    peers = [await Peer(hub).enter(ROOM) for _ in range(2)]
    sdk = Client(hub)
    await sdk.subscribe(ROOM)
    seen = await hub.publish(ROOM, "m", 1)
    await hub.lose(ROOM)
    assert [peer.code for peer in peers] == [3010, 3010]
    # An SDK loses the channel, and not its connection.
    assert (sdk.code, sdk.pushes("unsubscribe")[0]["code"]) == (None, 2500)
    await settle()
    back = await Peer(hub).enter(ROOM, since=seen)
    assert back.of_type("connected")[0]["data"]["recovered"] is False
    assert back.of_type("snapshot")[0]["data"] == [1, 2, 3]
    assert not (await sdk.subscribe(ROOM, seen)).recovered


async def test_who_came_back_is_live_and_can_resume(hub: Hub) -> None:
    await Peer(hub).enter(ROOM)
    await hub.lose(ROOM)
    back = await Peer(hub).enter(ROOM)
    one = await hub.publish(ROOM, "m", 1)
    assert (back.live, back.offsets()) == (True, [one.offset])
    later = await Peer(hub).enter(ROOM, since=Position(one.epoch, one.offset - 1))
    assert later.offsets() == [one.offset]


async def test_who_is_being_told_the_state_before_it_is_not_left_behind(
    hub: Hub, engine: LateEngine
) -> None:
    await Peer(hub).enter(ROOM)
    top = await hub.publish(ROOM, "m", 1)
    engine.replay_gate.clear()
    engine.stale = True  # it has read the top already
    late = Peer(hub)
    entering = asyncio.create_task(late.enter(ROOM, since=top))
    await settle()
    await hub.lose(ROOM)
    engine.replay_gate.set()
    await entering
    assert late.code == 3010


async def test_without_history_it_is_the_live_ones_alone(hub: Hub) -> None:
    peer = await Peer(hub).enter("bare:1")
    await hub.lose("bare:1")
    assert peer.code == 3010
    assert (await Peer(hub).enter("bare:1")).live


async def test_the_values_of_a_keyed_channel_stay(hub: Hub) -> None:
    await hub.publish("keyed:1", "m", 1, key="a")
    await hub.lose("keyed:1")
    back = await Peer(hub).enter("keyed:1")
    assert back.of_type("snapshot")[0]["data"] == {"keys": {"a": 1}}


async def test_a_channel_that_nobody_declared_cannot_be_lost(hub: Hub) -> None:
    with pytest.raises(Refused):
        await hub.lose("nobody:1")


# -- what storage makes of it ----------------------------------------------------------------------


@pytest.fixture
async def storage(tmp_path: Path, hub: Hub) -> AsyncIterator[Storage]:
    async with Storage(sqlite_url(tmp_path / "tank.db"), hub.publish, hub.lose) as made:
        yield made


async def keep(storage: Storage, name: str, *said: object) -> None:
    async with storage.write() as tx:
        await tx.execute(insert(users).values(name=name, password_hash="-", created_at=0))
        for data in said:
            tx.emit(ROOM, "m", data)


async def test_an_event_too_large_to_be_said_is_no_silent_gap(hub: Hub, storage: Storage) -> None:
    peer = await Peer(hub).enter(ROOM)
    await keep(storage, "ana", "before", "x" * 4096)
    assert (peer.offsets(), peer.code) == ([1], 3010)
    await settle()
    back = await Peer(hub).enter(ROOM, since=Position(peer.channel.position.epoch, 1))
    assert back.of_type("connected")[0]["data"]["recovered"] is False
    assert back.of_type("snapshot")


async def test_what_follows_in_the_same_transaction_is_said(hub: Hub, storage: Storage) -> None:
    await keep(storage, "ana", object(), "after")
    replay = await hub.history(ROOM, limit=10)
    assert [(p.offset, p.data) for p in replay.publications] == [(2, b'"after"')]


async def test_an_engine_that_is_away_is_said_in_the_log(
    hub: Hub,
    storage: Storage,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def away(*_: object) -> None:
        raise Unavailable("the engine is away")

    monkeypatch.setattr(hub.engine, "publish", away)
    monkeypatch.setattr(hub.engine, "skip", away)
    with caplog.at_level(logging.ERROR):
        await keep(storage, "ana", "gone")
    assert "nor could those on its channel be told: Unavailable" in caplog.text
    async with storage.write():
        pass  # and it goes on
