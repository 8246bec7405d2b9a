"""Health, the page, and headers that every answer of ours carries."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from fastapi import APIRouter, FastAPI, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from typing_extensions import TypedDict

import cardume

WEB = Path(cardume.__file__).parent / "web"

_HEADERS = [
    (
        b"content-security-policy",
        b"default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; "
        b"base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),  # addresses may hold a token
]
_DOCS = ("/docs", "/redoc")


class Health(TypedDict):
    status: str
    version: str
    apps: list[str]


class Readiness(Protocol):
    """What says whether we can do our work."""

    def problems(self) -> list[str]:
        """What is wrong now; nothing when all is well."""


def router(readiness: Readiness, apps: Sequence[str]) -> APIRouter:
    """`/health`: the process lives, with these apps. `/ready`: it can do its work."""
    whole = APIRouter(tags=["health"])

    @whole.get("/health")
    async def health() -> Health:
        return {"status": "ok", "version": cardume.__version__, "apps": list(apps)}

    @whole.get("/ready")
    async def ready(response: Response) -> dict[str, Any]:
        """503 while draining, or while what devices send cannot be kept."""
        wrong = readiness.problems()
        response.status_code = 503 if wrong else 200
        return {"status": "not ready" if wrong else "ready", "problems": wrong}

    return whole


def mount_page(app: FastAPI) -> None:
    """The page at `/`, last, so that every other address goes before it."""
    app.mount("/", StaticFiles(directory=WEB, html=True), name="page")


class SecurityHeaders:
    """Adds the headers to HTTP answers; a WebSocket never comes through here."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(_DOCS):
            # FastAPI's own docs page loads its script from elsewhere.
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        await self._app(scope, receive, send_with_headers)
