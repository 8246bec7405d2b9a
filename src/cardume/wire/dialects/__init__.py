"""A dialect is how things look on the wire: decode and encode, nothing else."""

from __future__ import annotations

from typing import Protocol

from cardume.wire.codes import CloseCode
from cardume.wire.messages import Command, Member, Publication, Reply


class Dialect(Protocol):
    """Between bytes and messages. Holds no state: one instance serves every connection."""

    name: str
    reserved: frozenset[str]
    """Types of the dialect's own frames: what goes to one connection may not be called so."""
    many: bool
    """Whether one connection may hold many channels."""
    lines: bool
    """Whether one frame may hold several messages, a line each."""
    pings: bool
    """Whether it has pings of its own, so that it needs none of the WebSocket's."""
    moves: bool
    """Whether it can say that the server put a client on a channel (`Put`) or off it (`Taken`)."""

    def decode(self, text: str | bytes) -> Command:
        """Read one message of a client; what cannot be read is a `Malformed`."""

    def publication(self, channel: str, publication: Publication) -> bytes:
        """The bytes that every subscriber of the dialect shares."""

    def event_type(self, publication: Publication) -> str:
        """The name a type filter of this dialect sees."""

    def reply(self, reply: Reply, *, id: int | str | None, time: float) -> bytes:
        """The bytes for one connection."""

    def goodbye(self, code: CloseCode, *, time: float) -> bytes | None:
        """The last frame before a close that we begin; None where the close says it all."""

    def membership(self, channel: str, member: Member, joined: bool) -> bytes | None:
        """The bytes that all who asked to hear who comes and goes share.

        None in a dialect that has no such frame.
        """
