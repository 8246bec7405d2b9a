"""Calls about users: put on channels and taken off, sent away, shut out."""

from __future__ import annotations

from dataclasses import replace

from cardume.errors import Invalid, Refused
from cardume.hub.connection import Connection
from cardume.hub.hub import Hub
from cardume.transports.server_api.requests import (
    BlockUserRequest,
    Disconnect,
    DisconnectRequest,
    RefreshRequest,
    SubscribeRequest,
    UnblockUserRequest,
    UnsubscribeRequest,
    UserRequest,
)
from cardume.transports.server_api.results import Nothing
from cardume.wire import codes
from cardume.wire.codes import CloseCode

MAX_REASON = 123
"""Bytes beside the code in a close frame (RFC 6455 §5.5)."""

CLOSE_CODES = range(3000, 5000)
"""What an application may close with (RFC 6455 §7.4.2)."""


async def subscribe(hub: Hub, asked: SubscribeRequest) -> Nothing:
    """Put a user's connections on a channel, but those that hold one channel only."""
    if asked.expire_at or asked.data is not None:
        raise Refused(codes.NOT_AVAILABLE, "expire_at and data of a subscription are not built")
    _check_no_session(asked)
    since = None if asked.recover_since is None else asked.recover_since.position
    client = asked.client or None
    await hub.subscribe(asked.user, asked.channel, client=client, info=asked.info, since=since)
    return {}


async def unsubscribe(hub: Hub, asked: UnsubscribeRequest) -> Nothing:
    """Take a user's connections off a channel; one that held no other is closed with 3503."""
    hub.options_of(asked.channel)
    _check_no_session(asked)
    hub.unsubscribe(asked.user, asked.channel, client=asked.client or None)
    return {}


async def disconnect(hub: Hub, asked: DisconnectRequest) -> Nothing:
    """Send a user away; without a code of your own its clients do not come back."""
    code = _close_code(asked.disconnect)
    for connection in _connections(hub, asked):
        if connection.id not in asked.whitelist:
            connection.close(code)
    return {}


def _close_code(asked: Disconnect | None) -> CloseCode:
    if asked is None or not asked.code:
        return codes.FORCE_DISCONNECT
    known = codes.CLOSES.get(asked.code)
    if asked.code not in CLOSE_CODES or len(asked.reason.encode()) > MAX_REASON:
        raise Invalid(
            f"disconnect: a code from 3000 to 4999, a reason of at most {MAX_REASON} bytes"
        )
    if known is not None and asked.reason in ("", known.reason):
        return known
    return CloseCode(asked.code, asked.reason)


async def refresh(hub: Hub, asked: RefreshRequest) -> Nothing:
    """Let a user's connections end now, or at another time than their tokens say."""
    if not asked.expired and not asked.expire_at:
        raise Invalid("refresh: expired or expire_at; a connection that never ends is a token's")
    for connection in _connections(hub, asked):
        if asked.expired or asked.expire_at <= hub.clock.now():
            connection.close(codes.EXPIRED)
            continue
        connection.identity = replace(connection.identity, expires_at=float(asked.expire_at))
        hub.watch_expiry(connection)
    return {}


async def block_user(hub: Hub, asked: BlockUserRequest) -> Nothing:
    """Send a user away with 3507, and let no connection of its in."""
    seconds = asked.expire_at - hub.clock.now() if asked.expire_at else None
    if seconds is not None and seconds <= 0:
        raise Invalid("expire_at is over")
    hub.block_user(asked.user, seconds)
    return {}


async def unblock_user(hub: Hub, asked: UnblockUserRequest) -> Nothing:
    """Let a user in again."""
    hub.unblock_user(asked.user)
    return {}


def _connections(hub: Hub, asked: UserRequest) -> list[Connection]:
    """Of this user, and of nobody else."""
    _check_no_session(asked)
    return hub.connections_of(asked.user, asked.client or None)


def _check_no_session(asked: UserRequest) -> None:
    if asked.session:
        # Passed over, it would be done to all of the user's connections.
        raise Refused(codes.NOT_AVAILABLE, "sessions are not known here: name the client")
