"""An app on the hub: its addresses, and its life as part of the application that includes them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol, TypeVar

from fastapi import APIRouter
from starlette.requests import HTTPConnection

A = TypeVar("A")


class App(Protocol):
    """Documents, transitions, permissions and events on one hub and one database."""

    def running(self) -> AbstractAsyncContextManager[None]:
        """Started: storage and hub entered, deadlines armed."""


def router_of(app: App, *parts: APIRouter, prefix: str = "") -> APIRouter:
    """The addresses of `parts` below `prefix`; including the router starts `app`."""

    @asynccontextmanager
    async def lifespan(_app: Any) -> AsyncIterator[dict[str, Any]]:
        async with app.running():
            yield {state_name(type(app)): app}

    whole = APIRouter(prefix=prefix, lifespan=lifespan)
    for part in parts:
        whole.include_router(part)
    return whole


def current(kind: type[A]) -> Callable[[HTTPConnection], Awaitable[A]]:
    """A dependency: the app of this kind whose router the application includes."""

    # A coroutine, for FastAPI gives any other to a thread: 0.1 ms of every request.
    async def find(connection: HTTPConnection) -> A:
        app = getattr(connection.state, state_name(kind), None)
        assert isinstance(app, kind), f"include the router of {kind.__module__}.{kind.__name__}"
        return app

    return find


def state_name(kind: type) -> str:
    """Where the lifespan state of the application holds the app."""
    return f"{kind.__module__}.{kind.__qualname__}"
