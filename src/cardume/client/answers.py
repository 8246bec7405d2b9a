"""What the server API answers, read into the values and the exceptions of the hub itself."""

from __future__ import annotations

from typing import Any, Final, TypeAlias, TypeVar

import msgspec

from cardume.client.http import Response
from cardume.errors import (
    CardumeError,
    ConfigurationError,
    Invalid,
    Refused,
    Unavailable,
)
from cardume.hub.publishing import History
from cardume.wire import codes
from cardume.wire.codes import ErrorCode
from cardume.wire.messages import Member, Position, Publication

T = TypeVar("T")

Outcome: TypeAlias = Position | Refused | Invalid | Unavailable
"""Of one of several publications: its position, or why it has none."""

UNAVAILABLE = frozenset((500, 502, 503, 504))
"""Statuses after which the same call may succeed; whether it already has is open."""


_NONE: Final = msgspec.Raw()


class Fault(msgspec.Struct):
    code: int
    message: str = ""


class Answer(msgspec.Struct):
    """Of a call, and of each part of a broadcast."""

    result: msgspec.Raw = _NONE
    error: Fault | None = None


class Replies(msgspec.Struct):
    """Of a batch."""

    replies: list[dict[str, msgspec.Raw]] | None = None
    error: Fault | None = None


class _Problem(msgspec.Struct):
    detail: str = ""


class Responses(msgspec.Struct):
    responses: list[Answer]


class _Client(msgspec.Struct):
    user: str
    client: str
    conn_info: Any = None


class _Presence(msgspec.Struct):
    presence: dict[str, _Client]


class Stats(msgspec.Struct):
    num_clients: int
    num_users: int


class _Said(msgspec.Struct):
    offset: int
    data: msgspec.Raw
    time: int
    tags: dict[str, str] | None = None
    type: str | None = None
    key: str | None = None
    source: str | None = None


class _Page(msgspec.Struct):
    publications: list[_Said]
    epoch: str
    offset: int


class _Channel(msgspec.Struct):
    num_clients: int


class _Channels(msgspec.Struct):
    channels: dict[str, _Channel]


class Info(msgspec.Struct):
    nodes: list[dict[str, Any]]


def read(body: bytes | msgspec.Raw, shape: type[T]) -> T:
    """What the server said.

    Raises:
        ConfigurationError: somebody else's server.
    """
    try:
        return msgspec.json.decode(body, type=shape)
    except (msgspec.MsgspecError, UnicodeError):
        raise ConfigurationError("what answers at this address is no server API of ours") from None


def body_of(response: Response) -> bytes:
    """The body of an answered call.

    Raises:
        CardumeError: it was not answered, as its status says.
    """
    if response.status == 200:
        return response.body
    raise _failure(response)


def _failure(response: Response) -> CardumeError:
    status, detail = response.status, detail_of(response.body)
    if status in UNAVAILABLE:
        return Unavailable(f"the server answered {status}: {detail or 'try again'}")
    match status:
        case 400:
            return Invalid(detail or "the server could not read it")
        case 401:
            return Refused(codes.UNAUTHORIZED, "the server does not know this API key")
        case 409:
            return Refused(codes.CONFLICT, detail or None)
        case 413:
            return Refused(codes.LIMIT_EXCEEDED, detail or None)
        case 429:
            return Refused(codes.RATE_LIMITED, detail or None)
    return ConfigurationError(f"no server API of ours is at this address: it answered {status}")


def detail_of(body: bytes) -> str:
    """What a refusal says of itself (RFC 9457); empty where it says nothing of the kind."""
    try:
        return msgspec.json.decode(body, type=_Problem).detail
    except (msgspec.MsgspecError, UnicodeError):
        return ""


def error_of(fault: Fault) -> Refused | Invalid | Unavailable:
    """The exception that the server's own code raised."""
    if fault.code == codes.BAD_REQUEST.number:
        return Invalid(fault.message)
    if fault.code == codes.INTERNAL.number:
        return Unavailable(fault.message)
    known = codes.ERRORS.get(fault.code)
    return Refused(known or ErrorCode(fault.code, "unknown", fault.message, 500), fault.message)


def result_of(body: bytes) -> msgspec.Raw:
    """The result of a call.

    Raises:
        Refused, Invalid, Unavailable: it has none.
        ConfigurationError: somebody else's server.
    """
    answer = read(body, Answer)
    if answer.error is not None:
        raise error_of(answer.error)
    if not answer.result:
        raise ConfigurationError("what answers at this address is no server API of ours")
    return answer.result


def outcomes_of(result: msgspec.Raw) -> list[Outcome]:
    """Of a broadcast, in the order of its channels."""
    return [
        error_of(answer.error) if answer.error is not None else read(answer.result, Position)
        for answer in read(result, Responses).responses
    ]


def members_of(result: msgspec.Raw) -> dict[str, Member]:
    """Who is on a channel, by connection."""
    found = read(result, _Presence).presence
    return {id: Member(one.client, one.user, one.conn_info) for id, one in found.items()}


def history_of(result: msgspec.Raw) -> History:
    """A page of what was said."""
    page = read(result, _Page)
    said = tuple(
        Publication(
            data=bytes(one.data),
            time=one.time / 1000,
            type=one.type,
            source=one.source,
            key=one.key,
            tags=one.tags,
            offset=one.offset,
        )
        for one in page.publications
    )
    return History(Position(page.epoch, page.offset), said)


def channels_of(result: msgspec.Raw) -> dict[str, int]:
    """Channels with subscribers, and how many each has."""
    return {name: one.num_clients for name, one in read(result, _Channels).channels.items()}


def replies_of(body: bytes) -> list[Any]:
    """Of a batch: each command's result, or the exception that it raised."""
    said = read(body, Replies)
    if said.error is not None:
        raise error_of(said.error)
    if said.replies is None:
        raise ConfigurationError("what answers at this address is no server API of ours")
    return [
        error_of(read(reply["error"], Fault))
        if "error" in reply
        else next((read(result, object) for result in reply.values()), None)
        for reply in said.replies
    ]
