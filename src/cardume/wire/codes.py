"""One table for every fault: its name, its number, whether to come back.

Connection codes are Centrifugo's, so its SDKs act rightly on them: 3000-3499 mean reconnect,
3500-3999 mean do not. Error codes 100-113 are Centrifugo's too; ours start at 400, the range it
leaves to applications. Faults of the WebSocket framing itself keep RFC 6455 §7.4.1.
"""

from __future__ import annotations

from typing import Final

import msgspec


class CloseCode(msgspec.Struct, frozen=True, gc=False):
    """Why a connection ends."""

    number: int
    reason: str

    @property
    def reconnect(self) -> bool:
        """Whether a client should come back by itself, after a jittered wait."""
        return self.number < 3500 or 4000 <= self.number < 4500


class UnsubscribeCode(msgspec.Struct, frozen=True, gc=False):
    """Why a connection leaves one channel and stays; from 2500 on a client comes back to it."""

    number: int
    reason: str


class ErrorCode(msgspec.Struct, frozen=True, gc=False):
    """Why one request failed while its connection lives on."""

    number: int
    name: str
    message: str
    status: int
    """The HTTP status of the same fault on the HTTP API."""
    temporary: bool = False


NORMAL: Final = CloseCode(1000, "bye")
PROTOCOL_ERROR: Final = CloseCode(1002, "protocol error")
UNSUPPORTED_DATA: Final = CloseCode(1003, "text frames only")
INVALID_DATA: Final = CloseCode(1007, "not UTF-8")
TOO_BIG: Final = CloseCode(1009, "message too big")

SHUTDOWN: Final = CloseCode(3001, "shutdown")
SERVER_ERROR: Final = CloseCode(3004, "internal server error")
EXPIRED: Final = CloseCode(3005, "connection expired")
SUBSCRIPTION_EXPIRED: Final = CloseCode(3006, "subscription expired")
SLOW: Final = CloseCode(3008, "slow")
WRITE_ERROR: Final = CloseCode(3009, "write error")
INSUFFICIENT_STATE: Final = CloseCode(3010, "insufficient state")
FORCE_RECONNECT: Final = CloseCode(3011, "force reconnect")
NO_PONG: Final = CloseCode(3012, "no pong")
TOO_MANY_REQUESTS_CLOSE: Final = CloseCode(3013, "too many requests")

INVALID_TOKEN: Final = CloseCode(3500, "invalid token")
BAD_REQUEST_CLOSE: Final = CloseCode(3501, "bad request")
STALE: Final = CloseCode(3502, "stale")
FORCE_DISCONNECT: Final = CloseCode(3503, "force disconnect")
CONNECTION_LIMIT: Final = CloseCode(3504, "connection limit")
CHANNEL_LIMIT: Final = CloseCode(3505, "channel limit")
INAPPROPRIATE_PROTOCOL: Final = CloseCode(3506, "inappropriate protocol")
PERMISSION_DENIED_CLOSE: Final = CloseCode(3507, "permission denied")
NOT_AVAILABLE_CLOSE: Final = CloseCode(3508, "not available")
TOO_MANY_ERRORS: Final = CloseCode(3509, "too many errors")

UNSUBSCRIBED: Final = UnsubscribeCode(2000, "server unsubscribe")
CHANNEL_STATE_LOST: Final = UnsubscribeCode(2500, "insufficient state")
CHANNEL_EXPIRED: Final = UnsubscribeCode(2501, "subscription expired")

INTERNAL: Final = ErrorCode(100, "internal", "internal server error", 500, temporary=True)
UNAUTHORIZED: Final = ErrorCode(101, "unauthorized", "a valid token is required", 401)
UNKNOWN_CHANNEL: Final = ErrorCode(102, "unknown_channel", "unknown channel", 404)
PERMISSION_DENIED: Final = ErrorCode(103, "permission_denied", "permission denied", 403)
METHOD_NOT_FOUND: Final = ErrorCode(104, "method_not_found", "no such action", 404)
ALREADY_SUBSCRIBED: Final = ErrorCode(105, "already_subscribed", "already subscribed", 409)
LIMIT_EXCEEDED: Final = ErrorCode(106, "limit_exceeded", "limit exceeded", 413)
BAD_REQUEST: Final = ErrorCode(107, "bad_request", "bad request", 400)
NOT_AVAILABLE: Final = ErrorCode(108, "not_available", "not available", 503, temporary=True)
TOKEN_EXPIRED: Final = ErrorCode(109, "token_expired", "the token has expired", 401)
RATE_LIMITED: Final = ErrorCode(111, "rate_limited", "too many requests", 429, temporary=True)
UNRECOVERABLE_POSITION: Final = ErrorCode(112, "unrecoverable", "unrecoverable position", 409)
UNKNOWN_TYPE: Final = ErrorCode(400, "unknown_type", "unknown message type", 400)
NOT_FOUND: Final = ErrorCode(404, "not_found", "not found", 404)
METHOD_NOT_ALLOWED: Final = ErrorCode(405, "method_not_allowed", "no such method here", 405)
CONFLICT: Final = ErrorCode(409, "conflict", "conflict with the current state", 409)
NO_CANDIDATES: Final = ErrorCode(410, "no_candidates", "no agent is active", 409)
UNSUPPORTED_MEDIA_TYPE: Final = ErrorCode(415, "unsupported_media_type", "JSON is spoken here", 415)
INVALID_FIELDS: Final = ErrorCode(422, "invalid_fields", "a field is missing or wrong", 422)

ERRORS: Final = {
    code.number: code for code in tuple(globals().values()) if isinstance(code, ErrorCode)
}
CLOSES: Final = {
    code.number: code for code in tuple(globals().values()) if isinstance(code, CloseCode)
}

_ERROR_OF_STATUS: Final = {
    400: BAD_REQUEST,
    401: UNAUTHORIZED,
    403: PERMISSION_DENIED,
    404: NOT_FOUND,
    405: METHOD_NOT_ALLOWED,
    409: CONFLICT,
    410: NOT_FOUND,
    413: LIMIT_EXCEEDED,
    415: UNSUPPORTED_MEDIA_TYPE,
    422: INVALID_FIELDS,
    429: RATE_LIMITED,
    503: NOT_AVAILABLE,
}

_CLOSE_OF_STATUS: Final = {
    400: BAD_REQUEST_CLOSE,
    401: INVALID_TOKEN,
    403: PERMISSION_DENIED_CLOSE,
    404: NOT_AVAILABLE_CLOSE,
    409: BAD_REQUEST_CLOSE,
    410: NOT_AVAILABLE_CLOSE,
    413: BAD_REQUEST_CLOSE,
    422: BAD_REQUEST_CLOSE,
    429: TOO_MANY_REQUESTS_CLOSE,
}


def error_of_status(status: int) -> ErrorCode:
    """The error code that says on a connection what `status` says over HTTP."""
    return _ERROR_OF_STATUS.get(status, BAD_REQUEST if 400 <= status < 500 else INTERNAL)


def close_of_status(status: int) -> CloseCode:
    """How a connection ends whose authorisation answered with HTTP `status`."""
    fallback = PERMISSION_DENIED_CLOSE if 400 <= status < 500 else SERVER_ERROR
    return _CLOSE_OF_STATUS.get(status, fallback)
