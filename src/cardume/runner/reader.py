"""The thread that reads what the command prints: to our own stdout and stderr, and to the spool.

It never waits for the server. Our own streams are what may slow the command down, as a pipe to
`cat` would, and a spool that is full.
"""

from __future__ import annotations

import os
import select
import selectors
import threading
import time
from collections.abc import Callable, Mapping

from cardume.runner.spool import Chunk, Spool

READ = 64 * 1024
ROOM_WITHIN = 30.0
"""Seconds that a full spool may hold the command up before its output is no longer recorded."""
LINGER = 2.0
"""Seconds for what still holds the pipes when the command has ended, such as ``> >(tee log)``."""
_PIPE = 1024 * 1024
"""Bytes: no pipe holds more (`/proc/sys/fs/pipe-max-size`), so all of the command's own is read."""


class Reader:
    """Runs from `start` to the end of both pipes, or a little beyond `command_ended`."""

    def __init__(
        self,
        pipes: Mapping[int, int],
        spool: Spool,
        *,
        say: Callable[[str], None],
        room_within: float = ROOM_WITHIN,
    ) -> None:
        """`pipes` are what to read, by 1 for stdout and 2 for stderr; they are closed here."""
        self._spool = spool
        self._say = say
        self._linger = LINGER
        self._room_within = room_within
        self._recording = True
        self._deaf: set[int] = set()
        self._open_lines: set[int] = set()
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = os.pipe()
        self._selector.register(self._wake, selectors.EVENT_READ, 0)
        for stream, pipe in pipes.items():
            os.set_blocking(pipe, False)
            self._selector.register(pipe, selectors.EVENT_READ, stream)
        self._thread = threading.Thread(target=self._run, name="reader", daemon=True)
        self._newlines = 0

    @property
    def lines(self) -> int:
        """Lines read so far, with those that no line feed has ended yet."""
        return self._newlines + len(self._open_lines)

    def start(self) -> None:
        self._thread.start()

    def command_ended(self, linger: float = LINGER) -> None:
        """It prints nothing more; who else holds its pipes has `linger` seconds."""
        self._linger = linger
        os.close(self._woken)

    def join(self) -> None:
        self._thread.join()

    def _run(self) -> None:
        try:
            self._read_all()
        finally:
            for key in list(self._selector.get_map().values()):
                os.close(key.fd)
            self._selector.close()

    def _read_all(self) -> None:
        until: float | None = None
        since = 0
        while any(key.data for key in self._selector.get_map().values()):
            left = None if until is None else max(0.0, until - time.monotonic())
            ready = self._selector.select(left)
            for key, _ in ready:
                if key.data == 0:
                    self._selector.unregister(key.fd)
                    os.close(key.fd)
                    until = time.monotonic() + self._linger
                else:
                    since += self._read(key.fd, key.data)
            if until is None:
                since = 0
            elif left == 0 and (not ready or since >= _PIPE):
                return

    def _read(self, pipe: int, stream: int) -> int:
        try:
            data = os.read(pipe, READ)
        except BlockingIOError:
            return 0
        if not data or not self._pass_on(stream, data):
            self._selector.unregister(pipe)
            os.close(pipe)
        if data:
            self._record(Chunk(stream, time.time(), data))
        return len(data)

    def _pass_on(self, stream: int, data: bytes) -> bool:
        """False if nobody reads ours any more: then nobody reads the command's, as in a pipe."""
        rest = memoryview(data)
        while rest and stream not in self._deaf:
            try:
                rest = rest[os.write(stream, rest) :]
            except BlockingIOError:  # somebody made what we inherited non-blocking
                select.select([], [stream], [])
            except BrokenPipeError:
                return False
            except OSError as error:
                self._deaf.add(stream)
                self._say(f"what is printed cannot be passed on ({error.strerror})")
        return True

    def _record(self, chunk: Chunk) -> None:
        self._newlines += chunk.data.count(b"\n")
        if chunk.data.endswith(b"\n"):
            self._open_lines.discard(chunk.stream)
        else:
            self._open_lines.add(chunk.stream)
        if self._recording and not self._spool.put(chunk, self._room_within):
            self._recording = False
            if not self._spool.discarded:
                self._say("there is no room for more lines until the server takes some; "
                          "what follows is not recorded")  # fmt: skip
