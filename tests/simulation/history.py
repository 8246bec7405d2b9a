"""What publishers and subscribers noted down, each for itself: all that the checker may look at.

`at` is a place in the one order of everything that was noted; `clock` is in seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from cardume.wire.messages import Position


class Rule(NamedTuple):
    """A channel as it was declared."""

    name: str
    history: int = 0
    ttl: float = 600.0
    octets: int = 1 << 22
    conflates: bool = False
    drops: bool = False
    keyed: bool = False


class Message(NamedTuple):
    """What was to be said. A message that removes its key has no body, so nobody can read its id.

    `size` is that of its data in bytes.
    """

    id: int
    channel: str
    type: str
    key: str | None
    tags: Mapping[str, str]
    size: int
    removes: bool = False


class Outcome(StrEnum):
    OK = "ok"
    REFUSED = "refused"
    """It was said that nothing is kept."""
    CONFLICT = "conflict"
    """The key was used with another body, so this one is not kept."""
    UNKNOWN = "unknown"


@dataclass
class Attempt:
    """One call of publish; a message that is repeated has several."""

    message: Message
    idempotency_key: str | None
    life: int
    """Which memory the engine had; another one knows neither positions nor keys."""
    began: int
    clock: float
    ended: int | None = None
    done: float = 0.0
    """Seconds at which it ended."""
    outcome: Outcome = Outcome.UNKNOWN
    position: Position | None = None


class Wants(NamedTuple):
    """A filter by types, or by one tag as ``(key, eq | neq, value)``."""

    types: frozenset[str] | None = None
    tag: tuple[str, str, str] | None = None

    def passes(self, message: Message) -> bool:
        if self.types is not None and message.type not in self.types:
            return False
        if self.tag is None:
            return True
        key, comparison, value = self.tag
        return (message.tags.get(key) == value) == (comparison == "eq")


class Told(NamedTuple):
    """Where a session begins: before the first publication that follows."""

    at: int
    clock: float
    position: Position
    recovered: bool
    keys: Mapping[str, int] | None = None
    """The snapshot of a keyed channel: the message of each key."""


class Saw(NamedTuple):
    """A publication. `id` is 0 where it has no body; `place` is the channel that its body names."""

    at: int
    offset: int
    id: int
    place: str


class Narrowed(NamedTuple):
    """From here on another filter holds."""

    at: int
    wants: Wants


class Cursor(NamedTuple):
    """Everything up to here was sent, filtered out or superseded."""

    at: int
    offset: int


class Ended(NamedTuple):
    """0: nobody said why."""

    at: int
    code: int


Event = Told | Saw | Narrowed | Cursor | Ended


@dataclass
class Session:
    """One stay of one client on one channel."""

    client: str
    channel: str
    since: Position | None
    wants: Wants
    events: list[Event] = field(default_factory=list)
    live: bool = False
    """Whether it was there still when all faults were over and time had passed."""

    @property
    def told(self) -> Told | None:
        return next((event for event in self.events if isinstance(event, Told)), None)

    @property
    def position(self) -> Position | None:
        """What its client would resume from."""
        told = self.told
        if told is None or not told.position:
            return None
        passed = [e.offset for e in self.events if isinstance(e, Saw | Cursor)]
        return Position(told.position.epoch, passed[-1] if passed else told.position.offset)


class Page(NamedTuple):
    """A page of history that somebody read: `items` are offsets and ids."""

    channel: str
    since: Position | None
    limit: int
    reverse: bool
    top: Position
    items: tuple[tuple[int, int], ...]


@dataclass
class History:
    """Everything of one run."""

    rules: dict[str, Rule]
    replay_limit: int
    replay_octets: int
    """Half an outbox."""
    attempts: list[Attempt] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    pages: list[Page] = field(default_factory=list)
    removals: list[tuple[str, Position]] = field(default_factory=list)
    """Of a whole history, by channel, and the top that it had."""
    tops: dict[str, Position] = field(default_factory=dict)
    """Of every channel with history, when all was over."""
    superseded: int = 0
    """Frames that a slow reader did not get, and need not."""
    faults: list[str] = field(default_factory=list)
    """What no client sees and nobody wants: errors in the log, what is left behind at the end."""
