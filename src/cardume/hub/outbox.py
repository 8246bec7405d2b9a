"""The bounded way out of a connection. Pure: it holds frames until the transport takes them."""

from __future__ import annotations

from collections import OrderedDict
from enum import StrEnum
from typing import NamedTuple

DEFAULT_LIMIT = 1 << 20
"""Bytes a connection may be behind, as Centrifugo's `client.queue_max_size`."""

PRESSURE = 1 / 16
"""Share of the limit from which keyed publications supersede each other. A reader that keeps up
never gets there and sees every one."""


class SlowPolicy(StrEnum):
    """What happens to a reader that does not keep up."""

    DISCONNECT = "disconnect"
    """Cut it with 3008; it comes back and resumes, so nothing is lost."""
    CONFLATE = "conflate"
    """Let a newer publication of the same key take the older one's place; cut it beyond that."""
    DROP_OLDEST = "drop_oldest"
    """Forget its oldest queued publications, counted. Only for channels without history."""


class Frame:
    """One encoded message, shared by every connection that gets it."""

    __slots__ = ("_text", "payload")

    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        self._text: str | None = None

    def __len__(self) -> int:
        return len(self.payload)

    @property
    def text(self) -> str:
        """The payload as ASGI wants it; decoded once for all."""
        if self._text is None:
            self._text = self.payload.decode()
        return self._text


class _Entry(NamedTuple):
    frame: Frame
    key: str | None
    droppable: bool


class Outbox:
    """A queue of frames, bounded in bytes; what the transport holds counts until it lets go."""

    __slots__ = (
        "_corked",
        "_entries",
        "_latest",
        "_next",
        "_queued",
        "_writing",
        "dropped",
        "limit",
        "superseded",
    )

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        self.limit = limit
        self.dropped = 0
        self.superseded = 0
        self._entries: OrderedDict[int, _Entry] = OrderedDict()
        self._latest: dict[str, int] = {}
        self._next = 0
        self._queued = 0
        self._writing = 0
        self._corked = False

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def size(self) -> int:
        """Bytes not yet handed over, the frame being written included."""
        return self._queued + self._writing

    def offer(
        self, frame: Frame, key: str | None = None, policy: SlowPolicy = SlowPolicy.DISCONNECT
    ) -> bool:
        """Queue a frame. False: it does not fit, and the reader has to be cut."""
        size = len(frame.payload)
        droppable = policy is SlowPolicy.DROP_OLDEST
        if policy is not SlowPolicy.CONFLATE:
            key = None
        elif key is not None and self.size > self.limit * PRESSURE:
            self._supersede(key)
        if self.size + size > self.limit:
            if droppable:
                self._drop_oldest(size)
            if self.size + size > self.limit:
                return False
        self._entries[self._next] = _Entry(frame, key, droppable)
        self._queued += size
        if key is not None:
            self._latest[key] = self._next
        self._next += 1
        return True

    def push(self, frame: Frame) -> None:
        """Queue the last frame, whatever the bound: it is small, and nothing follows it."""
        self._entries[self._next] = _Entry(frame, None, False)
        self._queued += len(frame.payload)
        self._next += 1

    def cork(self) -> None:
        """Let nothing out before the frame of `uncork`."""
        self._corked = True

    def uncork(self, first: Frame) -> bool:
        """Let `first` out, and then what waited. False: it does not fit, the reader is cut."""
        self._corked = False
        if self.size + len(first) > self.limit:
            return False
        self._entries[-1] = _Entry(first, None, False)
        self._entries.move_to_end(-1, last=False)
        self._queued += len(first)
        return True

    def take(self) -> Frame | None:
        """The next frame to write. Taking it says that the one before was handed over."""
        self._writing = 0
        if self._corked or not self._entries:
            return None
        number, entry = self._entries.popitem(last=False)
        if entry.key is not None and self._latest.get(entry.key) == number:
            del self._latest[entry.key]
        self._writing = len(entry.frame.payload)
        self._queued -= self._writing
        return entry.frame

    def clear(self) -> None:
        """Forget everything queued."""
        self._entries.clear()
        self._latest.clear()
        self._queued = 0

    def _supersede(self, key: str) -> None:
        number = self._latest.pop(key, None)
        if number is not None:
            self._queued -= len(self._entries.pop(number).frame)
            self.superseded += 1

    def _drop_oldest(self, room: int) -> None:
        excess = self.size + room - self.limit
        oldest: list[int] = []
        for number, entry in self._entries.items():
            if excess <= 0:
                break
            if entry.droppable:
                oldest.append(number)
                excess -= len(entry.frame)
        for number in oldest:
            self._queued -= len(self._entries.pop(number).frame)
        self.dropped += len(oldest)
