"""An application as a server runs it: its lifespan entered, the lifespan's state in every request.

Everything happens on the test's own loop; there is no socket and no thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cardume.auth.identity import Identity
from cardume.errors import HubNotRunning
from cardume.testing.passes import passes_of
from cardume.transports.fastapi import STATE, Hub


class Site:
    """A running application, itself an ASGI app: hand it to httpx's ``ASGITransport``."""

    def __init__(self, app: ASGIApp, hub: Hub, state: Mapping[str, Any]) -> None:
        self.app = app
        self.hub = hub
        self.state = state

    def token(self, identity: Identity) -> str:
        """A token that the hub takes for `identity`, in HTTP requests as well."""
        return passes_of(self.hub).issue(identity)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app({**scope, "state": dict(self.state)}, receive, send)


@asynccontextmanager
async def running(app: ASGIApp | Hub, *, hub: Hub | None = None) -> AsyncIterator[Site]:
    """Run the lifespan of `app` around the block, as a server does.

    `app` is a FastAPI application that includes a hub's router, or a `Hub` alone. `hub` says
    whose clock and tokens count where the application mounts the one that has it, because
    Starlette does not run the lifespan of what is mounted: then enter the hub in your own.

    Raises:
        HubNotRunning: there is no hub in the application.
        Exception: whatever the startup failed with.
    """
    served = app.router if isinstance(app, Hub) else app
    lifespan = _Lifespan(served)
    await lifespan.start()
    try:
        found = hub or _hub_in(lifespan.state)
        site = Site(served, found, lifespan.state)
        before = _running.get(id(app))
        _running[id(app)] = site
        try:
            yield site
        finally:
            del _running[id(app)]
            if before is not None:
                _running[id(app)] = before
    finally:
        await lifespan.stop()


def site_of(target: Site | ASGIApp | Hub) -> Site:
    """The running application behind what a test has in its hands.

    Raises:
        HubNotRunning: it is not running.
    """
    if isinstance(target, Site):
        return target
    site = _running.get(id(target))
    if site is not None:
        return site
    if isinstance(target, Hub) and target.running:  # entered by hand
        return Site(target.router, target, {STATE: target})
    raise HubNotRunning


_running: dict[int, Site] = {}
"""By the application's identity: a router compares by its routes and has no hash."""


def _hub_in(state: Mapping[str, Any]) -> Hub:
    hub = state.get(STATE)
    if not isinstance(hub, Hub):
        raise HubNotRunning
    return hub


class _Lifespan:
    """The ASGI lifespan protocol, in one task from the startup to the shutdown."""

    def __init__(self, app: ASGIApp) -> None:
        self.state: dict[str, Any] = {}
        self._app = app
        self._incoming: asyncio.Queue[Message] = asyncio.Queue()
        self._said: asyncio.Queue[Message] = asyncio.Queue()

    async def start(self) -> None:
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        work = self._app(scope, self._incoming.get, self._said.put)
        self._task = asyncio.ensure_future(work)
        await self._ask("startup")

    async def stop(self) -> None:
        await self._ask("shutdown")
        await self._task

    async def _ask(self, what: str) -> None:
        self._incoming.put_nowait({"type": f"lifespan.{what}"})
        answer = asyncio.create_task(self._said.get())
        try:
            await asyncio.wait({answer, self._task}, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done() or answer.result()["type"] != f"lifespan.{what}.complete":
                await self._task  # it raises what was the matter
                raise RuntimeError(f"the application did not complete its {what}")
        finally:
            answer.cancel()
