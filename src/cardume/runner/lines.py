"""From bytes as a pipe yields them to lines as a viewer reads them. Pure.

A line ends at a line feed. Carriage returns before it are no part of it; one inside it starts
the line again, as on a terminal, so that a progress bar is one line and shows its last state.
"""

from __future__ import annotations

from typing import NamedTuple

MAX_LINE = 16 * 1024
"""Bytes of UTF-8 in one line at the server; more is dropped there, and only there."""

_HELD = MAX_LINE + 4
"""Bytes kept of a line: a character that begins within the limit is kept whole."""


class Line(NamedTuple):
    text: str
    """No NUL and no lone surrogate: both become U+FFFD, as do bytes that are not UTF-8."""
    truncated: bool = False


class LineCutter:
    """The lines of one stream, the same however its bytes are chunked."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._began = False
        """There are bytes since the last line feed, if only carriage returns."""
        self._returned = False
        """The last byte was a carriage return: what comes next starts the line again."""

    def feed(self, data: bytes) -> list[Line]:
        """The lines that `data` ends."""
        *whole, rest = data.split(b"\n")
        if not whole:
            self._hold(rest)
            return []
        self._hold(whole[0])
        lines = [self._take()]
        lines += [_line(_last_state(piece)) for piece in whole[1:]]
        self._hold(rest)
        return lines

    def finish(self) -> list[Line]:
        """The line that the end of the stream ends, if one has begun."""
        return [self._take()] if self._began else []

    def _hold(self, piece: bytes) -> None:
        if not piece:
            return
        self._began = True
        text = piece.rstrip(b"\r")
        if text:
            last = _last_state(text)
            if self._returned or len(last) < len(text):
                self._held.clear()
            self._held += last[: _HELD - len(self._held)]
        self._returned = len(text) < len(piece) or (self._returned and not text)

    def _take(self) -> Line:
        line = _line(bytes(self._held))
        self._held.clear()
        self._began = self._returned = False
        return line


def _last_state(piece: bytes) -> bytes:
    return piece.rstrip(b"\r").rpartition(b"\r")[2] if b"\r" in piece else piece


def _line(data: bytes) -> Line:
    text = data[:_HELD].decode("utf-8", "replace")
    if "\0" in text:
        text = text.replace("\0", "\ufffd")  # PostgreSQL has no NUL in a text
    # Replaced bytes grow to three, so what may be too long is measured as it will travel.
    if len(text) * 4 > MAX_LINE and len(encoded := text.encode()) > MAX_LINE:
        return Line(encoded[:MAX_LINE].decode("utf-8", "ignore"), truncated=True)
    return Line(text)
