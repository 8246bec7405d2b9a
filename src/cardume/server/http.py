"""Health, the page, and headers that every answer of ours carries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse
from starlette.routing import Match
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from typing_extensions import TypedDict

import cardume
from cardume.transports.problems import MEDIA_TYPE, SCHEMA, problem
from cardume.wire import codes

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
_ASSETS = "/docs/assets"
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_PROBLEM = "#/components/schemas/Problem"
_NOTHING = "nothing is at this address"


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


def add_docs(app: FastAPI) -> None:
    """`/docs` and `/redoc` with their scripts from here: a LAN may have no way to a CDN."""
    app.mount(_ASSETS, StaticFiles(packages=[("fastapi_offline", "static")]), name="docs assets")

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> HTMLResponse:
        root = request.scope.get("root_path", "").rstrip("/")
        return get_swagger_ui_html(
            openapi_url=f"{root}/openapi.json",
            title=app.title,
            swagger_js_url=f"{root}{_ASSETS}/swagger-ui-bundle.js",
            swagger_css_url=f"{root}{_ASSETS}/swagger-ui.css",
            swagger_favicon_url=f"{root}{_ASSETS}/favicon.png",
        )

    @app.get("/redoc", include_in_schema=False)
    async def redoc(request: Request) -> HTMLResponse:
        root = request.scope.get("root_path", "").rstrip("/")
        return get_redoc_html(
            openapi_url=f"{root}/openapi.json",
            title=app.title,
            redoc_js_url=f"{root}{_ASSETS}/redoc.standalone.js",
            redoc_favicon_url=f"{root}{_ASSETS}/favicon.png",
            with_google_fonts=False,
        )


def mount_page(app: FastAPI) -> None:
    """The page, and problem documents for what is at no address or has another method."""
    app.router.redirect_slashes = False  # every address is written in one way
    app.router.default = _Unmatched()
    app.add_exception_handler(405, _method_not_allowed)
    app.openapi = _Document(app.openapi).openapi  # type: ignore[method-assign]


class _Document:
    """The OpenAPI document with the schema of a problem in one place instead of at every call."""

    def __init__(self, make: Callable[[], dict[str, Any]]) -> None:
        self._make = make

    def openapi(self) -> dict[str, Any]:
        document = self._make()  # the same one each time
        schemas = document["components"]["schemas"]
        if "Problem" not in schemas:
            schemas["Problem"] = SCHEMA
            for path in document["paths"].values():
                for operation in path.values():
                    for response in operation["responses"].values():
                        content = response.get("content", {})
                        if MEDIA_TYPE in content:
                            content[MEDIA_TYPE] = {"schema": {"$ref": _PROBLEM}}
        return document


class _Unmatched:
    """What no route wants: a file of the page, or nothing that is here."""

    def __init__(self) -> None:
        self._files = StaticFiles(directory=WEB, html=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._refuse(scope, receive, send)
            return
        if scope["method"] not in ("GET", "HEAD"):
            raise HTTPException(404, _NOTHING)
        try:
            await self._files(scope, receive, send)
        except HTTPException as error:
            if error.status_code != 404:
                raise
            if _leads_to(scope, type="websocket"):
                raise _upgrade_required(scope) from None
            raise HTTPException(404, _NOTHING) from None

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        if "websocket.http.response" in scope.get("extensions", {}):
            await problem(codes.NOT_FOUND, _NOTHING)(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})  # the server makes it a 403


def _leads_to(scope: Scope, **changed: str) -> bool:
    """Whether some route would take this request with something about it `changed`."""
    kept = {name: scope[name] for name in ("type", "path", "root_path", "headers") if name in scope}
    asked = {**kept, **changed}
    return any(route.matches(asked)[0] is Match.FULL for route in scope["app"].routes)


async def _method_not_allowed(request: Request, _error: Exception) -> Response:
    """405 with the methods of every route at the address; Starlette names those of the first."""
    allowed = ", ".join(name for name in _METHODS if _leads_to(request.scope, method=name))
    return problem(codes.METHOD_NOT_ALLOWED, f"methods here: {allowed}", headers={"Allow": allowed})


def _upgrade_required(scope: Scope) -> HTTPException:
    # HTTP/2 has no such header (RFC 9113 §8.2.2).
    upgrade = scope["http_version"].startswith("1")
    headers = {"Upgrade": "websocket", "Connection": "Upgrade"} if upgrade else None
    return HTTPException(
        426, "a WebSocket is at this address: connect with ws:// or wss://", headers
    )


class SecurityHeaders:
    """Adds the headers to HTTP answers; a WebSocket never comes through here."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(_DOCS):
            # FastAPI's docs pages have a script and styles within them.
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        await self._app(scope, receive, send_with_headers)
