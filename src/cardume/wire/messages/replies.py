"""What the hub answers and says to one connection; its dialect encodes it. Codec-neutral."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from cardume.wire.codes import ErrorCode
from cardume.wire.messages.values import Member, Position, Publication


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
