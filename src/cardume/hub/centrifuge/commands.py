"""What a client of the `centrifuge` dialect may say, and what is answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cardume.auth.identity import Identity, InvalidToken
from cardume.errors import Refused
from cardume.hub.commands import Table, malformed, run
from cardume.hub.entry import snapshot_of
from cardume.hub.hub import Hub
from cardume.hub.snapshots import told_by
from cardume.wire import codes
from cardume.wire.codes import CloseCode
from cardume.wire.messages import (
    AskHistory,
    AskPresence,
    AskPresenceStats,
    Call,
    Connect,
    Malformed,
    Past,
    Ping,
    Pong,
    Position,
    Presence,
    PresenceStats,
    Publish,
    Published,
    Refresh,
    Refreshed,
    Reply,
    Result,
    Send,
    Subscribe,
    SubscriptionRefresh,
    SubscriptionRefreshed,
    Unsubscribe,
    Unsubscribed,
)

if TYPE_CHECKING:
    from cardume.hub.centrifuge.clients import Client
    from cardume.hub.subscription import Subscription


def lifetime(seconds: int | None) -> int | None:
    """When a client shall ask for its next token. An SDK waits just so long.

    Centrifugo lets an expired connection live for 25 s more. Here it ends when its token does,
    so the client is told an earlier time.
    """
    if seconds is None:
        return None
    return max(1, seconds - max(1, min(25, seconds // 5)))


async def _connect(_hub: Hub, client: Client, _command: Connect) -> None:
    client.connection.close(codes.BAD_REQUEST_CLOSE)  # it is connected


async def _ping(hub: Hub, client: Client, command: Ping) -> Reply | None:
    if command.id is not None:
        return Pong(Position())
    client.clients.answered(client)
    return None


async def _subscribe(_hub: Hub, client: Client, command: Subscribe) -> None:
    if command.channel in client.connection.subscriptions:
        raise Refused(codes.ALREADY_SUBSCRIBED)
    granted = await client.access(command.channel, command.token)
    await client.subscribe(command, granted)


async def _unsubscribe(_hub: Hub, client: Client, command: Unsubscribe) -> Reply:
    client.leave(command.channel)
    return Unsubscribed()


async def _publish(hub: Hub, client: Client, command: Publish) -> Reply:
    _check_on(client, command.channel)
    if not hub.options_of(command.channel).client_publish:
        raise Refused(codes.PERMISSION_DENIED, "clients do not publish on this channel")
    await hub.publish(command.channel, None, command.data, source=client.connection.identity.sub)
    return Published()


async def _presence(hub: Hub, client: Client, command: AskPresence) -> Reply:
    _check_on(client, command.channel)
    return Presence(hub.presence(command.channel))


async def _presence_stats(hub: Hub, client: Client, command: AskPresenceStats) -> Reply:
    _check_on(client, command.channel)
    return PresenceStats(*hub.presence_stats(command.channel))


async def _history(hub: Hub, client: Client, command: AskHistory) -> Reply:
    _check_on(client, command.channel)
    most = hub.options.replay_limit
    limit = command.limit if 0 <= command.limit <= most else most
    past = await hub.history(command.channel, command.since, limit, command.reverse)
    return Past(past.position, past.publications)


async def _call(hub: Hub, client: Client, command: Call) -> Reply:
    if command.name == "snapshot":
        return await _snapshot(hub, client, command)
    return await run(hub, client.connection, command.name, command.body)


async def _snapshot(hub: Hub, client: Client, command: Call) -> Reply:
    """As a fresh subscriber gets it, and only for who might be one."""
    channel = command.body.get("channel")
    if not isinstance(channel, str):
        raise Refused(codes.BAD_REQUEST, "snapshot needs the name of a channel")
    if channel in client.connection.subscriptions:
        parameters = client.parameters(channel)
    else:
        parameters = (await client.access(channel)).parameters
    options = hub.options_of(channel)
    if options.keyed and options.retention is not None:
        latest = await hub.engine.latest(channel, options.retention)
        state = snapshot_of(latest.publications or ())
    elif options.snapshot is None or parameters is None:
        raise Refused(codes.NOT_AVAILABLE, f"{channel!r} has no snapshot")
    else:
        state = await told_by(options.snapshot, parameters)
    return Result(b'{"snapshot":%b}' % state)


async def _send(_hub: Hub, client: Client, command: Send) -> None:
    hearer = client.clients.hearer
    if hearer is None:
        raise Refused(codes.NOT_AVAILABLE, "nobody listens to messages here")
    await hearer(client.connection.identity, command.data)


async def _refresh(hub: Hub, client: Client, command: Refresh) -> Reply | None:
    connection = client.connection
    identity = await _verified(hub, command.token)
    if isinstance(identity, CloseCode):
        connection.close(identity)
        return None
    if identity.sub != connection.identity.sub:
        connection.close(codes.INVALID_TOKEN)
        return None
    connection.identity = identity
    hub.watch_expiry(connection)
    return Refreshed(lifetime(hub.expires_in(identity)), connection.id)


async def _verified(hub: Hub, token: str) -> Identity | CloseCode:
    """Whose token it is. An SDK takes an error for the end; one that expired may come again."""
    try:
        return await hub.auth.verify(token)
    except InvalidToken as error:
        return codes.EXPIRED if error.expired else codes.INVALID_TOKEN


async def _sub_refresh(_hub: Hub, client: Client, command: SubscriptionRefresh) -> Reply:
    _check_on(client, command.channel)
    granted = await client.access(command.channel, command.token)
    # While the token was looked at, it may have been taken off the channel.
    subscription = _check_on(client, command.channel)
    return SubscriptionRefreshed(client.watch(subscription, granted.expires_at))


async def _malformed(hub: Hub, client: Client, command: Malformed) -> Reply | None:
    if command.id is not None:
        return malformed(hub, client.connection, command)
    hub.rejects.note(command.code.name, client.connection.id)
    client.connection.close(codes.BAD_REQUEST_CLOSE)
    return None


def _check_on(client: Client, channel: str) -> Subscription:
    """Subscribers alone may ask about a channel, or speak on it."""
    subscription = client.connection.subscriptions.get(channel)
    if subscription is None:
        raise Refused(codes.PERMISSION_DENIED, "subscribe to this channel first")
    return subscription


TABLE: Table[Client] = {
    Connect: _connect,
    Ping: _ping,
    Subscribe: _subscribe,
    Unsubscribe: _unsubscribe,
    Publish: _publish,
    AskPresence: _presence,
    AskPresenceStats: _presence_stats,
    AskHistory: _history,
    Call: _call,
    Send: _send,
    Refresh: _refresh,
    SubscriptionRefresh: _sub_refresh,
    Malformed: _malformed,
}
