"""The values that travel between the floors of the house. Immutable, codec-neutral."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec

from cardume.errors import Invalid
from cardume.wire import json
from cardume.wire.codes import ErrorCode

_POSITION = re.compile(r"([A-Za-z0-9]{1,16}):([0-9]{1,15})", re.ASCII)
_CHANNEL = re.compile(r"[A-Za-z0-9_.\-]{1,64}(:[A-Za-z0-9_.@=,~\-]{1,190})?", re.ASCII)

RESERVED_TYPES = frozenset(
    ("connected", "snapshot", "pong", "subscribed", "unsubscribed", "result", "refreshed", "error")
)
"""What the hub itself says; a publication of such a type would be taken for its word."""

MAX_TEXT = 255
"""Characters of a publication's type, key, source and tags, and of an idempotency key."""

MAX_TAGS = 32
"""Tags of one publication."""

ENVELOPE = 256
"""About what a dialect puts around a publication's data, texts and tags, in bytes."""


class Position(msgspec.Struct, frozen=True, gc=False):
    """A place in a channel's stream.

    Offsets count 1, 2, 3… inside an epoch. A new epoch means that the old numbers mean nothing:
    without it, a client that saw [1, 2, 3] before a restart would take the new 3 for the old one.
    The empty position (`Position()`) is that of a channel without history.
    """

    epoch: str = ""
    offset: int = 0

    def __str__(self) -> str:
        return f"{self.epoch}:{self.offset}"

    def __bool__(self) -> bool:
        return bool(self.epoch)

    @classmethod
    def parse(cls, text: str) -> Position:
        """Read ``EPOCH:OFFSET``.

        Raises:
            Invalid: it is no position.
        """
        match = _POSITION.fullmatch(text)
        if match is None:
            raise Invalid("a position looks like EPOCH:OFFSET")
        return cls(match[1], int(match[2]))


