"""Who comes in: what is refused before the handshake is accepted, and whose token it is.

CORS and other HTTP middleware never see a WebSocket, so Origin is checked here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import unquote_plus

from starlette.requests import HTTPConnection

from cardume.auth.handshake import credentials, header
from cardume.auth.identity import Identity, InvalidToken
from cardume.auth.policy import origin_allowed
from cardume.errors import Invalid
from cardume.hub.guards import IDENTITY
from cardume.hub.hub import Hub
from cardume.wire.messages import Position

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

RETRY_AFTER = b"2"

_OURS = frozenset({"since", "client_id", "types"})


class Visitor:
    """What a handshake asks for."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self.subprotocol: str | None = "bearer" if "bearer" in _subprotocols(scope) else None
        asked = _asked(scope.get("query_string", b""))
        self.since = _position(asked["since"][-1]) if "since" in asked else None
        self.client_id = asked["client_id"][-1] if "client_id" in asked else ""
        self.types = _types(asked["types"]) if "types" in asked else frozenset()

    async def identify(self, hub: Hub) -> Identity:
        """Whose token came with the handshake.

        Raises:
            InvalidToken: nobody's.
            Unavailable: the issuer's keys are out of reach.
        """
        return await identify(hub, self._scope)


async def identify(hub: Hub, scope: Scope) -> Identity:
    """The identity behind an ASGI scope: its token's, or whom the hub lets in without one.

    Raises:
        InvalidToken: none.
        Unavailable: the issuer's keys are out of reach.
    """
    shown = credentials(
        scope["headers"], scope.get("query_string", b""), tuple(_subprotocols(scope))
    )
    if shown.token is not None:
        return await hub.auth.verify(shown.token)
    anonymous = hub.options.anonymous
    identity = anonymous(scope) if anonymous is not None else None
    if identity is None:
        raise InvalidToken("missing")
    return identity


async def refuse_before_accept(hub: Hub, scope: Scope, receive: Receive, send: Send) -> bool:
    """Answer with an HTTP error where even an accepted handshake would be too much. True: done."""
    await receive()  # websocket.connect
    refusal = _refusal(hub, scope)
    if refusal is None:
        return False
    status, reason = refusal
    hub.rejects.note(reason, client_of(scope))
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008})  # the server makes it a 403
        return True
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    if status in (429, 503):
        headers.append((b"retry-after", RETRY_AFTER))
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": reason.encode()})
    return True


def _refusal(hub: Hub, scope: Scope) -> tuple[int, str] | None:
    if hub.draining:
        return 503, "draining"
    if not hub.handshakes.take(hub.clock.monotonic()):
        return 429, "too_many_handshakes"
    if at_capacity(hub):
        return 503, "connection_limit"
    if hub.is_crowded(address_of(scope)):
        return 429, "address_connection_limit"
    if not origin_ok(hub, scope):
        return 403, "foreign_origin"
    return None


def at_capacity(hub: Hub) -> bool:
    """Whether one more connection would be too many."""
    limit = hub.options.max_connections
    return limit is not None and hub.stats.active_connections + hub.strangers >= limit


def address_of(scope: Scope) -> str | None:
    """The peer's address, where the server knows it."""
    client = scope.get("client")
    return str(client[0]) if client else None


def client_of(scope: Scope) -> str:
    """The peer's address, for a log line."""
    return address_of(scope) or "?"


def origin_ok(hub: Hub, scope: Scope) -> bool:
    """Whether the page behind the request may talk to this hub; no page is fine."""
    try:
        origin, host = header(scope["headers"], b"origin"), header(scope["headers"], b"host")
    except Invalid:
        return False
    scheme = scope.get("scheme", "http")
    return origin_allowed(origin, host, hub.options.allowed_origins, scheme=scheme)


def _asked(query: bytes) -> dict[str, list[str]]:
    """What a query asks of us; its token is read elsewhere, and the rest is nobody's."""
    asked: dict[str, list[str]] = {}
    parts = query.split(b"&", 64)
    for part in parts[:64] if len(parts) <= 64 else ():
        name, _, value = part.decode("latin-1").partition("=")
        if value and name in _OURS:
            asked.setdefault(name, []).append(unquote_plus(value))
    return asked


def _types(listed: Iterable[str]) -> frozenset[str]:
    names = ",".join(listed).split(",")[:64]
    return frozenset(name for name in names if 0 < len(name) <= 64)


def _subprotocols(scope: Scope) -> list[str]:
    offered: list[str] = scope.get("subprotocols") or []
    return offered


def _position(text: str) -> Position | None:
    """A position that cannot be read is one that is not known: the client starts over."""
    if not text:
        return None
    try:
        return Position.parse(text)
    except Invalid:
        return Position("-", 0)


async def identify_request(request: HTTPConnection, hub: Hub) -> Identity:
    """As `identify`, for an HTTP request: a query string is no place for its token.

    Inside a channel's authorisation function the identity is the connection's own.
    """
    known = request.scope.get(IDENTITY)
    if isinstance(known, Identity):
        return known
    scope = dict(request.scope)
    scope["query_string"] = b""
    return await identify(hub, scope)
