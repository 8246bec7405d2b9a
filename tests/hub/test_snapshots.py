"""A crowd that comes at once is told by two readings of the state, and each is told enough."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.exceptions import HTTPException

from cardume.errors import Refused, Unavailable
from cardume.hub.hub import Hub
from cardume.testing import FakeClock
from cardume.testing.clock import settle
from tests.support.peers import Nobody, Peer, declare


class Board:
    """A source whose readings end when the test says so."""

    def __init__(self) -> None:
        self.begun = 0
        self.state = 0
        self.fails: Exception | None = None
        self._gates: list[asyncio.Event] = []

    async def snapshot(self, id: str) -> dict[str, Any]:
        self.begun += 1
        gate = asyncio.Event()
        self._gates.append(gate)
        await gate.wait()
        if self.fails is not None:
            raise self.fails
        return {"id": id, "state": self.state}

    async def finish(self) -> None:
        """End the reading that began first."""
        await settle()
        self.let_go()
        await settle()

    def let_go(self) -> None:
        """As `finish`, and nobody has noticed yet."""
        self._gates.pop(0).set()


@pytest.fixture
def board() -> Board:
    return Board()


@pytest.fixture
async def hub(board: Board) -> AsyncIterator[Hub]:
    made = Hub(auth=Nobody(), clock=FakeClock())
    declare(made, "board:{id}", history=10, snapshot=board.snapshot)
    async with made:
        yield made


async def come(hub: Hub, count: int, channel: str = "board:1") -> list[asyncio.Task[Peer]]:
    tasks = [asyncio.create_task(Peer(hub).enter(channel)) for _ in range(count)]
    await settle()
    return tasks


def told(peer: Peer) -> Any:
    [frame] = peer.of_type("snapshot")
    return frame["data"]["state"]


async def test_who_comes_while_one_is_read_shares_the_next(hub: Hub, board: Board) -> None:
    [first] = await come(hub, 1)
    others = await come(hub, 20)
    assert board.begun == 1
    await board.finish()
    assert board.begun == 2
    board.state = 7
    await board.finish()
    assert told(await first) == 0
    assert {told(await each) for each in others} == {7}
    assert board.begun == 2


async def test_none_is_told_a_state_that_was_read_before_it_came(hub: Hub, board: Board) -> None:
    await come(hub, 1)
    second = await come(hub, 1)
    await board.finish()
    third = await come(hub, 1)  # the reading for the second is under way
    await board.finish()
    board.state = 3
    assert board.begun == 3
    await board.finish()
    assert told(await second[0]) == 0
    assert told(await third[0]) == 3


async def test_who_comes_as_one_ends_has_its_own(hub: Hub, board: Board) -> None:
    """The first reading is over before the second one's turn has come."""
    await come(hub, 1)
    second = asyncio.create_task(hub.snapshots.read("board:1", board.snapshot, {"id": "1"}))
    board.let_go()
    await settle()
    assert board.begun == 2
    await board.finish()
    assert b'"state":0' in await second


async def test_channels_do_not_share(hub: Hub, board: Board) -> None:
    await come(hub, 1)
    await come(hub, 1, "board:2")
    assert board.begun == 2
    await board.finish()
    await board.finish()


async def test_who_leaves_takes_it_from_nobody(hub: Hub, board: Board) -> None:
    leaver, stayer = [*await come(hub, 1), *await come(hub, 2)][1:]
    leaver.cancel()
    await board.finish()
    await board.finish()
    assert told(await stayer) == 0


async def test_the_first_to_leave_makes_room_for_the_next(hub: Hub, board: Board) -> None:
    [first] = await come(hub, 1)
    [second] = await come(hub, 1)
    first.cancel()
    await settle()
    assert board.begun == 2
    board._gates.pop(0)
    await board.finish()
    assert told(await second) == 0


async def test_a_refusal_is_told_to_all_who_share_it(hub: Hub, board: Board) -> None:
    board.fails = HTTPException(404)
    tasks = [*await come(hub, 1), *await come(hub, 3)]
    await board.finish()
    await board.finish()
    for task in tasks:
        with pytest.raises(Refused):
            await task
    board.fails = None
    [later] = await come(hub, 1)
    await board.finish()
    assert told(await later) == 0


async def test_the_end_of_the_hub_ends_the_waiting(hub: Hub, board: Board) -> None:
    tasks = [*await come(hub, 1), *await come(hub, 2)]
    await hub.__aexit__(None, None, None)
    tasks[0].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(each) for each in results] == [asyncio.CancelledError, Unavailable, Unavailable]
    await hub.__aenter__()


async def test_the_end_of_the_hub_ends_a_waiting_that_has_just_begun(
    hub: Hub, board: Board
) -> None:
    await come(hub, 1)
    waiting = asyncio.create_task(hub.snapshots.read("board:1", board.snapshot, {"id": "1"}))
    await asyncio.sleep(0)
    await hub.tasks.cancel()
    with pytest.raises(Unavailable):
        await waiting
