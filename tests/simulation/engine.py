"""The real memory engine behind a network and a disk that fail when they are told to."""

from __future__ import annotations

import asyncio
from collections import deque
from random import Random

from cardume.clock import Clock
from cardume.engines.base import Deliver, Page, Replay, Retention
from cardume.engines.memory import MemoryEngine
from cardume.errors import Unavailable
from cardume.wire.messages import Position, Publication

Announcement = tuple[str, Publication, Position]


class FaultyEngine:
    """`cardume.engines.base.Engine`. Everything is well until a switch is turned.

    A publish is held before it is kept or after, so that who gives up on it does not know which.
    What is announced may be late, lost, doubled or out of order; a read may be slow, and then
    answers what it saw first or last; a replica may lag behind.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._inner = MemoryEngine(clock)
        self._deliver: Deliver | None = None
        self._inside = _opened()
        self._outside = _opened()
        self._reading = _opened()
        self._joining = _opened()
        self.subscribed: set[str] = set()
        self.travelling: dict[str, deque[Announcement]] = {}
        self.away = False
        self.late = False
        self.stale = False
        self.behind = 0
        """How many publications the replica that is read has yet to hear of."""
        self.life = 0
        """Which memory it has; `forget` gives it another one."""

    # -- switches ---------------------------------------------------------------------------

    def hold(
        self,
        *,
        before: bool = False,
        after: bool = False,
        reads: bool = False,
        joins: bool = False,
    ) -> None:
        """Let publishes wait before or after they are kept, and reads and joins for an answer."""
        for gate, held in (
            (self._inside, before),
            (self._outside, after),
            (self._reading, reads),
            (self._joining, joins),
        ):
            gate.clear() if held else gate.set()

    def heal(self) -> None:
        """Nothing is held, late or away any more; what was lost is lost."""
        self.away = self.late = self.stale = False
        self.behind = 0
        self.hold()
        while self.travelling:
            self.arrive(next(iter(self.travelling)), 1)

    async def forget(self) -> None:
        """Come back with an empty memory, as after a crash: new epochs, no idempotency keys."""
        await self._inner.stop()
        self._inner = MemoryEngine(self._clock)
        self.life += 1
        await self._inner.start(self._announce)

    def arrive(self, channel: str, count: int) -> None:
        """Let the next announcements of a channel reach this node."""
        queue = self.travelling.get(channel, deque())
        for _ in range(min(count, len(queue))):
            self._hand(queue.popleft())
        if not queue:
            self.travelling.pop(channel, None)

    def mistreat(self, channel: str, how: str, random: Random) -> None:
        """`lose`, `double` or `swap` something on its way.

        Without a position nobody could tell: of a channel without history it is only lost.
        """
        queue = self.travelling.get(channel, deque())
        if not queue:
            return
        index = random.randrange(len(queue))
        if how == "lose":
            del queue[index]
        elif not queue[index][2]:
            return
        elif how == "double":
            queue.insert(random.randint(index, len(queue)), queue[index])
        elif index:
            queue[index - 1], queue[index] = queue[index], queue[index - 1]

    def _announce(self, channel: str, publication: Publication, position: Position) -> None:
        if channel not in self.subscribed:
            return  # nobody here listened when it was announced
        seen = (channel, publication, position)
        if self.late or channel in self.travelling:
            self.travelling.setdefault(channel, deque()).append(seen)
        else:
            self._hand(seen)

    def _hand(self, seen: Announcement) -> None:
        if seen[0] in self.subscribed and self._deliver is not None:
            self._deliver(*seen)

    def _lagging(self, since: Position | None, replay: Replay) -> Replay:
        """The answer of a replica that is `behind`."""
        top = Position(replay.top.epoch, max(0, replay.top.offset - self.behind))
        missed = replay.publications
        if since is None or since.offset > top.offset:
            return Replay(top, None)
        if missed is None:
            return replay
        return Replay(top, missed[: top.offset - since.offset])

    def _reach(self) -> None:
        if self.away:
            raise Unavailable("the engine is away")

    # -- the port ---------------------------------------------------------------------------

    async def start(self, deliver: Deliver) -> None:
        self._deliver = deliver
        await self._inner.start(self._announce)

    async def stop(self) -> None:
        self._deliver = None
        await self._inner.stop()

    async def publish(
        self,
        channel: str,
        publication: Publication,
        retention: Retention | None,
        idempotency_key: str | None = None,
    ) -> Position:
        await self._inside.wait()
        self._reach()
        position = await self._inner.publish(channel, publication, retention, idempotency_key)
        await self._outside.wait()
        return position

    async def replay(
        self, channel: str, since: Position | None, retention: Retention, limit: int
    ) -> Replay:
        self._reach()
        early = await self._inner.replay(channel, since, retention, limit)
        if not self._reading.is_set():
            stale = self.stale
            await self._reading.wait()
            self._reach()
            if stale:
                return early
        replay = await self._inner.replay(channel, since, retention, limit)
        # Its keyed state would have to lag as well, and nobody can compute that here.
        return replay if retention.keys else self._lagging(since, replay)

    async def history(
        self,
        channel: str,
        since: Position | None,
        retention: Retention,
        limit: int,
        reverse: bool,
    ) -> Page:
        self._reach()
        return await self._inner.history(channel, since, retention, limit, reverse)

    async def latest(self, channel: str, retention: Retention) -> Page:
        await self._reading.wait()
        self._reach()
        return await self._inner.latest(channel, retention)

    async def remove(self, channel: str) -> None:
        self._reach()
        await self._inner.remove(channel)

    async def skip(self, channel: str, retention: Retention) -> Position:
        self._reach()
        return await self._inner.skip(channel, retention)

    async def subscribe(self, channel: str) -> None:
        self._reach()
        await self._joining.wait()
        self._reach()
        self.subscribed.add(channel)
        await self._inner.subscribe(channel)

    async def unsubscribe(self, channel: str) -> None:
        await self._joining.wait()
        # Away or not: what it was told is no longer of use to anybody.
        self.subscribed.discard(channel)
        self.travelling.pop(channel, None)
        await self._inner.unsubscribe(channel)
        self._reach()


def _opened() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event
