"""What a client may say, and what is answered: what all dialects share, and the table of `plain`.

Flows in: one message. Flows out: one reply, or a fault; a connection is closed here only for
faults and floods. Every dialect goes through `respond` with a table of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from cardume.auth.identity import InvalidToken
from cardume.errors import Invalid, Refused, Unavailable
from cardume.hub.connection import Connection
from cardume.hub.filters import bounded, names, with_types, without_types
from cardume.hub.hub import Hub
from cardume.hub.subscription import Subscription
from cardume.wire import codes, json
from cardume.wire.messages import (
    Call,
    Command,
    Deselect,
    Deselected,
    Fault,
    Heartbeat,
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

T = TypeVar("T")

Table = Mapping[type[Command], Callable[[Hub, T, Any], Awaitable[Reply | None]]]
"""Handlers by command. One that answers by itself, because more follows, returns None."""

_UNKNOWN = (codes.UNKNOWN_CHANNEL, codes.UNKNOWN_TYPE)
"""What a client gets wrong by writing to the wrong server, or for the wrong version."""

logger = logging.getLogger("cardume.hub")


async def respond(
    hub: Hub, connection: Connection, text: str | bytes, table: Table[T], context: T
) -> None:
    """Decode one message and answer it. The peer's faults become replies, never exceptions."""
    hub.stats.messages_received += 1
    connection.messages_received += 1
    for hearer in hub.hearers:
        hearer(connection.identity)
    command = connection.dialect.decode(text)
    if not _within_rate(hub, connection, command):
        return
    reply: Reply | None
    try:
        reply = await table[type(command)](hub, context, command)
    except Refused as refused:
        if refused.code in _UNKNOWN:
            hub.rejects.note(refused.code.name, connection.id)
        reply = Fault(refused.code, refused.message, refused.extra)
    except Invalid as error:
        reply = Fault(codes.BAD_REQUEST, str(error))
    except Unavailable:
        reply = Fault(codes.NOT_AVAILABLE, "not now; try again")
    except Exception:
        logger.exception("%s: a command failed", connection.id)
        reply = Fault(codes.INTERNAL, codes.INTERNAL.message)
    if reply is None:
        return
    reply = _tell(connection, reply, command.id)
    if isinstance(reply, Fault) and connection.conduct.errors.add(hub.clock.monotonic()):
        connection.close(codes.TOO_MANY_ERRORS)


def _tell(connection: Connection, reply: Reply, id: int | str | None) -> Reply:
    """Queue a reply, or the fault that it cannot be said; returns which."""
    try:
        connection.reply(reply, id)
        return reply
    except Refused as refused:
        fault = Fault(refused.code, refused.message)
    except Exception:
        logger.exception("%s: an answer could not be encoded", connection.id)
        fault = Fault(codes.INTERNAL, codes.INTERNAL.message)
    connection.reply(fault, id)
    return fault


def _within_rate(hub: Hub, connection: Connection, command: Command) -> bool:
    """The first excess is an error; ten more in a minute, the end.

    Signs of life are free: one service renews the leases of many agents on one connection. A
    refresh is none: it costs a signature, and a client needs one in the life of a token.
    """
    now = hub.clock.monotonic()
    if isinstance(command, Ping | Heartbeat) or connection.conduct.bucket.take(now):
        return True
    hub.rejects.note("rate_limited", connection.id)
    if connection.conduct.excess.add(now):
        connection.close(codes.TOO_MANY_REQUESTS_CLOSE)
    else:
        connection.reply(Fault(codes.RATE_LIMITED, codes.RATE_LIMITED.message), command.id)
    return False


async def run(hub: Hub, connection: Connection, name: str, body: dict[str, Any]) -> Result:
    """The answer of an action, encoded.

    Raises:
        Refused: no such action, a body that does not fit, or its own refusal.
    """
    answer = await hub.actions.run(connection.identity, name, body)
    try:
        return Result(json.encode({} if answer is None else answer))
    except Invalid as error:  # the handler's fault, not the peer's
        raise TypeError(f"action {name!r} answered what has no JSON form") from error


def malformed(hub: Hub, connection: Connection, command: Malformed) -> Fault:
    """What could not be understood, counted."""
    hub.rejects.note(command.code.name, connection.id)
    return Fault(command.code, command.message)


# -- plain: a connection that holds one channel ---------------------------------------------------


async def handle(hub: Hub, subscription: Subscription, text: str | bytes) -> None:
    """Answer one message on a connection that holds one channel."""
    await respond(hub, subscription.connection, text, _PLAIN, subscription)


async def _ping(_hub: Hub, subscription: Subscription, _command: Ping) -> Reply:
    return Pong(subscription.cursor)


async def _select(_hub: Hub, subscription: Subscription, command: Select) -> Reply:
    connection = subscription.connection
    connection.narrow(bounded(with_types(connection.types, command.types)))
    return Selected(names(connection.types))


async def _deselect(_hub: Hub, subscription: Subscription, command: Deselect) -> Reply:
    connection = subscription.connection
    connection.narrow(without_types(connection.types, command.types))
    return Deselected(names(connection.types))


async def _call(hub: Hub, subscription: Subscription, command: Call) -> Reply:
    return await run(hub, subscription.connection, command.name, command.body)


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
    return malformed(hub, subscription.connection, command)


_PLAIN: Table[Subscription] = {
    Ping: _ping,
    Select: _select,
    Deselect: _deselect,
    Call: _call,
    Refresh: _refresh,
    Malformed: _malformed,
}
