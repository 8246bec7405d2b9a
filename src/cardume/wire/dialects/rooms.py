"""Dialect `rooms`: one connection in many rooms, replies with `success` (contracts/rooms.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cardume.errors import Invalid
from cardume.wire import codes, json
from cardume.wire.codes import CloseCode
from cardume.wire.dialects.parts import UNTYPED, Id, data_of, event_types, open_message
from cardume.wire.events import EVERYONE, HUB_SOURCE, source_of
from cardume.wire.messages import (
    Command,
    Deselect,
    Fault,
    Filtered,
    Heartbeat,
    Info,
    Join,
    Joined,
    Known,
    Leave,
    Left,
    Malformed,
    Member,
    Ping,
    Pong,
    Position,
    Publication,
    Reply,
    Result,
    Said,
    Select,
    Welcome,
    rfc3339,
)

REPLY = "reply"
"""The `event_type` of every reply. None of the events is called so, and no filter hides it."""

MAX_NAME = 128
"""Characters of a room's or an agent's name; the epoch of a position is a text as short."""


class RoomsDialect:
    """`{"event_type", "timestamp", "data", "source", "room", "offset"}`, and replies."""

    name = "rooms"
    reserved = frozenset({REPLY})
    many = True
    lines = False
    pings = False
    moves = False

    def decode(self, text: str | bytes) -> Command:
        opened = open_message(text)
        return opened if isinstance(opened, Malformed) else self._command(*opened)

    def publication(self, channel: str, publication: Publication) -> bytes:
        source = publication.source or source_of(channel)
        room = b"null" if channel == EVERYONE else b'"%b"' % channel.encode()
        return b'{"event_type":%b,"timestamp":"%b","data":%b,"source":%b,"room":%b,"offset":%b}' % (
            json.encode(publication.type or UNTYPED),
            rfc3339(publication.time).encode(),
            publication.data,
            json.encode(source),
            room,
            b"%d" % publication.offset if publication.offset else b"null",
        )

    def event_type(self, publication: Publication) -> str:
        return publication.type or UNTYPED

    def membership(self, channel: str, member: Member, joined: bool) -> bytes | None:
        return None

    def reply(self, reply: Reply, *, id: Id, time: float) -> bytes:
        if isinstance(reply, Welcome):
            data = json.encode(reply)
            return _event(b'"connected"', data, None, time)
        if isinstance(reply, Said):
            return _event(json.encode(reply.type), reply.data, reply.source, time)
        success = b"false" if isinstance(reply, Fault) else b"true"
        message, data = _REPLIES[reply.__class__](reply, time)
        return (
            b'{"success":%b,"message":%b,"data":%b,"event_type":"reply","timestamp":"%b"%b}'
        ) % (
            success,
            json.encode(message),
            data,
            rfc3339(time).encode(),
            b"" if id is None else b',"id":%b' % json.encode(id),
        )

    def goodbye(self, code: CloseCode, *, time: float) -> bytes | None:
        data = json.encode({"code": code.number, "reason": code.reason})
        return _event(b'"disconnected"', data, None, time)

    def _command(self, message: Mapping[str, Any], id: Id) -> Command:
        action = message.get("action")
        decoder = _COMMANDS.get(action) if isinstance(action, str) else None
        if decoder is None:
            known = ", ".join(_COMMANDS)
            return Malformed(
                id=id, code=codes.METHOD_NOT_FOUND, message=f"action is one of: {known}"
            )
        try:
            return decoder(message, data_of(message), id)
        except Invalid as error:
            return Malformed(id=id, code=codes.BAD_REQUEST, message=str(error))


def _event(type: bytes, data: bytes, source: str | None, time: float) -> bytes:
    """A frame for one connection, in the shape of an event without a room."""
    return b'{"event_type":%b,"timestamp":"%b","data":%b,"source":%b,"room":null,"offset":null}' % (
        type,
        rfc3339(time).encode(),
        data,
        json.encode(source or HUB_SOURCE),
    )


def _ping(_message: Mapping[str, Any], _data: dict[str, Any], id: Id) -> Command:
    return Ping(id=id)


def _join(message: Mapping[str, Any], data: dict[str, Any], id: Id) -> Command:
    return Join(id=id, room=_room(message), since=_since(data))


def _leave(message: Mapping[str, Any], _data: dict[str, Any], id: Id) -> Command:
    return Leave(id=id, room=_room(message))


def _select(_message: Mapping[str, Any], data: dict[str, Any], id: Id) -> Command:
    return Select(id=id, types=event_types(data.get("event_types"), "data.event_types"))


def _deselect(_message: Mapping[str, Any], data: dict[str, Any], id: Id) -> Command:
    types = event_types(data.get("event_types"), "data.event_types")
    return Deselect(id=id, types=types or None)


def _info(_message: Mapping[str, Any], _data: dict[str, Any], id: Id) -> Command:
    return Info(id=id)


def _heartbeat(_message: Mapping[str, Any], data: dict[str, Any], id: Id) -> Command:
    return Heartbeat(id=id, agent_id=_name(data.get("agent_id"), "data.agent_id"))


_COMMANDS: dict[str, Callable[[Mapping[str, Any], dict[str, Any], Id], Command]] = {
    "ping": _ping,
    "subscribe": _select,
    "unsubscribe": _deselect,
    "join": _join,
    "leave": _leave,
    "info": _info,
    "heartbeat": _heartbeat,
}


def _room(message: Mapping[str, Any]) -> str:
    return _name(message.get("room"), "room")


def _name(value: Any, member: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_NAME:
        raise Invalid(f"{member} is a name of at most {MAX_NAME} characters")
    return value


def _since(data: Mapping[str, Any]) -> Position | None:
    """The place to resume from; one that was never given is one that is not known."""
    epoch, offset = data.get("epoch"), data.get("offset")
    if epoch is None and offset is None:
        return None
    if (
        not isinstance(epoch, str)
        or not 0 < len(epoch) <= MAX_NAME
        or isinstance(offset, bool)
        or not isinstance(offset, int)
        or not 0 <= offset < 1 << 53
    ):
        raise Invalid("to resume, data holds the epoch and the offset of the last event you saw")
    return Position(epoch, offset)


def _place(position: Position) -> dict[str, Any]:
    """Without history there is neither."""
    return {
        "epoch": position.epoch or None,
        "offset": position.offset if position else None,
    }


Answer = tuple[str, bytes]
"""`message` and `data` of a reply."""


def _pong(_reply: Pong, time: float) -> Answer:
    return "pong", json.encode({"timestamp": rfc3339(time)})


def _joined(reply: Joined, _time: float) -> Answer:
    data = {"room": reply.room, "members": reply.members, **_place(reply.position)}
    if reply.recovered is not None:
        data["recovered"] = reply.recovered
    return "joined", json.encode(data)


def _left(reply: Left, _time: float) -> Answer:
    data = {"room": reply.room, "members": reply.members, **_place(reply.position)}
    return "left", json.encode(data)


def _filtered(reply: Filtered, _time: float) -> Answer:
    message = "subscribed" if reply.added else "unsubscribed"
    return message, json.encode({"event_types": reply.types, "rooms": reply.rooms})


def _known(reply: Known, _time: float) -> Answer:
    data = {
        "connection_id": reply.connection_id,
        "client_id": reply.client_id,
        "rooms": reply.rooms,
        "event_types": reply.types,
        "metadata": reply.metadata,
        "connected_at": rfc3339(reply.connected_at),
        "messages_sent": reply.messages_sent,
        "messages_received": reply.messages_received,
    }
    return "info", json.encode(data)


def _fault(reply: Fault, _time: float) -> Answer:
    return reply.message, json.encode({**reply.extra, "code": reply.code.name})


_REPLIES: dict[type, Callable[[Any, float], Answer]] = {
    Pong: _pong,
    Joined: _joined,
    Left: _left,
    Filtered: _filtered,
    Known: _known,
    Result: lambda reply, _time: ("ok", reply.data),
    Fault: _fault,
}
