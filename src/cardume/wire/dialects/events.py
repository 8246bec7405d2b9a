"""Dialect `events`: `plain` for event streams, where a frame may begin with an offset and a line.

A stream puts its epoch before the offset and has the id of an event: `EPOCH:OFFSET`.
"""

from __future__ import annotations

from cardume.wire.dialects.plain import PlainDialect
from cardume.wire.messages import Connected, Publication, Reply, Snapshot


class EventsDialect(PlainDialect):
    """``12\\n{"type", "data", …}``; without a position the object alone."""

    name = "events"

    def publication(self, channel: str, publication: Publication) -> bytes:
        frame = super().publication(channel, publication)
        return b"%d\n%b" % (publication.offset, frame) if publication.offset else frame

    def reply(self, reply: Reply, *, id: int | str | None, time: float) -> bytes:
        frame = super().reply(reply, id=id, time=time)
        if isinstance(reply, Connected | Snapshot) and reply.position:
            return b"%d\n%b" % (reply.position.offset, frame)
        return frame
