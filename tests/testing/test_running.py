"""An application's lifespan around a test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from fastapi import FastAPI, Request
from starlette.types import Receive, Scope, Send

from cardume import HubNotRunning
from cardume.testing import client, running, settle
from cardume.testing.link import Link
from tests.testing.places import make_app, make_hub


def fail() -> None:
    raise ZeroDivisionError


async def test_the_hub_runs_inside_and_not_after() -> None:
    hub = make_hub()
    async with running(make_app(hub)) as site:
        assert site.hub is hub
        assert hub.running
    assert not hub.running


async def test_a_startup_that_fails_says_why() -> None:
    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        fail()
        yield

    with pytest.raises(ZeroDivisionError):
        async with running(FastAPI(lifespan=lifespan)):
            pass


async def test_a_shutdown_that_fails_says_why() -> None:
    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        fail()

    app = FastAPI(lifespan=lifespan)
    app.include_router(make_hub().router)
    with pytest.raises(ZeroDivisionError):
        async with running(app):
            pass


async def test_an_app_without_a_hub_is_none_of_ours() -> None:
    with pytest.raises(HubNotRunning):
        async with running(FastAPI()):
            pass


async def test_a_mounted_hub_is_named() -> None:
    hub, inner = make_hub(), FastAPI()
    inner.include_router(hub.router)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with hub:
            yield

    app = FastAPI(lifespan=lifespan)
    app.mount("/inner", inner)
    async with (
        running(app, hub=hub) as site,
        client(site, "/inner/ws/room/7", identity="ann") as ws,
    ):
        await hub.publish("room:7", "message", {})
        await ws.expect("message")


async def test_startup_and_shutdown_are_one_task_though_the_test_has_two() -> None:
    """As with fixtures of pytest-asyncio; a task group in a lifespan minds."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with anyio.create_task_group():
            yield

    app = FastAPI(lifespan=lifespan)
    app.include_router(make_hub().router)
    here = running(app)
    await asyncio.create_task(here.__aenter__())
    ws = client(app, "/ws/room/7", identity="ann")
    await asyncio.create_task(ws.__aenter__())
    assert ws.closed is None
    await asyncio.create_task(ws.__aexit__(None, None, None))
    await asyncio.create_task(here.__aexit__(None, None, None))


class Breaking:
    """Middleware that fails, before the client is let in or after it left."""

    def __init__(self, inner: FastAPI, *, at_once: bool) -> None:
        self.inner = inner
        self.at_once = at_once

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await self.inner(scope, receive, send)
            return
        if self.at_once:
            fail()
        await self.inner(scope, receive, send)
        fail()


async def test_what_the_application_fails_with_at_the_door_reaches_the_test() -> None:
    entered = False
    async with running(Breaking(make_app(make_hub()), at_once=True)) as site:
        with pytest.raises(ZeroDivisionError):
            async with client(site, "/ws/room/7", identity="ann"):
                entered = True
    assert not entered


async def test_what_the_application_fails_with_later_reaches_the_test() -> None:
    async with running(Breaking(make_app(make_hub()), at_once=False)) as site:
        ws = await client(site, "/ws/room/7", identity="ann").__aenter__()
        site.hub.close_user("ann")
        with pytest.raises(ZeroDivisionError):
            await ws.expect("nothing of the kind")
        with pytest.raises(ZeroDivisionError):
            await ws.__aexit__(None, None, None)


async def test_what_is_sent_to_a_peer_that_is_gone_fails_as_on_a_server() -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "bytes": b"{}"})
        seen.append("sent")
        try:
            await send({"type": "websocket.send", "text": "{}"})
        except OSError:
            seen.append("failed")

    heard: list[str] = []
    link = Link(app, {"type": "websocket"}, heard.append, lambda: None)
    await settle()
    assert (heard, seen) == (["{}", "{}"], ["sent"])
    link = Link(app, {"type": "websocket"}, heard.append, lambda: None)
    link.freeze()
    await settle()
    link.cut()
    await link.end()
    assert seen == ["sent"]
    link = Link(app, {"type": "websocket"}, lambda _text: link.freeze(), lambda: None)
    await settle()
    link.cut()
    await link.end()
    assert seen == ["sent", "sent", "failed"]


async def test_the_state_of_the_lifespan_is_in_every_request() -> None:
    hub = make_hub()

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[dict[str, int]]:
        yield {"answer": 42}

    app = FastAPI(lifespan=lifespan)
    app.include_router(hub.router)

    @hub.channel("state:{name}", path="/ws/state/{name}")
    async def state(name: str, request: Request) -> None:
        assert request.state.answer == 42

    async with running(app) as site, client(site, "/ws/state/x", identity="ann") as ws:
        assert ws.closed is None
