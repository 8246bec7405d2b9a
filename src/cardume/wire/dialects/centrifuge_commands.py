"""What a client of the `centrifuge` dialect says: one JSON command (client.proto's `Command`).

Two kinds of fault. Without an `id` nothing can be answered, and the peer speaks another protocol:
a `Malformed` without an id, which ends the connection. With one, the command alone failed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cardume.errors import Invalid
from cardume.wire import codes, json
from cardume.wire.messages import (
    AskHistory,
    AskPresence,
    AskPresenceStats,
    Call,
    Command,
    Connect,
    Malformed,
    Ping,
    Position,
    Publish,
    Refresh,
    Send,
    Subscribe,
    SubscriptionRefresh,
    Unsubscribe,
)

MAX_CHANNEL = 255
MAX_EPOCH = 128
MAX_ID = (1 << 32) - 1
"""`Command.id` is a uint32."""
MAX_RECOVERED = 512
"""Server-side subscriptions that one `connect` may ask to resume."""

REJECT_UNRECOVERED = 2
"""Bit of `SubscribeRequest.flag`: rather error 112 than a subscription that starts over. The
other one, 1, offers numbers for channels' names; a server is free to go on with names."""

Request = Mapping[str, Any]


def decode(text: str | bytes) -> Command:
    """One command; an empty object answers our ping and is a `Ping` without an id."""
    try:
        message = json.parse(text)
    except Invalid as error:
        return Malformed(code=codes.BAD_REQUEST, message=str(error))
    if not isinstance(message, dict):
        return Malformed(code=codes.BAD_REQUEST, message="a command is a JSON object")
    id = message.get("id", 0)
    if type(id) is not int or not 0 <= id <= MAX_ID:
        return Malformed(code=codes.BAD_REQUEST, message="id is a number, at most 32 bits of it")
    name = next((name for name in _COMMANDS if message.get(name) is not None), None)
    if id == 0 and name != "send":
        if name is None:
            return Ping()
        return Malformed(code=codes.BAD_REQUEST, message=f"{name} needs an id above 0")
    if name is None:
        known = ", ".join(_COMMANDS)
        return Malformed(
            id=id, code=codes.METHOD_NOT_FOUND, message=f"a command holds one of: {known}"
        )
    return _read(name, message[name], id)


def _read(name: str, request: Any, id: int) -> Command:
    try:
        if not isinstance(request, dict):
            raise Invalid(f"{name} is an object")
        return _COMMANDS[name](request, id)
    except Invalid as error:
        return Malformed(id=id or None, code=codes.BAD_REQUEST, message=str(error))


def _connect(request: Request, id: int) -> Command:
    subs = request.get("subs") or {}
    if not isinstance(subs, dict) or len(subs) > MAX_RECOVERED:
        raise Invalid(f"subs has at most {MAX_RECOVERED} subscriptions by channel")
    since = {channel: _resume(sub) for channel, sub in subs.items() if isinstance(sub, dict)}
    return Connect(id=id, token=_text(request, "token") or None, since=since)


def _subscribe(request: Request, id: int) -> Command:
    if request.get("type"):
        raise Invalid("subscriptions here are of type 0, a stream")
    flag = request.get("flag", 0)
    return Subscribe(
        id=id,
        channel=_channel(request),
        token=_text(request, "token") or None,
        since=_resume(request),
        joins=request.get("join_leave") is True,
        strict=isinstance(flag, int) and bool(flag & REJECT_UNRECOVERED),
        filter=request.get("tf"),
    )


def _unsubscribe(request: Request, id: int) -> Command:
    return Unsubscribe(id=id, channel=_channel(request))


def _publish(request: Request, id: int) -> Command:
    if "data" not in request:
        raise Invalid("publish needs data")
    if request.get("type"):
        raise Invalid("publications here are of type 0")
    return Publish(id=id, channel=_channel(request), data=request["data"])


def _presence(request: Request, id: int) -> Command:
    return AskPresence(id=id, channel=_channel(request))


def _presence_stats(request: Request, id: int) -> Command:
    return AskPresenceStats(id=id, channel=_channel(request))


def _history(request: Request, id: int) -> Command:
    limit = request.get("limit", 0)
    if type(limit) is not int or not -(1 << 31) <= limit < 1 << 31:
        raise Invalid("limit is a whole number")
    since = request.get("since")
    if since is not None and not isinstance(since, dict):
        raise Invalid("since is an object of epoch and offset")
    return AskHistory(
        id=id,
        channel=_channel(request),
        since=None if since is None else _position(since),
        limit=limit,
        reverse=request.get("reverse") is True,
    )


def _ping(_request: Request, id: int) -> Command:
    return Ping(id=id)


def _send(request: Request, _id: int) -> Command:
    return Send(data=request.get("data"))


def _rpc(request: Request, id: int) -> Command:
    data = request.get("data")
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise Invalid("data is an object")
    return Call(id=id, name=_text(request, "method"), body=data)


def _refresh(request: Request, id: int) -> Command:
    return Refresh(id=id, token=_token(request))


def _sub_refresh(request: Request, id: int) -> Command:
    return SubscriptionRefresh(id=id, channel=_channel(request), token=_token(request))


_COMMANDS: dict[str, Callable[[Request, int], Command]] = {
    "connect": _connect,
    "ping": _ping,
    "subscribe": _subscribe,
    "unsubscribe": _unsubscribe,
    "publish": _publish,
    "presence": _presence,
    "presence_stats": _presence_stats,
    "history": _history,
    "rpc": _rpc,
    "send": _send,
    "refresh": _refresh,
    "sub_refresh": _sub_refresh,
}


def _text(request: Request, member: str) -> str:
    value = request.get(member) or ""
    if not isinstance(value, str):
        raise Invalid(f"{member} is text")
    return value


def _token(request: Request) -> str:
    token = _text(request, "token")
    if not token:
        raise Invalid("a refresh needs a token")
    return token


def _channel(request: Request) -> str:
    channel = _text(request, "channel")
    if not 0 < len(channel) <= MAX_CHANNEL:
        raise Invalid(f"channel is a name of at most {MAX_CHANNEL} characters")
    return channel


def _resume(request: Request) -> Position | None:
    """A place that was never given is one that is not known."""
    if request.get("recover") is not True:
        return None
    position = _position(request)
    return position or Position("-", position.offset)


def _position(request: Request) -> Position:
    """What is empty is left out (protobuf's JSON)."""
    offset, epoch = request.get("offset") or 0, _text(request, "epoch")
    if type(offset) is not int or not 0 <= offset < 1 << 53 or len(epoch) > MAX_EPOCH:
        raise Invalid("a position is the epoch and the offset of a publication you saw")
    return Position(epoch, offset)
