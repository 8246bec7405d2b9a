"""What a client hears whose request never reaches the application, because it is none."""

from __future__ import annotations

from typing import NamedTuple

from cardume.transports.problems import problem
from cardume.wire import codes
from cardume.wire.codes import ErrorCode


class Fault(NamedTuple):
    """Why a connection is closed, and what it is told."""

    reason: str
    """The name that it is counted by."""
    answer: bytes
    """A response without its first headers."""
    status: bytes


def _fault(reason: str, status: bytes, code: ErrorCode, detail: str) -> Fault:
    response = problem(code, detail, status=int(status[:3]))
    headers = [*response.raw_headers, (b"connection", b"close")]
    head = b"".join(b"%b: %b\r\n" % header for header in headers)
    return Fault(reason, head + b"\r\n" + bytes(response.body), status)


BAD = _fault("bad_http", b"400 Bad Request", codes.BAD_REQUEST, "this is not HTTP/1.1")
EARLY = _fault(
    "bad_http", b"400 Bad Request", codes.BAD_REQUEST, "wait for the answer to the handshake"
)
HANDSHAKE = _fault(
    "bad_http", b"400 Bad Request", codes.BAD_REQUEST, "a WebSocket begins with GET and HTTP/1.1"
)
SLOW_HEAD = _fault(
    "slow_head", b"408 Request Timeout", codes.BAD_REQUEST, "the headers took too long"
)
SLOW_BODY = _fault("slow_body", b"408 Request Timeout", codes.BAD_REQUEST, "the body took too long")
LONG_ADDRESS = _fault(
    "head_too_large", b"414 URI Too Long", codes.LIMIT_EXCEEDED, "the address is too long"
)
LARGE_HEAD = _fault(
    "head_too_large",
    b"431 Request Header Fields Too Large",
    codes.LIMIT_EXCEEDED,
    "too many headers, or too long ones",
)
