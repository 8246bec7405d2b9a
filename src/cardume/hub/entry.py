"""Coming onto a channel without a gap: the race between subscribing and publishing, closed.

Publications are buffered from the moment of joining; then the top, the history or the snapshot
is read; then the buffer is merged, dropping what is old and demanding that nothing is missing.
A snapshot read after the top may already hold later events; each of them carries absolute state.
The order is centrifuge's (`internal/recovery`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from cardume.hub.channel import Subscription
from cardume.hub.hub import Hub
from cardume.wire import json
from cardume.wire.messages import Position, Publication


class Entry(msgspec.Struct, frozen=True):
    """What a fresh or returning subscriber is told first."""

    position: Position
    """Before the first publication that follows."""
    recovered: bool
    missed: tuple[Publication, ...] = ()
    snapshot: bytes | None = None


async def prepare(
    hub: Hub,
    subscription: Subscription,
    since: Position | None,
    parameters: Mapping[str, Any],
) -> Entry:
    """Read what the subscriber needs, while the channel buffers for it.

    Raises:
        Refused: the snapshot's source says that there is no such thing.
        Unavailable: history or snapshot are out of reach.
    """
    channel = subscription.channel
    options = channel.options
    top = Position()
    if options.retention is not None:
        limit = hub.options.replay_limit
        replay = await hub.engine.replay(channel.name, since, options.retention, limit)
        missed = replay.publications
        if since is not None and missed is not None and _fits(hub, missed):
            return Entry(since, True, missed)
        top = replay.top
    if options.snapshot is None:
        return Entry(top, False)
    return Entry(top, False, snapshot=json.encode(await options.snapshot(**parameters)))


def _fits(hub: Hub, missed: tuple[Publication, ...]) -> bool:
    """Whether the replay leaves half the outbox to what comes live."""
    return sum(len(publication.data) for publication in missed) <= hub.options.outbox_limit // 2
