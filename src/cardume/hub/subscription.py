"""One connection on one channel: how far it was told, and what it wants to hear."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cardume.hub import sockets
from cardume.hub.filters import TypeFilter
from cardume.hub.groups import Kind
from cardume.hub.tags import TagFilter, tags_of
from cardume.wire.messages import Member, Position, Publication

if TYPE_CHECKING:
    from cardume.hub.channel import Channel
    from cardume.hub.connection import Connection

MAX_BUFFERED = 1000
"""Publications held for one subscriber while its snapshot loads. Beyond it, it starts over."""


class Subscription:
    """One connection on one channel.

    While `buffer` is a list, live publications wait in it: the subscriber is still being told
    what it missed. `None` means live. `lost` says that the buffer could not hold them all.
    `ahead` is what it was told already where the channel's own delivery has yet to get there.
    """

    __slots__ = (
        "ahead",
        "buffer",
        "channel",
        "connection",
        "info",
        "joins",
        "lost",
        "member",
        "server_side",
        "since",
        "tags",
        "types",
    )

    def __init__(self, connection: Connection, channel: Channel, types: TypeFilter) -> None:
        self.connection = connection
        self.channel = channel
        self.types = types
        self.tags: TagFilter | None = None
        """This and the next three are set before `Channel.release`, if at all."""
        self.joins = False
        """Whether it hears who comes and goes."""
        self.info: Any = None
        """What others may know of it here; None: what its token says."""
        self.server_side = False
        """Whether the server put it here, so that its client does not come back by itself."""
        self.member: Member | None = None
        """As whom it is present, once it is."""
        self.buffer: list[tuple[Position, Publication]] | None = []
        self.lost = False
        self.ahead: Position | None = None
        self.since = 0
        """How many frames its group had been written when it was added."""

    @property
    def kind(self) -> Kind:
        """With whom it shares its frames."""
        connection = self.connection
        compressed = connection.compresses and self.channel.options.deflate
        raw = connection.fileno != sockets.NO_FILENO
        return Kind(connection.dialect, self.types, self.tags, compressed, raw)

    @property
    def cursor(self) -> Position:
        """The last publication that this subscriber needs not be told any more."""
        return self.ahead or self.channel.position

    def wants(self, publication: Publication) -> bool:
        """Whether its filters let a publication through."""
        types, tags = self.types, self.tags
        if types is not None and self.connection.dialect.event_type(publication) not in types:
            return False
        return tags is None or tags.matches(tags_of(publication))

    def hold(self, position: Position, publication: Publication) -> None:
        """Keep a live publication until what was missed is told."""
        if self.buffer is None:
            return
        if len(self.buffer) >= MAX_BUFFERED:
            self.lost = True
            self.buffer.clear()
        self.buffer.append((position, publication))
