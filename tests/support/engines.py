"""Engines of the tests' own, around the real memory engine."""

from __future__ import annotations

import asyncio
from collections import Counter, deque

from cardume.clock import Clock
from cardume.engines.base import Deliver, Page, Replay, Retention
from cardume.engines.memory import MemoryEngine
from cardume.errors import Unavailable
from cardume.wire.messages import Position, Publication


class LateEngine:
    """Delivers when told to, as an engine with a network between append and announcement.

    `prompt` delivers at once; `replay_gate` holds replays back; `stale` makes them read before
    they wait.
    """

    def __init__(self, clock: Clock) -> None:
        self._inner = MemoryEngine(clock)
        self._deliver: Deliver | None = None
        self._subscribed: set[str] = set()
        self.on_the_way: deque[tuple[str, Publication, Position]] = deque()
        self.replay_gate = asyncio.Event()
        self.replay_gate.set()
        self.stale = False
        self.prompt = False

    async def start(self, deliver: Deliver) -> None:
        self._deliver = deliver
        await self._inner.start(lambda *seen: self.on_the_way.append(seen))

    async def stop(self) -> None:
        await self._inner.stop()

    async def publish(
        self,
        channel: str,
        publication: Publication,
        retention: Retention | None,
        idempotency_key: str | None = None,
    ) -> Position:
        before = len(self.on_the_way)
        position = await self._inner.publish(channel, publication, retention, idempotency_key)
        if len(self.on_the_way) > before and channel not in self._subscribed:
            self.on_the_way.pop()  # nobody here listened when it was announced
        if self.prompt:
            self.arrive(len(self.on_the_way))
        return position

    async def replay(
        self, channel: str, since: Position | None, retention: Retention, limit: int
    ) -> Replay:
        early = await self._inner.replay(channel, since, retention, limit)
        stale = self.stale
        await self.replay_gate.wait()
        if stale:
            return early
        return await self._inner.replay(channel, since, retention, limit)

    async def history(
        self,
        channel: str,
        since: Position | None,
        retention: Retention,
        limit: int,
        reverse: bool,
    ) -> Page:
        return await self._inner.history(channel, since, retention, limit, reverse)

    async def latest(self, channel: str, retention: Retention) -> Page:
        return await self._inner.latest(channel, retention)

    async def remove(self, channel: str) -> None:
        await self._inner.remove(channel)

    async def skip(self, channel: str, retention: Retention) -> Position:
        return await self._inner.skip(channel, retention)

    async def subscribe(self, channel: str) -> None:
        self._subscribed.add(channel)
        await self._inner.subscribe(channel)

    async def unsubscribe(self, channel: str) -> None:
        self._subscribed.discard(channel)
        await self._inner.unsubscribe(channel)

    def arrive(self, count: int = 1) -> None:
        """Let the next `count` publications reach this node."""
        for _ in range(min(count, len(self.on_the_way))):
            channel, publication, position = self.on_the_way.popleft()
            if channel in self._subscribed and self._deliver is not None:
                self._deliver(channel, publication, position)


class RecordingEngine(MemoryEngine):
    """Counts subscriptions, takes a few turns of the loop for each, and fails when told to."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.calls: list[tuple[str, str]] = []
        self.held: Counter[str] = Counter()
        self.turns = 3
        self.gate = asyncio.Event()
        self.gate.set()
        self.fails = False

    async def subscribe(self, channel: str) -> None:
        self.calls.append(("subscribe", channel))
        await self._travel()
        self.held[channel] += 1
        await super().subscribe(channel)

    async def unsubscribe(self, channel: str) -> None:
        self.calls.append(("unsubscribe", channel))
        await self._travel()
        self.held[channel] -= 1
        await super().unsubscribe(channel)

    async def _travel(self) -> None:
        for _ in range(self.turns):
            await asyncio.sleep(0)
        await self.gate.wait()
        if self.fails:
            raise Unavailable("the engine is away")
