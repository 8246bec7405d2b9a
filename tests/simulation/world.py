"""One run: a hub, its clients, and what goes wrong, all drawn from one seed.

No socket, no thread, no real time: the same seed is the same run. Every choice is made here, in
one order, so that nothing depends on which of two equals the hub turns to first.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cardume.engines.base import IDEMPOTENCY_WINDOW
from cardume.errors import HubNotRunning, Refused, Unavailable
from cardume.hub.centrifuge.clients import Clients
from cardume.hub.hub import Hub
from cardume.hub.namespaces import ChannelOptions, ChannelTemplate, Namespace
from cardume.hub.options import HubOptions
from cardume.hub.outbox import SlowPolicy
from cardume.hub.rooms import Lobby
from cardume.testing import FakeClock
from cardume.testing.clock import settle
from cardume.wire import codes
from cardume.wire.events import EVERYONE
from tests.simulation.clients import Client
from tests.simulation.dialects import CentrifugeClient, PlainClient, RoomsClient
from tests.simulation.engine import FaultyEngine
from tests.simulation.history import Attempt, History, Message, Outcome, Page, Rule, Session, Wants
from tests.support.peers import Nobody, OpenGuard

RULES = (
    Rule("news", history=12),
    Rule("thin", history=50, octets=4000),
    Rule("aged", history=50, ttl=20.0),
    Rule("state", history=10, conflates=True, keyed=True),
    Rule("fast", history=10, conflates=True),
    Rule("loose", drops=True),
)
TYPES = ("alpha", "beta", "gamma")
KEYS = ("k1", "k2", "k3", "k4")
SHADES = ("dark", "light")


class World:
    """Everything of one seed."""

    def __init__(self, seed: int, engine: type[FaultyEngine] = FaultyEngine) -> None:
        self.random = random.Random(seed)
        outbox = self.random.choice((2048, 8192, 1 << 20))
        self.options = HubOptions(
            outbox_limit=outbox,
            messages_per_minute=0,
            replay_limit=self.random.choice((5, 300)),
        )
        # A few channels, so that much happens on each; the first two have positions.
        chosen = self.random.sample(RULES[:-1], 2) + self.random.sample(RULES, 1)
        rules = {rule.name: rule for rule in chosen}
        self.history = History(rules, self.options.replay_limit, outbox // 2)
        self.time = FakeClock()
        self._make_engine = engine
        self.engine = engine(self.time)
        self.clients: list[Client] = []
        self.publishing: list[asyncio.Task[None]] = []
        self._ticks = 0
        self._ids = 0

    # -- what clients note down (`Recorder`) ------------------------------------------------

    def tick(self) -> int:
        self._ticks += 1
        return self._ticks

    def clock(self) -> float:
        return self.time.monotonic()

    def open(self, session: Session) -> None:
        self.history.sessions.append(session)

    def fault(self, text: str) -> None:
        self.history.faults.append(text)

    # -- the hub ----------------------------------------------------------------------------

    async def begin(self) -> None:
        """A hub with an empty memory."""
        self.hub = Hub(auth=Nobody(), engine=self.engine, clock=self.time, options=self.options)
        self.lobby = Lobby(self.hub, tuple(self.history.rules), TYPES)
        self.centrifuge = Clients(self.hub)
        for rule in self.history.rules.values():
            self.hub.declare(Namespace(ChannelTemplate(rule.name), _options(rule), OpenGuard()))
        self.hub.declare(Namespace(ChannelTemplate(EVERYONE), ChannelOptions(), OpenGuard()))
        await self.hub.__aenter__()

    def people(self) -> None:
        """Some of every dialect."""
        draw = self.random
        channels = tuple(self.history.rules)
        for number in range(draw.randint(1, 3)):
            self.clients.append(
                PlainClient(self, f"plain-{number}", self.types(), draw.choice(channels))
            )
        for number in range(draw.randint(0, 2)):
            self.clients.append(RoomsClient(self, f"rooms-{number}", self.types(), self.lobby))
        for number in range(draw.randint(0, 2)):
            self.clients.append(
                CentrifugeClient(self, f"centrifuge-{number}", Wants(), self.centrifuge)
            )

    def types(self) -> Wants:
        draw = self.random
        return Wants(frozenset(draw.sample(TYPES, 2)) if draw.random() < 0.3 else None)

    async def restart(self) -> None:
        """The process ends, killed or with a goodbye, and another one takes its place."""
        self.give_up()
        if self.random.random() < 0.5:
            for client in self.clients:
                client.vanish()
        self.engine.hold()
        await settle(2)
        self.count()
        await self.hub.__aexit__(None, None, None)
        life = self.engine.life + 1
        self.engine = self._make_engine(self.time)
        self.engine.life = life
        await self.begin()
        for client in self.clients:
            if isinstance(client, RoomsClient):
                client.lobby = self.lobby
            elif isinstance(client, CentrifugeClient):
                client.clients = self.centrifuge

    def count(self) -> None:
        """Keep what this hub has counted: it is about to go."""
        outboxes = [
            c.link.connection.outbox for c in self.clients if c.connected and c.link.connection
        ]
        gone = self.hub.stats.superseded_or_dropped
        self.history.superseded += gone + sum(o.superseded + o.dropped for o in outboxes)

    # -- publishing -------------------------------------------------------------------------

    def message(self, channel: str | None = None) -> Message:
        """Something new to say."""
        draw = self.random
        self._ids += 1
        name = channel or draw.choice(tuple(self.history.rules))
        rule = self.history.rules[name]
        key = draw.choice(KEYS) if (rule.keyed or rule.conflates) and draw.random() < 0.8 else None
        removes = rule.keyed and key is not None and draw.random() < 0.1
        tags = {"shade": draw.choice(SHADES)} if draw.random() < 0.5 else {}
        size = 4 if removes else len(_body(self._ids, name, 0)) + draw.choice((0, 40, 200))
        return Message(self._ids, name, draw.choice(TYPES), key, tags, size, removes)

    def publish(self, message: Message, idempotency_key: str | None = None) -> None:
        attempt = Attempt(message, idempotency_key, self.engine.life, self.tick(), self.clock())
        self.history.attempts.append(attempt)
        task = asyncio.get_running_loop().create_task(self._publish(attempt))
        self.publishing = [*(t for t in self.publishing if not t.done()), task]

    def repeat(self) -> None:
        """Use a key again: soon with the same body or another one, later with another one."""
        draw = self.random
        keyed = [a for a in self.history.attempts if a.idempotency_key is not None]
        if not keyed:
            return
        earlier = draw.choice(keyed)
        first = next(a for a in keyed if a.idempotency_key == earlier.idempotency_key)
        rule = self.history.rules[earlier.message.channel]
        if not rule.history and first.life != self.engine.life:
            return  # said again, and nobody could tell: there are no positions
        fresh = self.clock() - first.clock < IDEMPOTENCY_WINDOW / 2
        if fresh and draw.random() < 0.8:
            self.publish(earlier.message, earlier.idempotency_key)
        else:
            self.publish(self.message(earlier.message.channel), earlier.idempotency_key)

    def give_up(self) -> None:
        """Whoever waits for an answer waits no more: whether it happened is unknown."""
        for task in self.publishing:
            task.cancel()

    async def _publish(self, attempt: Attempt) -> None:
        message = attempt.message
        bare = len(_body(message.id, message.channel, 0))
        body = None if message.removes else _body(message.id, message.channel, message.size - bare)
        try:
            attempt.position = await self.hub.publish(
                message.channel,
                message.type,
                None if body is None else json.loads(body),
                key=message.key,
                tags=message.tags or None,
                idempotency_key=attempt.idempotency_key,
            )
            attempt.outcome = Outcome.OK
        except (Unavailable, HubNotRunning):
            attempt.outcome = Outcome.REFUSED
        except Refused as refused:
            conflict = refused.code is codes.CONFLICT
            attempt.outcome = Outcome.CONFLICT if conflict else Outcome.REFUSED
        attempt.ended, attempt.done = self.tick(), self.clock()

    async def remove(self) -> None:
        """Take everything out of a channel's history."""
        channel = self.random.choice([r.name for r in self.history.rules.values() if r.history])
        try:
            await self.hub.remove_history(channel)
            top = (await self.hub.history(channel)).position
        except Unavailable:
            return
        self.history.removals.append((channel, top))

    async def read_page(self) -> None:
        """Ask for a page of history, as an HTTP client would."""
        draw = self.random
        channel = draw.choice([name for name, rule in self.history.rules.items() if rule.history])
        known = [c.places[channel] for c in self.clients if channel in c.places]
        since = draw.choice(known) if known and draw.random() < 0.7 else None
        limit, reverse = draw.choice((0, 3, 100)), draw.random() < 0.3
        try:
            page = await self.hub.history(channel, since, limit, reverse)
        except (Refused, Unavailable):
            return
        items = tuple((p.offset, _id(p.data)) for p in page.publications)
        self.history.pages.append(Page(channel, since, limit, reverse, page.position, items))


