"""Lines as a runner sends them, checked, cut and encoded once for every reader. Pure.

Any number of lines a second goes through here, so the codec checks what it can while it decodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Literal

import msgspec

from cardume.errors import Invalid, Refused
from cardume.wire import codes
from cardume.wire.messages import rfc3339

MAX_LINES = 2000
"""Lines of a request."""
MAX_BODY = 1024 * 1024
"""Bytes of a request."""
MAX_TEXT = 16 * 1024
"""Bytes of a line's text in UTF-8; the rest of it is cut off."""

_SHAPE = "a line is {seq: 1, 2, 3…, stream: stdout or stderr, text, at: RFC 3339 with a zone}"


class Line(msgspec.Struct, gc=False, forbid_unknown_fields=True, omit_defaults=True):
    """A line of a log, as it comes in and as it goes out."""

    seq: Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]
    stream: Literal["stdout", "stderr"]
    text: str
    at: str
    truncated: bool = False


class _Request(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    lines: list[Line]


_decode = msgspec.json.Decoder(_Request).decode
_encode = msgspec.json.Encoder().encode


class Batch:
    """The lines of one request, in the order they came."""

    __slots__ = ("_encoded", "_seqs")

    def __init__(self, lines: Sequence[Line]) -> None:
        self._seqs = [line.seq for line in lines]
        self._encoded = [_encode(line) for line in lines]

    def after(self, last_seq: int) -> list[bytes]:
        """What is new to a log that ends with `last_seq`, encoded.

        Raises:
            Refused: 409 with `expected`, a line is missing before one of these.
        """
        following = last_seq + 1
        new: list[bytes] = []
        for seq, line in zip(self._seqs, self._encoded, strict=True):
            if seq == following:
                new.append(line)
                following += 1
            elif seq > following:
                raise Refused(
                    codes.CONFLICT,
                    f"lines are missing: send them from seq {last_seq + 1} on",
                    expected=last_seq + 1,
                )
        return new


def parse(body: bytes) -> Batch:
    """Read the body of a request, as `cardume.wire.json.parse` would: the types bound its depth.

    Raises:
        Refused: 400 for what is no JSON, 413 for too many lines.
        Invalid: a line is not like one; nothing of the request counts.
    """
    try:
        lines = _decode(body).lines
    except msgspec.ValidationError as error:
        # Its path, not its text, which quotes what came.
        place = str(error).rpartition("`$")[2].rstrip("`")
        raise Invalid(f"{place.lstrip('.') or 'body'}: {_SHAPE}") from None
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise Refused(codes.BAD_REQUEST, "not valid JSON") from None
    if len(lines) > MAX_LINES:
        raise Refused(codes.LIMIT_EXCEEDED, f"at most {MAX_LINES} lines in a request")
    for number, line in enumerate(lines):
        try:
            line.at = _canonical(line.at)
        except ValueError:
            raise Invalid(f"lines[{number}].at: {_SHAPE}") from None
        if len(line.text) * 4 > MAX_TEXT:
            _cut(line)
    return Batch(lines)


def chunks(lines: Sequence[bytes], most: int) -> list[Sequence[bytes]]:
    """`lines` in runs of at most `most` bytes as a JSON array, or of a single line."""
    runs: list[Sequence[bytes]] = []
    start, size = 0, 1
    for number, line in enumerate(lines):
        size += len(line) + 1
        if size > most and number > start:
            runs.append(lines[start:number])
            start, size = number, len(line) + 2
    if start < len(lines):
        runs.append(lines[start:])
    return runs


def array(lines: Sequence[bytes]) -> bytes:
    """A JSON array of what is encoded already."""
    return b"[" + b",".join(lines) + b"]"


def split(encoded: bytes) -> list[bytes]:
    """The items of a JSON array that we encoded ourselves."""
    return [bytes(raw) for raw in msgspec.json.decode(encoded, type=list[msgspec.Raw])]


def _cut(line: Line) -> None:
    encoded = line.text.encode()
    if len(encoded) > MAX_TEXT:
        line.text = encoded[:MAX_TEXT].decode(errors="ignore")  # no half of a character
        line.truncated = True


@lru_cache(maxsize=1024)
def _canonical(at: str) -> str:
    """The time in the one form that we send. Lines of a moment share theirs, so it is kept.

    Raises:
        ValueError: it is none.
    """
    try:
        when = msgspec.convert(at, Annotated[datetime, msgspec.Meta(tz=True)])
        return rfc3339(when.timestamp())
    except (msgspec.ValidationError, OverflowError) as error:
        raise ValueError from error
