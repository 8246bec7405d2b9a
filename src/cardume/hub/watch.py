"""Has anything been lost on the way here? Asked of the engine now and then, once a channel.

Delivery notices a gap by the next offset. If there is no next one, or the engine went back
behind what it had delivered, only asking for the top shows it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from itertools import product

from cardume.clock import Clock
from cardume.engines.base import Engine
from cardume.errors import Unavailable
from cardume.hub.channel import Channel
from cardume.hub.rejects import Rejects
from cardume.hub.roster import Roster
from cardume.wire.messages import Position

EVERY = 32.0
"""Seconds between two rounds."""

PATIENCE = 5.0
"""Seconds that a publication may be on its way, or a replica behind."""

_BREATH = 100
"""Channels between two turns of the loop."""


def is_suspect(before: Position, after: Position, top: Position) -> bool:
    """Whether `top`, read while the channel went from `before` to `after`, raises a doubt.

    Behind it something may be on its way; before it a replica may have been asked.
    """
    return after.epoch != top.epoch or after.offset < top.offset or _is_beyond(before, top)


def is_lost(before: Position, after: Position, first: Position, top: Position) -> bool:
    """Whether a second reading, `top`, confirms it; `first` had time enough to arrive."""
    if after.epoch != top.epoch or _is_beyond(before, top):
        return True
    return after.epoch == first.epoch and after.offset < first.offset


def _is_beyond(position: Position, top: Position) -> bool:
    return position.epoch == top.epoch and position.offset > top.offset


class Watch:
    """Rounds over the channels of this node, each of one read a channel."""

    def __init__(self, engine: Engine, roster: Roster, rejects: Rejects, clock: Clock) -> None:
        self._engine = engine
        self._roster = roster
        self._rejects = rejects
        self._clock = clock

    async def round(self) -> None:
        """Look at all channels; cut the live readers of those that stay in doubt."""
        suspects = [
            (channel, top)
            async for channel, before, top in self._tops(self._roster)
            if any(is_suspect(*pair, top) for pair in product(before, channel.cursors))
        ]
        if not suspects:
            return
        await self._clock.sleep(PATIENCE)
        first = dict(suspects)
        async for channel, before, top in self._tops(first):
            pairs = product(before, channel.cursors)
            if any(is_lost(*pair, first[channel], top) for pair in pairs):
                detail = f"{channel.name} at {channel.position}, top {top}"
                self._rejects.note("position_lost", detail)
                channel.lose(top)

    async def _tops(
        self, channels: Iterable[Channel]
    ) -> AsyncIterator[tuple[Channel, frozenset[Position], Position]]:
        """Channels with live readers: where each stood, and the top that was read then."""
        for number, channel in enumerate(channels, 1):
            if number % _BREATH == 0:
                await asyncio.sleep(0)
            retention = channel.options.retention
            if retention is None or not channel.live:
                continue
            before = channel.cursors
            try:
                replay = await self._engine.replay(channel.name, None, retention, 0)
            except Unavailable:
                continue  # nothing can be said; the next round asks again
            if channel.live:
                yield channel, before, replay.top
