"""What clients ask for, decoded by their dialect. Codec-neutral."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from cardume.wire.codes import ErrorCode
from cardume.wire.messages.values import Position


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
