"""The lines that the server has not accepted yet, numbered, as its log request. Pure."""

from __future__ import annotations

from collections import deque

from cardume.runner.lines import Line
from cardume.wire import json

MAX_LINES = 1_000
MAX_BYTES = 512 * 1024
"""Of one request; the server's bodies end at 1 MiB."""

_NUMBER = len('{"seq":1000000000,,')


class Pending:
    """One request's worth of lines. What is not accepted is sent again under its old number."""

    def __init__(self) -> None:
        self._first = 1
        self._lines: deque[bytes] = deque()
        self._bytes = 0
        self.accepted = 0
        """Lines that the server has, or had."""

    def __len__(self) -> int:
        return len(self._lines)

    @property
    def full(self) -> bool:
        """Another line might make the request too large."""
        # Escaped, a byte of text may take six: only a line that is measured is known to fit.
        return len(self._lines) >= MAX_LINES or self._bytes >= MAX_BYTES - 6 * 17 * 1024

    def add(self, line: Line, stream: str, at: str) -> None:
        """One more line of `stream` (``stdout``, ``stderr``), read at `at` (RFC 3339)."""
        entry: dict[str, str | bool] = {"stream": stream, "text": line.text, "at": at}
        if line.truncated:
            entry["truncated"] = True
        encoded = json.encode(entry)[1:]
        self._lines.append(encoded)
        self._bytes += len(encoded) + _NUMBER

    def body(self) -> bytes:
        """The request; without lines it is the one that only renews the lease."""
        numbered = [b'{"seq":%d,%b' % (n, line) for n, line in enumerate(self._lines, self._first)]
        return b'{"lines":[%b]}' % b",".join(numbered)

    def accept(self) -> None:
        """The server has all of them."""
        self.expect(self._first + len(self._lines))

    def expect(self, seq: int) -> int:
        """The server wants line `seq` next. Answers how many lines it forgot after taking them.

        Those are gone; the rest takes over their numbers, which the server has free.
        """
        forgotten = max(0, self._first - seq)
        for _ in range(min(len(self._lines), seq - self._first)):
            self._bytes -= len(self._lines.popleft()) + _NUMBER
            self._first += 1
            self.accepted += 1
        self._first = min(self._first, seq)
        self.accepted -= forgotten
        return forgotten
