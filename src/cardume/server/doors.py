"""Our WebSocket addresses in front of the application: its middleware is for HTTP alone.

Inside it a WebSocket passes fifteen layers, and each keeps a coroutine and its closures for as
long as the connection lives: half of all that the garbage collector has to look through.
"""

from __future__ import annotations

from collections.abc import Iterable

from fastapi import FastAPI
from starlette.routing import BaseRoute, Match, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send


class Doors:
    """An ASGI app: the WebSockets among `routes` by themselves, everything else through `app`."""

    def __init__(self, app: FastAPI, routes: Iterable[BaseRoute]) -> None:
        self._app = app
        self._routes = [route for route in routes if isinstance(route, WebSocketRoute)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._behind(scope)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _behind(self, scope: Scope) -> ASGIApp:
        """What is at this address; `scope` gets its parameters, as a router would add them."""
        for route in self._routes:
            match, found = route.matches(scope)
            if match is Match.FULL:
                # A guard with dependencies asks the application for their overrides.
                scope.update(found, app=self._app)
                return route.app
        return self._app
