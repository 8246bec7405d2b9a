"""The values that travel between the floors of the house. Immutable, codec-neutral."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from cardume.errors import Invalid

_POSITION = re.compile(r"([A-Za-z0-9]{1,16}):([0-9]{1,15})", re.ASCII)
_CHANNEL = re.compile(r"[A-Za-z0-9_.\-]{1,64}(:[A-Za-z0-9_.@=,~\-]{1,190})?", re.ASCII)


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


class Command(msgspec.Struct, frozen=True, gc=False):
    """What a client asked for, decoded by its dialect."""

    type: str
    data: dict[str, Any]
    id: int | str | None = None


def check_channel(name: str) -> str:
    """The name itself, if it is one: ``name`` or ``namespace:name``, ASCII, without wildcards.

    Raises:
        Invalid: it is not.
    """
    if _CHANNEL.fullmatch(name) is None:
        raise Invalid("a channel is `name` or `namespace:name` of A-Z a-z 0-9 _ . - (and @ = , ~)")
    return name


def namespace_of(channel: str) -> str:
    """The part before the colon; a name without a colon is its own namespace."""
    return channel.partition(":")[0]


def rfc3339(seconds: float) -> str:
    """RFC 3339 in UTC with milliseconds: ``2026-11-20T12:00:00.123Z``."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
