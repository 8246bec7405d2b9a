"""Dialect `plain`: one channel a connection, one JSON object a frame (contracts/plain.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cardume.errors import Invalid
from cardume.wire import codes, json
from cardume.wire.codes import CloseCode
from cardume.wire.dialects.parts import UNTYPED, data_of, event_types, open_message
from cardume.wire.messages import (
    RESERVED_TYPES,
    Call,
    Command,
    Connected,
    Deselect,
    Deselected,
    Fault,
    Malformed,
    Member,
    Ping,
    Pong,
    Publication,
    Refresh,
    Refreshed,
    Reply,
    Result,
    Said,
    Select,
    Selected,
    Snapshot,
    rfc3339,
)


class PlainDialect:
    """`{"type", "data", "timestamp"}`, and `channel` and `offset` on publications."""

    name = "plain"
    reserved = RESERVED_TYPES
    many = False
    lines = False
    pings = False
    moves = False

    def decode(self, text: str | bytes) -> Command:
        opened = open_message(text)
        return opened if isinstance(opened, Malformed) else self._command(*opened)

    def publication(self, channel: str, publication: Publication) -> bytes:
        head = b'{"type":%b,"data":%b,"timestamp":"%b","channel":"%b"' % (
            json.encode(publication.type or UNTYPED),
            publication.data,
            rfc3339(publication.time).encode(),
            channel.encode(),  # `check_channel` leaves nothing to escape
        )
        if publication.offset:
            return b'%b,"offset":%d}' % (head, publication.offset)
        return head + b"}"

    def event_type(self, publication: Publication) -> str:
        return publication.type or UNTYPED

    def membership(self, channel: str, member: Member, joined: bool) -> bytes | None:
        return None

    def reply(self, reply: Reply, *, id: int | str | None, time: float) -> bytes:
        type, data = _REPLIES[reply.__class__](reply)
        tail = b',"timestamp":"%b"' % rfc3339(time).encode()
        if isinstance(reply, Snapshot) and reply.position:
            tail += b',"offset":%d' % reply.position.offset
        if id is not None:
            tail += b',"id":%b' % json.encode(id)
        return b'{"type":"%b","data":%b%b}' % (type, data, tail)

    def goodbye(self, code: CloseCode, *, time: float) -> bytes | None:
        return None

    def _command(self, message: Mapping[str, Any], id: int | str | None) -> Command:
        type = message.get("type")
        decoder = _COMMANDS.get(type) if isinstance(type, str) else None
        if decoder is None:
            known = ", ".join(_COMMANDS)
            return Malformed(id=id, code=codes.UNKNOWN_TYPE, message=f"type is one of: {known}")
        try:
            return decoder(data_of(message), id)
        except Invalid as error:
            return Malformed(id=id, code=codes.BAD_REQUEST, message=str(error))


def _ping(_data: dict[str, Any], id: int | str | None) -> Command:
    return Ping(id=id)


def _select(data: dict[str, Any], id: int | str | None) -> Command:
    return Select(id=id, types=event_types(data.get("types"), "types"))


def _deselect(data: dict[str, Any], id: int | str | None) -> Command:
    types = data.get("types")
    return Deselect(id=id, types=None if types is None else event_types(types, "types"))


def _action(data: dict[str, Any], id: int | str | None) -> Command:
    name = data.get("name")
    if not isinstance(name, str):
        raise Invalid("an action has a name")
    return Call(id=id, name=name, body={k: v for k, v in data.items() if k != "name"})


def _refresh(data: dict[str, Any], id: int | str | None) -> Command:
    token = data.get("token")
    if not isinstance(token, str):
        raise Invalid("refresh needs a token")
    return Refresh(id=id, token=token)


_COMMANDS: dict[str, Callable[[dict[str, Any], int | str | None], Command]] = {
    "ping": _ping,
    "subscribe": _select,
    "unsubscribe": _deselect,
    "action": _action,
    "refresh": _refresh,
}


def _connected(reply: Connected) -> tuple[bytes, bytes]:
    data: dict[str, Any] = {
        "connection_id": reply.connection_id,
        "channel": reply.channel,
        "recovered": reply.recovered,
        "expires_in": reply.expires_in,
    }
    if reply.position:
        data |= {"epoch": reply.position.epoch, "offset": reply.position.offset}
    return b"connected", json.encode(data)


def _pong(reply: Pong) -> tuple[bytes, bytes]:
    return b"pong", json.encode({"offset": reply.position.offset} if reply.position else {})


def _said(reply: Said) -> tuple[bytes, bytes]:
    return json.encode(reply.type)[1:-1], reply.data


def _fault(reply: Fault) -> tuple[bytes, bytes]:
    data = {**reply.extra, "code": reply.code.name, "message": reply.message}
    return b"error", json.encode(data)


_REPLIES: dict[type, Callable[[Any], tuple[bytes, bytes]]] = {
    Connected: _connected,
    Snapshot: lambda reply: (b"snapshot", reply.data),
    Pong: _pong,
    Selected: lambda reply: (b"subscribed", json.encode({"types": reply.types})),
    Deselected: lambda reply: (b"unsubscribed", json.encode({"types": reply.types})),
    Result: lambda reply: (b"result", reply.data),
    Refreshed: lambda reply: (b"refreshed", json.encode({"expires_in": reply.expires_in})),
    Said: _said,
    Fault: _fault,
}
