"""Publishing from threads that are not the hub's."""

from __future__ import annotations

import asyncio
import threading

import pytest

from cardume.errors import HubNotRunning, Invalid, Refused, Unavailable
from cardume.hub.hub import Hub
from tests.support.peers import Nobody, Peer, declare


def make() -> Hub:
    hub = Hub(auth=Nobody())
    declare(hub, "room:{id}", history=50)
    return hub


async def test_a_thread_publishes_and_gets_the_position() -> None:
    async with make() as hub:
        peer = await Peer(hub).enter("room:1")
        positions = [
            await asyncio.to_thread(hub.publish_sync, "room:1", "m", {"n": n}, key="k")
            for n in range(3)
        ]
        assert [position.offset for position in positions] == [1, 2, 3] == peer.offsets()


async def test_many_threads_at_once() -> None:
    async with make() as hub:
        peer = await Peer(hub).enter("room:1")
        jobs = [asyncio.to_thread(hub.publish_sync, "room:1", "m", n) for n in range(40)]
        positions = await asyncio.gather(*jobs)
        assert sorted(position.offset for position in positions) == peer.offsets()


async def test_on_the_hubs_own_loop_it_says_what_to_do() -> None:
    async with make() as hub:
        with pytest.raises(RuntimeError, match=r"await hub\.publish"):
            hub.publish_sync("room:1", "m", {})
        assert (await hub.history("room:1")).position.offset == 0


async def test_what_publish_refuses_is_refused_here() -> None:
    async with make() as hub:
        with pytest.raises(Invalid):
            await asyncio.to_thread(hub.publish_sync, "room:1", "m", object())
        with pytest.raises(Refused):
            await asyncio.to_thread(hub.publish_sync, "nowhere", "m", {})


def test_a_hub_that_does_not_run() -> None:
    hub = make()
    with pytest.raises(HubNotRunning):
        hub.publish_sync("room:1", "m", {})

    async def once() -> None:
        async with hub:
            pass

    asyncio.run(once())
    with pytest.raises(HubNotRunning):
        hub.publish_sync("room:1", "m", {})


async def test_a_loop_that_is_busy_is_waited_for_until_the_timeout() -> None:
    async with make() as hub:
        failed: list[Exception] = []

        def publish() -> None:
            try:
                hub.publish_sync("room:1", "m", {}, timeout=0.01)
            except Unavailable as error:
                failed.append(error)

        thread = threading.Thread(target=publish)
        thread.start()
        thread.join()  # the loop stands still meanwhile
        assert len(failed) == 1
        await asyncio.sleep(0)