def _options(rule: Rule) -> ChannelOptions:
    policy = SlowPolicy.DISCONNECT
    if rule.conflates:
        policy = SlowPolicy.CONFLATE
    elif rule.drops:
        policy = SlowPolicy.DROP_OLDEST
    return ChannelOptions(
        history=rule.history,
        history_ttl=rule.ttl,
        history_bytes=rule.octets,
        on_slow=policy,
        keyed=rule.keyed,
    )


def _body(id: int, channel: str, padding: int) -> str:
    """Compact, as the hub encodes it: its length is what history counts."""
    return json.dumps({"id": id, "in": channel, "pad": "." * padding}, separators=(",", ":"))


def _id(data: bytes) -> int:
    body: Any = json.loads(data)
    return 0 if body is None else int(body["id"])


class _Errors(logging.Handler):
    def __init__(self, world: World) -> None:
        super().__init__(logging.ERROR)
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        self._world.fault(f"logged: {record.getMessage()} {error!r}")


@contextmanager
def overheard(world: World) -> Iterator[None]:
    """What is logged as an error, or escapes into the loop, is a fault of the run."""
    logger, loop = logging.getLogger("cardume"), asyncio.get_running_loop()
    handler, propagates, jitter = _Errors(world), logger.propagate, random.getstate()
    logger.addHandler(handler)
    logger.propagate = False
    loop.set_exception_handler(lambda _, context: world.fault(f"escaped: {context}"))
    random.seed(world.random.random())  # the hub's periodic jobs jitter with the global one
    try:
        yield
    finally:
        random.setstate(jitter)
        loop.set_exception_handler(None)
        logger.propagate = propagates
        logger.removeHandler(handler)
