"""Calls about channels: what is said there, what was said, who is there."""

from __future__ import annotations

import fnmatch
import re
from typing import Any

from msgspec import Raw

from cardume.errors import Invalid, Refused
from cardume.hub.hub import Hub
from cardume.transports.server_api.faults import error_of
from cardume.transports.server_api.requests import (
    BroadcastRequest,
    ChannelRequest,
    ChannelsRequest,
    HistoryRequest,
    PublishRequest,
)
from cardume.transports.server_api.results import (
    Answer,
    BroadcastResult,
    ChannelsResult,
    ClientInfo,
    HistoryResult,
    Nothing,
    PresenceResult,
    PresenceStatsResult,
    Published,
    PublishResult,
)
from cardume.wire import codes
from cardume.wire.messages import Member, Publication


async def publish(hub: Hub, asked: PublishRequest) -> PublishResult:
    """Publish any JSON on any channel; the answer is its position."""
    return await _publish(hub, asked.channel, _data(hub, asked), asked)


async def broadcast(hub: Hub, asked: BroadcastRequest) -> BroadcastResult:
    """Publish the same on many channels; each has an answer of its own."""
    data = _data(hub, asked)
    responses: list[Answer[PublishResult]] = []
    for channel in asked.channels:
        try:
            responses.append({"result": await _publish(hub, channel, data, asked)})
        except Exception as error:
            responses.append({"error": error_of(error)})
    return {"responses": responses}


def _data(hub: Hub, asked: PublishRequest | BroadcastRequest) -> Raw:
    """Encoded once, however many channels get it."""
    data, limit = asked.encoded(), hub.options.max_message
    if len(data) > limit:
        raise Refused(codes.LIMIT_EXCEEDED, f"data has at most {limit} bytes")
    return Raw(data)


async def _publish(
    hub: Hub, channel: str, data: Raw, asked: PublishRequest | BroadcastRequest
) -> PublishResult:
    position = await hub.publish(
        channel,
        asked.type,
        data,
        key=asked.key,
        source=asked.source,
        tags=asked.tags,
        idempotency_key=asked.idempotency_key,
    )
    return {"offset": position.offset, "epoch": position.epoch}


async def presence(hub: Hub, asked: ChannelRequest) -> PresenceResult:
    """Who is on a channel that has presence."""
    members = hub.presence(asked.channel)
    return {"presence": {id: _client(member) for id, member in members.items()}}


async def presence_stats(hub: Hub, asked: ChannelRequest) -> PresenceStatsResult:
    """How many connections and users are on a channel that has presence."""
    clients, users = hub.presence_stats(asked.channel)
    return {"num_clients": clients, "num_users": users}


def _client(member: Member) -> ClientInfo:
    said: ClientInfo = {"user": member.user, "client": member.connection_id}
    if member.info is not None:
        said["conn_info"] = member.info
    return said


async def history(hub: Hub, asked: HistoryRequest) -> HistoryResult:
    """A page of what is kept of a channel."""
    limit = asked.limit if asked.limit >= 0 else hub.options.replay_limit
    since = None if asked.since is None else asked.since.position
    past = await hub.history(asked.channel, since, limit, asked.reverse)
    return {
        "publications": [_said(publication) for publication in past.publications],
        "epoch": past.position.epoch,
        "offset": past.position.offset,
    }


def _said(publication: Publication) -> Published:
    """As it was published: what comes out of here may be put in again."""
    said: dict[str, Any] = {
        "offset": publication.offset,
        "data": Raw(publication.data),
        "time": round(publication.time * 1000),
    }
    texts = (
        ("tags", publication.tags),
        ("type", publication.type),
        ("key", publication.key),
        ("source", publication.source),
    )
    said |= {name: text for name, text in texts if text is not None}
    if publication.source is not None and publication.type is None:
        said["info"] = {"user": publication.source, "client": ""}  # a client's own publish
    return said  # type: ignore[return-value]  # put together by name


async def history_remove(hub: Hub, asked: ChannelRequest) -> Nothing:
    """Forget what was said on a channel, and its keyed state; offsets go on counting."""
    if hub.options_of(asked.channel).retention is None:
        raise Refused(codes.NOT_AVAILABLE, f"no history is kept on {asked.channel!r}")
    await hub.remove_history(asked.channel)
    return {}


async def channels(hub: Hub, asked: ChannelsRequest) -> ChannelsResult:
    """The channels with subscribers on this node, and how many each has."""
    fits = _glob(asked.pattern)
    found = {name: count for name, count in hub.channels().items() if fits.match(name)}
    return {"channels": {name: {"num_clients": count} for name, count in found.items()}}


def _glob(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(fnmatch.translate(pattern or "*"))
    except re.error:
        raise Invalid("pattern is a glob of *, ? and [signs]") from None
