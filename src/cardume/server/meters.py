"""What the hub's own numbers do not hold, measured beside its way: by namespace, and how long.

All of it costs a publication 1 µs. Times are taken of one in `SAMPLE`, so the count of a histogram
is of samples.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from itertools import count

from prometheus_client import Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cardume.clock import Clock
from cardume.engines.base import Deliver, Engine, Retention
from cardume.hub.namespaces import Namespaces
from cardume.wire.messages import Position, Publication, namespace_of

SAMPLE = 16

OTHER = "other"
"""The namespace of all that nobody declared: their names are no labels."""


class Words:
    """The word before a channel's colon, where somebody declared it: there are not many."""

    def __init__(self, namespaces: Namespaces) -> None:
        self._namespaces = namespaces
        self._known: set[str] = set()

    def of(self, channel: str) -> str:
        word = namespace_of(channel)
        if word in self._known:
            return word
        if self._namespaces.find(channel) is None:
            return OTHER
        self._known.add(word)
        return word


class MeteredEngine:
    """An engine, with its publications counted and the time taken that they need to go out.

    A publication is out when whoever keeps up was written to: the writers that its delivery
    woke run in the loop's next turn, and what is scheduled after them runs after them.
    """

    def __init__(self, engine: Engine, clock: Clock, seconds: Histogram) -> None:
        self.words: Words | None = None
        """Set once there is a hub."""
        self.publications: dict[str, int] = {}
        self._engine = engine
        self._clock = clock
        self._seconds = seconds
        self._turns = 0
        self._deliver: Deliver = _nowhere
        self.stop = engine.stop
        self.replay = engine.replay
        self.history = engine.history
        self.latest = engine.latest
        self.remove = engine.remove
        self.skip = engine.skip
        self.subscribe = engine.subscribe
        self.unsubscribe = engine.unsubscribe

    async def start(self, deliver: Deliver) -> None:
        self._deliver = deliver
        await self._engine.start(self._delivered)

    async def publish(
        self,
        channel: str,
        publication: Publication,
        retention: Retention | None,
        idempotency_key: str | None = None,
    ) -> Position:
        position = await self._engine.publish(channel, publication, retention, idempotency_key)
        counts, word = self.publications, namespace_of(channel)
        if word not in counts and self.words is not None:
            word = self.words.of(channel)
            counts.setdefault(word, 0)
        if word in counts:
            counts[word] += 1
        return position

    def _delivered(self, channel: str, publication: Publication, position: Position) -> None:
        self._deliver(channel, publication, position)
        self._turns += 1
        if self._turns % SAMPLE == 0:
            asyncio.get_running_loop().call_soon(self._out, publication.time)

    def _out(self, since: float) -> None:
        self._seconds.observe(max(0.0, self._clock.now() - since))


def _nowhere(_channel: str, _publication: Publication, _position: Position) -> None:
    """Where an engine delivers that has not begun."""


class TimedHandshakes:
    """Takes the time from a WebSocket's request to its answer, of one in `SAMPLE`.

    No coroutine of its own: each would weigh on its connection for as long as that lasts.
    """

    def __init__(self, app: ASGIApp, clock: Clock, seconds: Histogram) -> None:
        self._app = app
        self._clock = clock
        self._seconds = seconds
        self._turns = count(1)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "websocket" or next(self._turns) % SAMPLE:
            return self._app(scope, receive, send)
        begun: float | None = self._clock.monotonic()

        def timed(message: Message) -> Awaitable[None]:
            nonlocal begun
            if begun is not None:
                self._seconds.observe(self._clock.monotonic() - begun)
                begun = None
            return send(message)

        return self._app(scope, receive, timed)
