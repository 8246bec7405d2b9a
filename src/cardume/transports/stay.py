"""What a WebSocket of the hub is, whichever server it came through."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NamedTuple, Protocol

from cardume.auth.identity import Identity, InvalidToken
from cardume.errors import Invalid, Refused, Unavailable
from cardume.hub.connection import Connection
from cardume.hub.hub import Hub
from cardume.transports.door import Scope, Visitor
from cardume.wire import codes
from cardume.wire.codes import CloseCode
from cardume.wire.dialects import Dialect

CLOSE_TIMEOUT = 5.0
"""Seconds a peer has to take what is queued for it and the close frame."""

logger = logging.getLogger("cardume.transports")


class Stay(Protocol):
    """One connection in its dialect: what it is told first, and how it is answered."""

    async def enter(self) -> None:
        """Greet it. What is raised closes the connection."""

    async def hear(self, text: str) -> None:
        """Answer a message."""

    def left(self) -> None:
        """The connection is gone."""


class Admission(NamedTuple):
    """Who was let in, and what follows once there is a connection."""

    identity: Identity
    begin: Callable[[Connection], Stay]
    address: str | None = None
    """The peer's, where the server knows it."""


class Address(Protocol):
    """What is behind a WebSocket address of ours."""

    @property
    def dialect(self) -> Dialect:
        """How everybody there speaks."""

    async def admit(self, hub: Hub, visitor: Visitor, scope: Scope) -> Admission:
        """Whose handshake this is. What is raised turns it away."""


def is_longer(text: str, limit: int) -> bool:
    """Whether `text` has more than `limit` bytes; counted only where that can matter."""
    if len(text) > limit or text.isascii():
        return len(text) > limit
    return len(text.encode("utf-8", "surrogatepass")) > limit


def code_for(error: Exception, *, accepted: bool = False) -> CloseCode:
    """How a connection ends that failed with `error`."""
    match error:
        case InvalidToken():
            return codes.INVALID_TOKEN
        case Refused():
            return codes.close_of_status(error.code.status)
        case Invalid() if not accepted:  # later, what is invalid is our own
            return codes.BAD_REQUEST_CLOSE
        case Unavailable():
            return codes.SERVER_ERROR
    logger.error("a connection failed", exc_info=error)
    return codes.SERVER_ERROR
