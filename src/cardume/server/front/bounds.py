"""What an HTTP client may take of us: time, bytes, a place."""

from __future__ import annotations

from enum import Enum

HEAD_WITHIN = 10.0
"""Seconds from the connection, or from a later request's first byte, to the end of its head."""

BODY_WITHIN = 10.0
"""Seconds in which the next `MIN_BODY` bytes of a body have to come."""

MIN_BODY = 2500

LINGER = 10.0
"""Seconds in which the rest of a body may come that was answered already."""

SEND_WITHIN = 30.0
"""Seconds in which a reader has to take something of what waits for it."""

END_WITHIN = 2.0
"""Seconds to hear why it was refused, before the connection is cut."""

MAX_HEAD = 32 * 1024
"""Bytes of a request's head. Twice as many, and no end in sight, are not read on."""

MAX_HEADERS = 100
"""`websockets` reads 128, and says nothing at all to one more."""

MAX_LINE = 8000
"""Characters of an address or a header; `websockets` reads lines of 8,192."""

MAX_PIPELINED = 64
"""Requests that wait behind the one that is being answered."""

MAX_OVERHEAD = 64 * 1024
"""Bytes of a body that are none of it: chunk extensions, trailers."""


class Stage(Enum):
    """What a connection waits for."""

    NEW = "its first byte"
    IDLE = "another request"
    HEAD = "the rest of a head"
    BODY = "the rest of a body"
    BUSY = "the application"
    BLOCKED = "room for an answer"
    LINGER = "the rest of a body that nobody needs"
    ENDING = "the client to take the last words"
