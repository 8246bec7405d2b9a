"""What stands behind a route of ours: an ASGI app with a name."""

from __future__ import annotations

from collections.abc import Awaitable

from starlette.types import ASGIApp, Receive, Scope, Send


class Endpoint:
    """An ASGI app and not a function, or Starlette would wrap it in a WebSocket of its own.

    It hands out the app's own coroutine: one of its own would be a frame that each connection
    holds for as long as it lasts.
    """

    def __init__(self, app: ASGIApp, name: str) -> None:
        self._app = app
        self.__name__ = name

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        return self._app(scope, receive, send)