class Publication(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One immutable message on a channel."""

    data: bytes
    """Encoded JSON, shared as it is with every subscriber."""
    time: float
    """Wall-clock seconds since the Unix epoch."""
    type: str | None = None
    """The event's name; None where anything was published without one."""
    source: str | None = None
    key: str | None = None
    """What it is the latest state of; an older one of the same key may be superseded."""
    tags: Mapping[str, str] | None = None
    offset: int = 0
    """Its place in the epoch; 0 on channels without history."""


class Command(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What a client asked for, decoded by its dialect. Its `id` comes back on the reply."""

    id: int | str | None = None


class Ping(Command, frozen=True, gc=False, kw_only=True):
    """Are you there, and where am I?"""


class Select(Command, frozen=True, gc=False, kw_only=True):
    """Add event types to the filter."""

    types: tuple[str, ...]


class Deselect(Command, frozen=True, gc=False, kw_only=True):
    """Remove event types from the filter; None removes all of them."""

    types: tuple[str, ...] | None


class Call(Command, frozen=True, kw_only=True):
    """Run an action: the WebSocket twin of an HTTP call."""

    name: str
    body: dict[str, Any]


class Refresh(Command, frozen=True, gc=False, kw_only=True):
    """Go on with a newer token."""

    token: str


class Join(Command, frozen=True, gc=False, kw_only=True):
    """Come into a room, after `since` where the client was there before."""

    room: str
    since: Position | None = None


class Leave(Command, frozen=True, gc=False, kw_only=True):
    """Go out of a room."""

    room: str


class Info(Command, frozen=True, gc=False, kw_only=True):
    """What do you know of me?"""


class Heartbeat(Command, frozen=True, gc=False, kw_only=True):
    """An agent lives: renew its lease."""

    agent_id: str


class Connect(Command, frozen=True, kw_only=True):
    """The first message of a dialect whose handshake carries no token."""

    token: str | None = None
    since: Mapping[str, Position | None] = {}
    """Where it was on the channels that the server had put it on; None: it no longer knows."""


class Subscribe(Command, frozen=True, kw_only=True):
    """Come onto a channel, after `since` where the client was there before."""

    channel: str
    token: str | None = None
    since: Position | None = None
    joins: bool = False
    """Whether it wants to hear who comes and goes."""
    strict: bool = False
    """Whether it would rather be refused than start over."""
    filter: Any = None
    """A tags filter, as it came."""


class Unsubscribe(Command, frozen=True, gc=False, kw_only=True):
    """Go off a channel."""

    channel: str


class Publish(Command, frozen=True, kw_only=True):
    """Say something to everybody on a channel."""

    channel: str
    data: Any


class AskPresence(Command, frozen=True, gc=False, kw_only=True):
    """Who is on a channel?"""

    channel: str


class AskPresenceStats(Command, frozen=True, gc=False, kw_only=True):
    """How many are on a channel?"""

    channel: str


class AskHistory(Command, frozen=True, gc=False, kw_only=True):
    """What was said on a channel? A limit of 0 asks for the position alone, -1 for all."""

    channel: str
    since: Position | None = None
    limit: int = 0
    reverse: bool = False


class Send(Command, frozen=True, kw_only=True):
    """Tell the server something; there is no answer."""

    data: Any


class SubscriptionRefresh(Command, frozen=True, gc=False, kw_only=True):
    """Stay on a channel with a newer token."""

    channel: str
    token: str


class Malformed(Command, frozen=True, gc=False, kw_only=True):
    """What could not be understood: a value, because a peer's mistake is no exception of ours."""

    code: ErrorCode
    message: str


class Connected(msgspec.Struct, frozen=True, gc=False):
    """The first message on a connection that holds one channel."""

    connection_id: str
    channel: str
    position: Position
    """The place before the first publication that follows."""
    recovered: bool
    expires_in: int | None


class Snapshot(msgspec.Struct, frozen=True, gc=False):
    """The channel's state as of `position`."""

    data: bytes
    position: Position


class Pong(msgspec.Struct, frozen=True, gc=False):
    """The connection's cursor: everything up to it was sent, filtered out or superseded."""

    position: Position


class Selected(msgspec.Struct, frozen=True, gc=False):
    """The filter after `Select`."""

    types: tuple[str, ...]


class Deselected(msgspec.Struct, frozen=True, gc=False):
    """The filter after `Deselect`."""

    types: tuple[str, ...]


class Result(msgspec.Struct, frozen=True, gc=False):
    """What an action answered, encoded."""

    data: bytes


class Refreshed(msgspec.Struct, frozen=True, gc=False):
    """The new token was accepted."""

    expires_in: int | None
    connection_id: str = ""


class Welcome(msgspec.Struct, frozen=True, gc=False):
    """The first message on a connection that may hold many channels."""

    connection_id: str
    client_id: str
    expires_in: int | None


class Joined(msgspec.Struct, frozen=True, gc=False):
    """The place after `Join`; what was missed follows."""

    room: str
    members: int
    position: Position
    """The place before the first publication that follows."""
    recovered: bool | None = None
    """None where the client did not ask to resume."""


class Left(msgspec.Struct, frozen=True, gc=False):
    """The place up to which a room was heard."""

    room: str
    members: int
    position: Position


class Filtered(msgspec.Struct, frozen=True, gc=False):
    """The filter of a whole connection, and the rooms it applies to."""

    types: tuple[str, ...]
    rooms: tuple[str, ...]
    added: bool
    """Whether `Select` asked; otherwise `Deselect` did."""


class Known(msgspec.Struct, frozen=True):
    """What is known of a connection."""

    connection_id: str
    client_id: str
    rooms: tuple[str, ...]
    types: tuple[str, ...]
    metadata: Mapping[str, Any]
    connected_at: float
    messages_sent: int
    messages_received: int


class Said(msgspec.Struct, frozen=True, gc=False):
    """What the server says to one connection; on no channel, and no filter hides it."""

    type: str
    data: bytes
    source: str | None = None


class Member(msgspec.Struct, frozen=True):
    """Somebody on a channel: one connection, so a user with two tabs is there twice."""

    connection_id: str
    """Where it came in first; coming back within the channel's grace keeps it."""
    user: str
    info: Any = None
    """What is known of it beside; None or anything with a JSON form."""


class Subscribed(msgspec.Struct, frozen=True):
    """The place after `Subscribe`, and all that was missed."""

    channel: str
    position: Position
    """The place before the first of `missed`, or of what follows."""
    recovered: bool | None = None
    """None where the client did not ask to resume."""
    missed: tuple[Publication, ...] = ()
    snapshot: bytes | None = None
    expires_in: int | None = None


class Admitted(msgspec.Struct, frozen=True):
    """The first message on a connection whose token came in a message."""

    connection_id: str
    expires_in: int | None
    ping: int
    """Seconds between two questions of ours whether it is there; it has to answer each."""
    subscriptions: tuple[Subscribed, ...] = ()
    """The channels that the server put it on."""
    session: str = ""
    """What its messages name if they come on other requests than this one."""


class Unsubscribed(msgspec.Struct, frozen=True, gc=False):
    """It is off the channel."""


class Published(msgspec.Struct, frozen=True, gc=False):
    """What it said was accepted."""


class Presence(msgspec.Struct, frozen=True):
    """Who is on a channel, by connection id."""

    members: Mapping[str, Member]


class PresenceStats(msgspec.Struct, frozen=True, gc=False):
    """How many are on a channel."""

    clients: int
    users: int


class Past(msgspec.Struct, frozen=True, gc=False):
    """What was said on a channel, and its top."""

    position: Position
    publications: tuple[Publication, ...]


class SubscriptionRefreshed(msgspec.Struct, frozen=True, gc=False):
    """The new token of a subscription was accepted."""

    expires_in: int | None


class Put(msgspec.Struct, frozen=True):
    """The server put the client on a channel."""

    subscription: Subscribed


class Taken(msgspec.Struct, frozen=True, gc=False):
    """The server took the client off a channel: 2000-2499 for good, 2500-2999 to come again."""

    channel: str
    code: int
    reason: str


class Fault(msgspec.Struct, frozen=True):
    """One request failed; the connection lives on."""

    code: ErrorCode
    message: str
    extra: Mapping[str, Any] = {}


Reply = (
    Connected
    | Snapshot
    | Pong
    | Selected
    | Deselected
    | Result
    | Refreshed
    | Welcome
    | Joined
    | Left
    | Filtered
    | Known
    | Said
    | Admitted
    | Subscribed
    | Unsubscribed
    | Published
    | Presence
    | PresenceStats
    | Past
    | SubscriptionRefreshed
    | Put
    | Taken
    | Fault
)
"""A dialect knows those that its commands lead to, `Said` and `Fault`."""


def check_channel(name: str) -> str:
    """The name itself, if it is one: ``name`` or ``namespace:name``, ASCII, without wildcards.

    Raises:
        Invalid: it is not.
    """
    if _CHANNEL.fullmatch(name) is None:
        raise Invalid("a channel is `name` or `namespace:name` of A-Z a-z 0-9 _ . - (and @ = , ~)")
    return name


def check_texts(**texts: str | None) -> None:
    """Let through texts that have a form in UTF-8 and at most `MAX_TEXT` characters, and None.

    Raises:
        Invalid: one is something else; the message says which.
    """
    for name, text in texts.items():
        if text is not None and not _is_text(text):
            raise Invalid(f"{name} is text of at most {MAX_TEXT} characters")


def check_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """A copy of `tags`, in the order of their names.

    Raises:
        Invalid: one of them is no text, or there are more than `MAX_TAGS`.
    """
    if len(tags) > MAX_TAGS:
        raise Invalid(f"a publication has at most {MAX_TAGS} tags")
    if not all(_is_text(name) and _is_text(value) for name, value in tags.items()):
        raise Invalid(f"tags are texts of at most {MAX_TEXT} characters by name")
    return dict(sorted(tags.items()))


def weight(publication: Publication) -> int:
    """What a publication takes on its way, in bytes, whatever the dialect; by about `ENVELOPE`.

    Texts count as they are written in JSON: a control character takes six bytes there.
    """
    texts = (publication.type, publication.source, publication.key, publication.tags)
    return len(publication.data) + len(json.encode(texts)) + ENVELOPE


def _is_text(value: object) -> bool:
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        return False
    # A lone surrogate: it would blow up in every encoder behind us.
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)


def namespace_of(channel: str) -> str:
    """The part before the colon; a name without a colon is its own namespace."""
    return channel.partition(":")[0]


def rfc3339(seconds: float) -> str:
    """RFC 3339 in UTC with milliseconds: ``2026-11-20T12:00:00.123Z``."""
    second, fraction = divmod(round(seconds * 1e6), 1_000_000)
    return f"{_whole_second(second)}.{fraction // 1000:03d}Z"


@lru_cache(maxsize=64)
def _whole_second(second: int) -> str:
    # Every publication is dated, and most of them now: 1.2 µs become 0.5.
    return datetime.fromtimestamp(second, UTC).isoformat()[:19]
