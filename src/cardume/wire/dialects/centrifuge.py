"""Dialect `centrifuge`: Centrifugo's client protocol in JSON (contracts/centrifuge.md).

A frame holds replies, one a line. What the proto leaves out where it is empty is left out here
as well: the official SDKs read both.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from cardume.wire import json
from cardume.wire.codes import CloseCode
from cardume.wire.dialects.centrifuge_commands import decode
from cardume.wire.dialects.parts import UNTYPED
from cardume.wire.messages import (
    Admitted,
    Command,
    Fault,
    Member,
    Past,
    Pong,
    Position,
    Presence,
    PresenceStats,
    Publication,
    Published,
    Put,
    Refreshed,
    Reply,
    Result,
    Said,
    Subscribed,
    SubscriptionRefreshed,
    Taken,
    Unsubscribed,
    rfc3339,
)

PING: Final = b"{}"
"""Asks whether the client is there; its answer looks the same."""

VERSION: Final = "cardume"

MAX_SHARED = 4096
"""Bytes of data up to which an encoded publication is kept for the next who missed it."""


class CentrifugeDialect:
    """`{"push": {"channel", "pub"}}`, and replies by the id of their command."""

    name = "centrifuge"
    reserved: frozenset[str] = frozenset()
    many = True
    lines = True
    pings = True
    moves = True

    def decode(self, text: str | bytes) -> Command:
        return decode(text)

    def publication(self, channel: str, publication: Publication) -> bytes:
        # `check_channel` leaves nothing to escape in a name.
        return b'{"push":{"channel":"%b","pub":%b}}' % (channel.encode(), _pub(publication))

    def event_type(self, publication: Publication) -> str:
        return publication.type or UNTYPED

    def membership(self, channel: str, member: Member, joined: bool) -> bytes | None:
        """Somebody came or went, for those who asked to hear it."""
        word = b"join" if joined else b"leave"
        info = json.encode(_client(member))
        return b'{"push":{"channel":"%b","%b":{"info":%b}}}' % (channel.encode(), word, info)

    def reply(self, reply: Reply, *, id: int | str | None, time: float) -> bytes:
        if isinstance(reply, Said):
            return _said(reply, time)
        if isinstance(reply, Fault) and id is None:  # with an id of 0 it would read as a ping
            data = {"code": reply.code.number, "message": reply.message}
            return _said(Said("error", json.encode(data)), time)
        body = _REPLIES[reply.__class__](reply)
        if isinstance(reply, Put | Taken):
            return body
        if isinstance(reply, Admitted):
            body = body[:-2] + b',"time":%d}}' % _milliseconds(time)
        return b'{"id":%d,%b' % (int(id or 0), body[1:])

    def goodbye(self, code: CloseCode, *, time: float) -> bytes | None:
        return None

    def disconnect(self, code: CloseCode) -> bytes:
        """What a transport without close codes says instead of one."""
        said = {"code": code.number, "reason": code.reason, "reconnect": code.reconnect}
        return json.encode({"push": {"disconnect": said}})


def data_of(type: str, data: bytes, time: float, source: str | None) -> bytes:
    """The `data` of what has a type."""
    tail = b"" if source is None else b',"source":%b' % json.encode(source)
    return b'{"type":%b,"data":%b,"timestamp":"%b"%b}' % (
        json.encode(type),
        data,
        rfc3339(time).encode(),
        tail,
    )


def _pub(publication: Publication) -> bytes:
    """A publication. An untyped one keeps its data as given, so its source is in `info`."""
    tags = publication.tags
    if publication.type is None:
        parts = [b'"data":%b' % publication.data]
        if publication.source is not None:
            parts.append(b'"info":{"user":%b,"client":""}' % json.encode(publication.source))
    else:
        data = data_of(publication.type, publication.data, publication.time, publication.source)
        parts = [b'"data":%b' % data]
        tags = {**(tags or {}), "type": publication.type}
    if publication.offset:
        parts.append(b'"offset":%d' % publication.offset)
    if tags:
        parts.append(b'"tags":%b' % json.encode(dict(tags)))
    if publication.key is not None:
        parts.append(b'"key":%b' % json.encode(publication.key))
    parts.append(b'"time":%d' % _milliseconds(publication.time))
    return b"{%b}" % b",".join(parts)


class _Same:
    """A key by identity: a publication with tags has no hash of its own."""

    __slots__ = ("publication",)

    def __init__(self, publication: Publication) -> None:
        self.publication = publication

    def __hash__(self) -> int:
        return id(self.publication)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.publication is other.publication


def _shared_pub(publication: Publication) -> bytes:
    """As `_pub`, once for all who come back at the same time and missed the same."""
    if len(publication.data) > MAX_SHARED:
        return _pub(publication)
    return _pub_of(_Same(publication))


@lru_cache(maxsize=512)
def _pub_of(key: _Same) -> bytes:
    return _pub(key.publication)


def _milliseconds(time: float) -> int:
    return round(time * 1000)


def _client(member: Member) -> dict[str, Any]:
    said = {"user": member.user, "client": member.connection_id}
    return said if member.info is None else {**said, "conn_info": member.info}


def _expiry(expires_in: int | None) -> bytes:
    if expires_in is None:
        return b""
    return b',"expires":true,"ttl":%d' % expires_in


def _place(position: Position) -> bytes:
    return b'"epoch":%b,"offset":%d' % (json.encode(position.epoch), position.offset)


def _object(*members: bytes) -> bytes:
    """An object of the members that say something; all but the first bring their own comma."""
    return b"{%b}" % b"".join(members).removeprefix(b",")


def _subscribed(reply: Subscribed) -> bytes:
    """`SubscribeResult`. A snapshot is no publication: an SDK takes its position from those."""
    members = [_expiry(reply.expires_in)]
    if reply.position:
        members.append(b',"recoverable":true,"positioned":true,' + _place(reply.position))
    if reply.recovered is not None:
        members.append(b',"was_recovering":true')
    if reply.recovered:
        members.append(b',"recovered":true')
    if reply.missed:
        members.append(b',"publications":[%b]' % b",".join(map(_shared_pub, reply.missed)))
    if reply.snapshot is not None:
        members.append(b',"data":{"snapshot":%b}' % reply.snapshot)
    return _object(*members)


def _admitted(reply: Admitted) -> bytes:
    subs = b",".join(
        b"%b:%b" % (json.encode(sub.channel), _subscribed(sub)) for sub in reply.subscriptions
    )
    session = b',"session":%b,"node":""' % json.encode(reply.session) if reply.session else b""
    members = b'"client":%b,"version":"%b"%b%b,"ping":%d,"pong":true%b' % (
        json.encode(reply.connection_id),
        VERSION.encode(),
        _expiry(reply.expires_in),
        b',"subs":{%b}' % subs if subs else b"",
        reply.ping,
        session,
    )
    return b'{"connect":{%b}}' % members


def _past(reply: Past) -> bytes:
    said = b",".join(map(_pub, reply.publications))
    return b'{"history":{"publications":[%b],%b}}' % (said, _place(reply.position))


def _refreshed(reply: Refreshed) -> bytes:
    # The JavaScript SDK takes its client id from here.
    client = b'"client":%b,"version":"%b"' % (json.encode(reply.connection_id), VERSION.encode())
    return b'{"refresh":{%b%b}}' % (client, _expiry(reply.expires_in))


def _presence(reply: Presence) -> bytes:
    members = {id: _client(member) for id, member in reply.members.items()}
    return json.encode({"presence": {"presence": members}})


def _stats(reply: PresenceStats) -> bytes:
    return b'{"presence_stats":{"num_clients":%d,"num_users":%d}}' % (reply.clients, reply.users)


def _said(reply: Said, time: float) -> bytes:
    data = data_of(reply.type, reply.data, time, reply.source)
    return b'{"push":{"message":{"data":%b}}}' % data


def _put(reply: Put) -> bytes:
    channel = reply.subscription.channel.encode()
    return b'{"push":{"channel":"%b","subscribe":%b}}' % (channel, _subscribed(reply.subscription))


def _taken(reply: Taken) -> bytes:
    said = {"code": reply.code, "reason": reply.reason}
    return json.encode({"push": {"channel": reply.channel, "unsubscribe": said}})


def _fault(reply: Fault) -> bytes:
    error = {"code": reply.code.number, "message": reply.message}
    if reply.code.temporary:
        error["temporary"] = True
    return json.encode({"error": error})


_REPLIES: dict[type, Callable[[Any], bytes]] = {
    Admitted: _admitted,
    Pong: lambda _reply: b'{"ping":{}}',
    Subscribed: lambda reply: b'{"subscribe":%b}' % _subscribed(reply),
    Unsubscribed: lambda _reply: b'{"unsubscribe":{}}',
    Published: lambda _reply: b'{"publish":{}}',
    Presence: _presence,
    PresenceStats: _stats,
    Past: _past,
    Result: lambda reply: b'{"rpc":{"data":%b}}' % reply.data,
    Refreshed: _refreshed,
    SubscriptionRefreshed: lambda reply: b'{"sub_refresh":%b}' % _object(_expiry(reply.expires_in)),
    Put: _put,
    Taken: _taken,
    Fault: _fault,
}
