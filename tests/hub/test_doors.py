"""Limits and blocks as a WebSocket client meets them."""

from __future__ import annotations

import asyncio
from typing import Any

from cardume.auth.tokens import build_verifier
from cardume.clock import SystemClock
from cardume.hub.hub import Hub
from cardume.hub.options import HubOptions
from cardume.testing.clock import settle
from cardume.transports.entrance import serve
from cardume.transports.plain import PlainAddress
from tests.support.asgi import Socket, eventually, scope_of
from tests.support.house import SECRET, token
from tests.support.peers import declare

HERE, ELSEWHERE = ("192.0.2.7", 5000), ("192.0.2.8", 5000)


def make(**options: Any) -> Hub:
    clock = SystemClock()
    hub = Hub(
        auth=build_verifier(clock=clock, secret=SECRET), clock=clock, options=HubOptions(**options)
    )
    declare(hub, "room:{id}", history=50)
    return hub


async def come(
    hub: Hub, sub: str = "anna", client: tuple[str, int] | None = HERE
) -> tuple[Socket, asyncio.Task[None]]:
    """Who comes, and how it went so far."""
    socket = Socket()
    found = hub.namespaces.find("room:1")
    assert found is not None
    query = b"token=" + token(sub).encode()
    scope = scope_of(found[1], query_string=query, client=client)
    app = asyncio.create_task(
        serve(hub, PlainAddress(found[0]), scope, socket.receive, socket.send)
    )
    await settle()
    return socket, app


def status_of(socket: Socket) -> int | None:
    """What a handshake was refused with."""
    first = socket.sent[0]
    return first["status"] if first["type"] == "websocket.http.response.start" else None


async def test_one_address_has_room_for_so_many() -> None:
    async with make(connections_per_address=2) as hub:
        visits = [await come(hub, f"user {n}") for n in range(2)]
        refused, app = await come(hub, "berta")
        await eventually(app)
        assert status_of(refused) == 429
        assert (b"retry-after", b"2") in refused.sent[0]["headers"]
        assert hub.rejects.counts == {"address_connection_limit": 1}
        visits += [await come(hub, "berta", ELSEWHERE), await come(hub, "berta", None)]
        assert [socket.frames[0]["type"] for socket, _ in visits] == ["connected"] * 4
        for socket, app in visits:
            socket.leaves()
            await eventually(app)
        again, app = await come(hub)
        assert again.frames[0]["type"] == "connected"
        again.leaves()
        await eventually(app)


async def test_one_user_has_so_many_connections() -> None:
    async with make(connections_per_user=1) as hub:
        first, app = await come(hub)
        refused, denied = await come(hub, client=ELSEWHERE)
        await eventually(denied)
        assert refused.code == 3504
        assert hub.rejects.counts == {"user_connection_limit": 1}
        first.leaves()
        await eventually(app)


async def test_a_blocked_user_finds_the_door_closed() -> None:
    async with make() as hub:
        inside, app = await come(hub)
        hub.block_user("anna", 60)
        await settle()
        assert inside.code == 3507
        inside.leaves(3507)
        await eventually(app)
        refused, app = await come(hub)
        await eventually(app)
        assert refused.code == 3507
        hub.unblock_user("anna")
        again, app = await come(hub)
        assert again.frames[0]["type"] == "connected"
        again.leaves()
        await eventually(app)


async def test_a_user_blocked_while_its_token_is_read_does_not_slip_in() -> None:
    hub = make()
    verifier, gate = hub.auth, asyncio.Event()

    class Slow:
        async def verify(self, token: str) -> Any:
            identity = await verifier.verify(token)
            await gate.wait()
            return identity

    hub._auth = Slow()
    async with hub:
        socket, app = await come(hub)
        hub.block_user("anna")
        gate.set()
        await eventually(app)
        assert socket.code == 3507


async def test_of_many_that_come_at_once_only_so_many_are_let_in() -> None:
    async with make(connections_per_user=2) as hub:
        found = hub.namespaces.find("room:1")
        assert found is not None
        sockets = [Socket() for _ in range(6)]
        apps = []
        for socket in sockets:
            socket.reading.clear()  # the handshake's answer takes its time
            serving = serve(
                hub, PlainAddress(found[0]), scope_of(found[1]), socket.receive, socket.send
            )
            apps.append(asyncio.create_task(serving))
        await settle()
        for socket in sockets:
            socket.reading.set()
        await settle()
        assert sorted(socket.code or 0 for socket in sockets) == [0, 0, 3504, 3504, 3504, 3504]
        for socket, app in zip(sockets, apps, strict=True):
            socket.leaves()
            await eventually(app)
