"""The channels of this node: made by the first join, detached from the engine by the last leave."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

from cardume.engines.base import Engine
from cardume.errors import Unavailable
from cardume.hub.channel import Channel
from cardume.hub.namespaces import ChannelOptions
from cardume.hub.schedule import Tasks

logger = logging.getLogger("cardume.hub")


class Roster:
    """Channels by name, and whether the engine delivers them here.

    One gate per channel puts joins and leaves in a row, so that the engine never sees an
    `unsubscribe` overtake the `subscribe` of somebody who came meanwhile.
    """

    def __init__(
        self,
        engine: Engine,
        tasks: Tasks,
        make: Callable[[str, ChannelOptions], Channel],
    ) -> None:
        self._engine = engine
        self._tasks = tasks
        self._make = make
        self._channels: dict[str, Channel] = {}

    def __len__(self) -> int:
        return len(self._channels)

    def __iter__(self) -> Iterator[Channel]:
        """Those of this moment: who comes or goes meanwhile does no harm."""
        return iter(list(self._channels.values()))

    def get(self, name: str) -> Channel | None:
        return self._channels.get(name)

    async def attach(self, name: str, options: ChannelOptions) -> Channel:
        """The channel, delivered to this node. The caller joins it before it waits again.

        Raises:
            Unavailable: the engine is out of reach.
        """
        while True:
            channel = self._channels.get(name)
            if channel is not None and channel.attached and not channel.gate.locked():
                return channel
            if channel is None:
                channel = self._channels[name] = self._make(name, options)
            async with channel.gate:
                if self._channels.get(name) is not channel:
                    continue  # detached while we waited
                if not channel.attached:
                    await self._subscribe(channel)
                return channel

    def settle(self, channel: Channel) -> None:
        """Detach `channel` soon, if nobody is on it then."""
        if not channel:
            self._tasks.spawn(self._detach(channel), "detach channel")

    def clear(self) -> None:
        """Forget everything: the engine is about to stop."""
        self._channels.clear()

    async def _subscribe(self, channel: Channel) -> None:
        try:
            await self._engine.subscribe(channel.name)
        except BaseException:
            # Failed or cancelled half-way, it may have taken effect all the same.
            self.settle(channel)
            raise
        channel.attached = True

    async def _detach(self, channel: Channel) -> None:
        async with channel.gate:
            if channel or self._channels.get(channel.name) is not channel:
                return
            try:
                await self._engine.unsubscribe(channel.name)
            except Unavailable:
                logger.warning("engine unreachable while leaving a channel")
            finally:
                # Whatever the engine made of it, the next one to come subscribes anew.
                channel.attached = False
                self._channels.pop(channel.name, None)
