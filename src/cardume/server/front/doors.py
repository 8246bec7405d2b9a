"""Our WebSockets and the server API in front of the application, whose middleware is for the rest.

Inside it a WebSocket passes fifteen layers, and each keeps a coroutine and its closures for as
long as the connection lives: half of all that the garbage collector has to look through. Of a
`POST /api/publish` they were more than half.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fastapi import FastAPI
from starlette.routing import BaseRoute, Match, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send


class Doors:
    """An ASGI app: the WebSockets among `routes` by themselves, everything else through `app`.

    `calls` are by path, and take a POST that no page of another origin sends.
    """

    def __init__(
        self, app: FastAPI, routes: Iterable[BaseRoute], calls: Mapping[str, ASGIApp] | None = None
    ) -> None:
        self._app = app
        self._routes = [route for route in routes if isinstance(route, WebSocketRoute)]
        self._calls = dict(calls or {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "websocket":
                await self._behind(scope)(scope, receive, send)
            case "http":
                await self._call(scope)(scope, receive, send)
            case _:
                await self._app(scope, receive, send)

    def _call(self, scope: Scope) -> ASGIApp:
        call = self._calls.get(scope["path"])
        if call is None or scope["method"] != "POST":
            return self._app
        if any(name == b"origin" for name, _ in scope["headers"]):
            return self._app  # which knows what CORS is
        return call

    def _behind(self, scope: Scope) -> ASGIApp:
        """What is at this address; `scope` gets its parameters, as a router would add them."""
        path = scope["path"] if not scope.get("root_path") else None
        for route in self._routes:
            if path is not None and route.path_regex.match(path) is None:
                continue  # says the same for a tenth of the price
            match, found = route.matches(scope)
            if match is Match.FULL:
                # A guard with dependencies asks the application for their overrides.
                scope.update(found, app=self._app)
                return route.app
        return self._app
