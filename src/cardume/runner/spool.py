"""What was read and not yet sent: first in memory, then in temporary files.

The files have no name (`tempfile.TemporaryFile` unlinks at once), so even a kill leaves none
behind. They are short segments, so that a server that lags for hours still gives room back.
"""

from __future__ import annotations

import struct
import tempfile
import threading
import time
from collections import deque
from typing import BinaryIO, NamedTuple

IN_MEMORY = 8 * 1024 * 1024
SEGMENT = 64 * 1024 * 1024
LIMIT = 1024 * 1024 * 1024

_HEAD = struct.Struct("<BdI")


class Chunk(NamedTuple):
    """Bytes of one stream (1 is stdout, 2 is stderr) as one read yielded them."""

    stream: int
    at: float
    """Seconds since the Unix epoch."""
    data: bytes


class _Segment:
    def __init__(self) -> None:
        # Closed when it was read; without a name.
        self.file: BinaryIO = tempfile.TemporaryFile(prefix="cardume-exec-", buffering=0)  # noqa: SIM115
        self.read = 0
        self.written = 0

    def append(self, chunk: Chunk) -> None:
        record = memoryview(_HEAD.pack(chunk.stream, chunk.at, len(chunk.data)) + chunk.data)
        self.file.seek(self.written)
        done = 0
        while done < len(record):  # a disk that fills up takes a part
            done += self.file.write(record[done:])
        self.written += done

    def take(self) -> Chunk:
        self.file.seek(self.read)
        stream, at, length = _HEAD.unpack(self.file.read(_HEAD.size))
        self.read += _HEAD.size + length
        return Chunk(stream, at, self.file.read(length))


class Spool:
    """A queue of chunks between the thread that reads a command and the one that sends."""

    def __init__(
        self, *, in_memory: int = IN_MEMORY, segment: int = SEGMENT, limit: int = LIMIT
    ) -> None:
        self._in_memory = in_memory
        self._segment = segment
        self._limit = limit
        self._changed = threading.Condition()
        self._chunks: deque[Chunk] = deque()
        self._held = 0
        self._segments: deque[_Segment] = deque()
        self._waiting = 0
        self._closed = False
        self.discarded = False
        """Nobody wants what is put."""

    @property
    def drained(self) -> bool:
        """Closed, and everything was taken."""
        with self._changed:
            return self._closed and not self._waiting

    @property
    def held(self) -> int:
        """Bytes in memory."""
        return self._held

    def put(self, chunk: Chunk, wait: float = 0.0) -> bool:
        """Append `chunk`; False if there is no room for it within `wait` seconds."""
        until = time.monotonic() + wait
        with self._changed:
            while not self._closed and self._waiting >= self._limit:
                if not self._changed.wait(max(0.0, until - time.monotonic())):
                    return False
            if self._closed:
                return False
            try:
                self._keep(chunk)
            except OSError:
                return False
            self._waiting += len(chunk.data)
            self._changed.notify_all()
            return True

    def take(self, wait: float = 0.0) -> Chunk | None:
        """The oldest chunk; None if there is none within `wait` seconds, or none any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed, wait)
            if not self._waiting:
                return None
            chunk = self._oldest()
            self._waiting -= len(chunk.data)
            self._changed.notify_all()
            return chunk

    def close(self) -> None:
        """Nothing more will be put."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def discard(self) -> None:
        """Forget everything, and whatever is put from now on."""
        with self._changed:
            self._closed = self.discarded = True
            self._chunks.clear()
            self._held = self._waiting = 0
            while self._segments:
                self._segments.popleft().file.close()
            self._changed.notify_all()

    def _keep(self, chunk: Chunk) -> None:
        if not self._segments and self._held + len(chunk.data) <= self._in_memory:
            self._chunks.append(chunk)
            self._held += len(chunk.data)
            return
        # While there is a file, what is newer goes there too: this is a queue.
        if not self._segments or self._segments[-1].written >= self._segment:
            self._segments.append(_Segment())
        self._segments[-1].append(chunk)

    def _oldest(self) -> Chunk:
        if self._chunks:
            chunk = self._chunks.popleft()
            self._held -= len(chunk.data)
            return chunk
        segment = self._segments[0]
        chunk = segment.take()
        if segment.read == segment.written:
            self._segments.popleft().file.close()
        return chunk
