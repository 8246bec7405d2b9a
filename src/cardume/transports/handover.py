"""How an endpoint takes a WebSocket over from a server that can let go of it.

Such a server puts `EXTENSION` into the ASGI scope. An endpoint that has accepted hands the socket
to a protocol of its own and returns: from then on there is no task, no queue and no scope.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Protocol

from cardume.wire.websocket import Message, Receiver

EXTENSION: Final = "cardume.handover"


class Legacy(NamedTuple):
    """What the server had of a socket when it let go."""

    transport: asyncio.Transport
    receiver: Receiver | None
    """With the beginning of a message that has not ended."""
    messages: list[Message]
    """That nobody has read yet."""
    answer: bytes
    """The end of the handshake, where it was not written yet."""
    compresses: bool
    """Whether the peer can read what is compressed once for all."""
    deflate: bool
    """Whether the peer may compress."""


class Handover(Protocol):
    """A socket that can change hands."""

    @property
    def lost(self) -> bool:
        """Whether there is nothing left to take: the peer is gone."""

    def offer_compression(self) -> None:
        """Agree on compression if the peer offers it. To be called before it is accepted."""

    def take(self, protocol: asyncio.Protocol) -> Legacy:
        """Make `protocol` the socket's, for good."""


def handover_of(scope: Mapping[str, Any]) -> Handover | None:
    """The way to take the socket behind `scope`, where its server has one."""
    offered: Handover | None = scope.get("extensions", {}).get(EXTENSION, {}).get("socket")
    return offered
