"""What a client may say on a connection that holds one channel, and what is answered."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from cardume.auth.identity import InvalidToken
from cardume.errors import Invalid, Refused, Unavailable
from cardume.hub.channel import Subscription
from cardume.hub.connection import Connection
from cardume.hub.filters import with_types, without_types
from cardume.hub.hub import Hub
from cardume.wire import codes, json
from cardume.wire.messages import (
    Call,
    Command,
    Deselect,
    Deselected,
    Fault,
    Malformed,
    Ping,
    Pong,
    Refresh,
    Refreshed,
    Reply,
    Result,
    Select,
    Selected,
)

MAX_FILTER = 64

logger = logging.getLogger("cardume.hub")


async def handle(hub: Hub, subscription: Subscription, text: str | bytes) -> None:
    """Decode one message and answer it. The peer's faults become replies, never exceptions."""
    connection = subscription.connection
    hub.stats.messages_received += 1
    command = connection.dialect.decode(text)
    if not _within_rate(hub, connection, command):
        return
    try:
        reply = await _HANDLERS[type(command)](hub, subscription, command)
    except Refused as refused:
        reply = Fault(refused.code, refused.message, refused.extra)
    except Invalid as error:
        reply = Fault(codes.BAD_REQUEST, str(error))
    except Unavailable:
        reply = Fault(codes.NOT_AVAILABLE, "not now; try again")
    except Exception:
        logger.exception("%s: a command failed", connection.id)
        reply = Fault(codes.INTERNAL, codes.INTERNAL.message)
    connection.reply(reply, command.id)
    if isinstance(reply, Fault) and connection.errors.add(hub.clock.monotonic()):
        connection.close(codes.TOO_MANY_ERRORS)


def _within_rate(hub: Hub, connection: Connection, command: Command) -> bool:
    """Pings and refreshes are free. The first excess is an error; ten more in a minute, the end."""
    now = hub.clock.monotonic()
    if isinstance(command, Ping | Refresh) or connection.bucket.take(now):
        return True
    hub.rejects.note("rate_limited", connection.id)
    if connection.excess.add(now):
        connection.close(codes.TOO_MANY_REQUESTS_CLOSE)
    else:
        connection.reply(Fault(codes.RATE_LIMITED, codes.RATE_LIMITED.message), command.id)
    return False


async def _ping(_hub: Hub, subscription: Subscription, _command: Ping) -> Reply:
    return Pong(subscription.cursor)


async def _select(_hub: Hub, subscription: Subscription, command: Select) -> Reply:
    types = with_types(subscription.types, command.types)
    if types is not None and len(types) > MAX_FILTER:
        raise Refused(codes.LIMIT_EXCEEDED, f"a filter holds at most {MAX_FILTER} event types")
    subscription.channel.narrow(subscription, types)
    return Selected(_names(subscription))


async def _deselect(_hub: Hub, subscription: Subscription, command: Deselect) -> Reply:
    subscription.channel.narrow(subscription, without_types(subscription.types, command.types))
    return Deselected(_names(subscription))


async def _call(hub: Hub, subscription: Subscription, command: Call) -> Reply:
    identity = subscription.connection.identity
    answer = await hub.actions.run(identity, command.name, command.body)
    try:
        return Result(json.encode({} if answer is None else answer))
    except Invalid as error:  # the handler's fault, not the peer's
        raise TypeError(f"action {command.name!r} answered what has no JSON form") from error


async def _refresh(hub: Hub, subscription: Subscription, command: Refresh) -> Reply:
    connection = subscription.connection
    try:
        identity = await hub.auth.verify(command.token)
    except InvalidToken as error:
        raise Refused(codes.UNAUTHORIZED, "the new token is not valid") from error
    if identity.sub != connection.identity.sub:
        raise Refused(codes.PERMISSION_DENIED, "the new token is somebody else's")
    connection.identity = identity
    hub.watch_expiry(connection)
    return Refreshed(hub.expires_in(identity))


async def _malformed(hub: Hub, subscription: Subscription, command: Malformed) -> Reply:
    hub.rejects.note(command.code.name, subscription.connection.id)
    return Fault(command.code, command.message)


def _names(subscription: Subscription) -> tuple[str, ...]:
    return tuple(sorted(subscription.types or ()))


_HANDLERS: dict[type[Command], Callable[[Hub, Subscription, Any], Awaitable[Reply]]] = {
    Ping: _ping,
    Select: _select,
    Deselect: _deselect,
    Call: _call,
    Refresh: _refresh,
    Malformed: _malformed,
}
