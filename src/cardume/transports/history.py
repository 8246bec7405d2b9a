"""`GET /api/v1/channels/{channel}/history`: what was said, for those who may be on the channel."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query
from starlette.requests import HTTPConnection
from starlette.responses import Response
from typing_extensions import TypedDict

from cardume.auth.identity import Identity
from cardume.errors import Refused
from cardume.hub.access import access
from cardume.hub.hub import Hub
from cardume.hub.publishing import History
from cardume.wire import codes, json
from cardume.wire.messages import Position, Publication, rfc3339

MAX_PAGE = 300
"""Publications in one answer; a hub may have a lower limit."""

Since = Annotated[
    str | None, Query(max_length=64, description="EPOCH:OFFSET of the last one you have")
]
Count = Annotated[int, Query(ge=0, le=MAX_PAGE, description="how many at most; 0: the top alone")]
Reverse = Annotated[bool, Query(description="the newest first, and before `since`")]


class Said(TypedDict):
    """One publication."""

    offset: int
    type: str | None
    data: Any
    timestamp: str
    source: str | None
    key: str | None
    tags: dict[str, str] | None


class HistoryPage(TypedDict):
    """A part of what is kept, and the channel's top: where it does not get there, ask again."""

    channel: str
    epoch: str
    offset: int
    publications: list[Said]


async def read_history(
    hub: Hub,
    identity: Identity,
    connection: HTTPConnection,
    channel: str,
    since: str | None,
    limit: int,
    reverse: bool,
) -> Response:
    """The page that was asked for.

    Raises:
        Invalid: no position.
        Refused: not this identity, unknown channel, no history there; or 112, the place asked
            for is not known any more, with the current `epoch` and `offset`.
    """
    await access(hub, identity, channel, connection.scope)
    if hub.options_of(channel).retention is None:
        raise Refused(codes.NOT_FOUND, "no history is kept on this channel")
    position = None if since is None else Position.parse(since)
    past = await hub.history(channel, position, limit, reverse)
    return Response(_page(channel, past), media_type="application/json")


def _page(channel: str, past: History) -> bytes:
    return b'{"channel":"%b","epoch":"%b","offset":%d,"publications":[%b]}' % (
        channel.encode(),  # `check_channel` leaves nothing to escape
        past.position.epoch.encode(),
        past.position.offset,
        b",".join(map(_said, past.publications)),
    )


def _said(publication: Publication) -> bytes:
    return b'{"offset":%d,"type":%b,"data":%b,"timestamp":"%b","source":%b,"key":%b,"tags":%b}' % (
        publication.offset,
        json.encode(publication.type),
        publication.data,
        rfc3339(publication.time).encode(),
        json.encode(publication.source),
        json.encode(publication.key),
        json.encode(publication.tags),
    )
