"""What the floors of the house hand each other: a place in a stream, a message, a member."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from cardume.errors import Invalid

_POSITION = re.compile(r"([A-Za-z0-9]{1,16}):([0-9]{1,15})", re.ASCII)


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


class Member(msgspec.Struct, frozen=True):
    """Somebody on a channel: one connection, so a user with two tabs is there twice."""

    connection_id: str
    """Where it came in first; coming back within the channel's grace keeps it."""
    user: str
    info: Any = None
    """What is known of it beside; None or anything with a JSON form."""
