"""The bounded way out of a connection. Pure: it holds frames until the transport takes them."""

from __future__ import annotations

from collections import OrderedDict
from enum import StrEnum
from typing import NamedTuple

from cardume.wire import framing

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

    __slots__ = ("_compressed", "_text", "_wire", "payload")

    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        self._text: str | None = None
        self._wire: bytes | None = None
        self._compressed: bytes | None = None

    def __len__(self) -> int:
        return len(self.payload)

    @property
    def text(self) -> str:
        """The payload as ASGI wants it; decoded once for all."""
        if self._text is None:
            self._text = self.payload.decode()
        return self._text

    @property
    def wire(self) -> bytes:
        """The payload as a socket wants it; framed once for all."""
        if self._wire is None:
            self._wire = framing.frame(self.payload)
        return self._wire

    @property
    def compressed(self) -> bytes:
        """As `wire`, for readers that agreed on compression; compressed once for all."""
        if self._compressed is None:
            self._compressed = framing.compressed_frame(self.payload)
        return self._compressed


class _Entry(NamedTuple):
    frame: Frame
    key: str | None
    droppable: bool


class _Queue:
    """What waits. Most connections have nothing that does, so there is none then."""

    __slots__ = ("entries", "latest", "next", "octets")

    def __init__(self) -> None:
        self.entries: OrderedDict[int, _Entry] = OrderedDict()
        self.latest: dict[str, int] = {}
        self.next = 0
        self.octets = 0

    def append(self, entry: _Entry) -> None:
        self.entries[self.next] = entry
        self.octets += len(entry.frame.payload)
        if entry.key is not None:
            self.latest[entry.key] = self.next
        self.next += 1

    def prepend(self, frame: Frame) -> None:
        """Only one frame ever goes before all others."""
        self.entries[-1] = _Entry(frame, None, False)
        self.entries.move_to_end(-1, last=False)
        self.octets += len(frame)

    def pop(self) -> Frame:
        number, entry = self.entries.popitem(last=False)
        if entry.key is not None and self.latest.get(entry.key) == number:
            del self.latest[entry.key]
        self.octets -= len(entry.frame.payload)
        return entry.frame

    def supersede(self, key: str) -> bool:
        """Whether there was one of that key."""
        number = self.latest.pop(key, None)
        if number is None:
            return False
        self.octets -= len(self.entries.pop(number).frame)
        return True

    def drop_oldest(self, excess: int) -> int:
        """Forget the first that may be forgotten, `excess` bytes of them or more; how many."""
        oldest: list[int] = []
        for number, entry in self.entries.items():
            if excess <= 0:
                break
            if entry.droppable:
                oldest.append(number)
                excess -= len(entry.frame)
        for number in oldest:
            self.octets -= len(self.entries.pop(number).frame)
        return len(oldest)


class Outbox:
    """A queue of frames, bounded in bytes; what the transport holds counts until it lets go."""

    __slots__ = ("_corked", "_queue", "_writing", "dropped", "limit", "superseded")

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        self.limit = limit
        self.dropped = 0
        self.superseded = 0
        self._queue: _Queue | None = None
        self._writing = 0
        self._corked = False

    def __len__(self) -> int:
        return 0 if self._queue is None else len(self._queue.entries)

    @property
    def size(self) -> int:
        """Bytes not yet handed over, those being written included."""
        return self._writing if self._queue is None else self._queue.octets + self._writing

    @property
    def corked(self) -> bool:
        """Whether nothing may pass what waits for the first frame."""
        return self._corked

    def offer(
        self, frame: Frame, key: str | None = None, policy: SlowPolicy = SlowPolicy.DISCONNECT
    ) -> bool:
        """Queue a frame. False: it does not fit, and the reader has to be cut."""
        queue = self._queue or _Queue()
        size = len(frame.payload)
        droppable = policy is SlowPolicy.DROP_OLDEST
        if policy is not SlowPolicy.CONFLATE:
            key = None
        elif key is not None and self.size > self.limit * PRESSURE:
            self.superseded += queue.supersede(key)
        if self.size + size > self.limit:
            if droppable:
                self.dropped += queue.drop_oldest(self.size + size - self.limit)
            if self.size + size > self.limit:
                return False
        queue.append(_Entry(frame, key, droppable))
        self._queue = queue
        return True

    def push(self, frame: Frame) -> None:
        """Queue the last frame, whatever the bound: it is small, and nothing follows it."""
        queue = self._queue = self._queue or _Queue()
        queue.append(_Entry(frame, None, False))

    def cork(self) -> None:
        """Let nothing out before the frame of `uncork`."""
        self._corked = True

    def uncork(self, first: Frame) -> bool:
        """Let `first` out, and then what waited. False: it does not fit, the reader is cut."""
        self._corked = False
        if self.size + len(first) > self.limit:
            return False
        queue = self._queue = self._queue or _Queue()
        queue.prepend(first)
        return True

    def take(self) -> Frame | None:
        """The next frame to write. Taking it says that the one before was handed over."""
        self._writing = 0
        if self._corked or self._queue is None or not self._queue.entries:
            return None
        frame = self._queue.pop()
        if not self._queue.entries:
            self._queue = None
        self._writing = len(frame.payload)
        return frame

    def writing(self, octets: int) -> None:
        """Note what the transport holds, where it takes more than one frame at a time."""
        self._writing = octets

    def clear(self) -> None:
        """Forget everything queued."""
        self._queue = None
