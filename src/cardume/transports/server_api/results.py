"""What each call of the server API answers, in Centrifugo's names."""

from __future__ import annotations

from typing import Any, Generic, NotRequired, TypeVar

from typing_extensions import TypedDict

R = TypeVar("R")


class Error(TypedDict):
    """Why a call was declined; the codes are those of the connections."""

    code: int
    message: str


class Answer(TypedDict, Generic[R]):
    """One of the two."""

    result: NotRequired[R]
    error: NotRequired[Error]


class Nothing(TypedDict):
    """It was done."""


class PublishResult(TypedDict):
    """The place of a publication; empty on a channel without history."""

    offset: int
    epoch: str


class BroadcastResult(TypedDict):
    """An answer for each channel, in the order asked for."""

    responses: list[Answer[PublishResult]]


class ClientInfo(TypedDict):
    """One connection."""

    user: str
    client: str
    conn_info: NotRequired[Any]


class PresenceResult(TypedDict):
    """Who is on a channel, by connection."""

    presence: dict[str, ClientInfo]


class PresenceStatsResult(TypedDict):
    num_clients: int
    num_users: int


class Published(TypedDict):
    """A publication. `type`, `key` and `source` are ours; `time` is in milliseconds."""

    offset: int
    data: Any
    time: int
    tags: NotRequired[dict[str, str]]
    type: NotRequired[str]
    key: NotRequired[str]
    source: NotRequired[str]
    info: NotRequired[ClientInfo]


class HistoryResult(TypedDict):
    """A page, and the channel's top."""

    publications: list[Published]
    epoch: str
    offset: int


class ChannelInfo(TypedDict):
    num_clients: int


class ChannelsResult(TypedDict):
    """Channels with subscribers."""

    channels: dict[str, ChannelInfo]


class Node(TypedDict):
    """A process that serves; `uptime` in seconds."""

    uid: str
    name: str
    version: str
    num_clients: int
    num_users: int
    num_channels: int
    num_subs: int
    uptime: int


class InfoResult(TypedDict):
    nodes: list[Node]


class BatchResult(TypedDict):
    """For each command its result by the name of its method, or ``{"error": …}``."""

    replies: list[dict[str, Any]]
