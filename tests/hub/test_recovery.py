"""The promise of DESIGN §4 under random interleavings, checked as reliability.md §3 words it.

Publishes, joins, resumes, slow snapshots, slow reads of history, late and duplicated delivery in
any order. The invariants hold over everything any client saw:

I1  position and message belong to each other, one to one
I2  inside a session offsets rise by one
I3  after `recovered: true` the first is the one after `since`
I4  whoever is live when all has arrived has everything from its beginning to the top
I10 `recovered: true` is said whenever history allows it; without trimming, always
"""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from cardume.hub.hub import Hub
from cardume.testing import FakeClock
from cardume.testing.clock import settle
from cardume.wire.messages import Position
from tests.hub.sdk import Client
from tests.support.engines import LateEngine
from tests.support.peers import Frame, Nobody, Peer, declare

HISTORY = 12
CHANNEL = "board:1"


class Session:
    """One visit of one client: where it began, and what it saw."""

    def __init__(self, peer: Peer, since: Position | None, joining: asyncio.Task[Peer]) -> None:
        self.peer = peer
        self.since = since
        self.joining = joining

    @property
    def connected(self) -> Frame | None:
        return self.peer.frames[0]["data"] if self.peer.frames else None

    @property
    def begins_at(self) -> int:
        assert self.connected is not None
        offset: int = self.connected["offset"]
        return offset

    def position(self) -> Position | None:
        """What the client would resume from."""
        if self.connected is None:
            return None
        return Position(self.connected["epoch"], (self.peer.offsets() or [self.begins_at])[-1])

    def check(self, published: dict[int, int]) -> None:
        frames = self.peer.frames
        if not frames:
            return
        assert frames[0]["type"] == "connected"
        assert self.connected is not None
        recovered = self.connected["recovered"]
        offsets = self.peer.offsets()
        assert offsets == list(range(self.begins_at + 1, self.begins_at + 1 + len(offsets)))  # I2
        for frame in self.peer.of_type("m"):
            assert published[frame["offset"]] == frame["data"]["id"]  # I1
        snapshots = self.peer.of_type("snapshot")
        if recovered:
            assert self.since is not None
            assert self.begins_at == self.since.offset  # I3
            assert snapshots == []
        else:
            assert len(snapshots) == 1
            assert snapshots[0]["offset"] == self.begins_at
            # The snapshot holds everything up to its position, perhaps more.
            held = snapshots[0]["data"]["ids"]
            assert held[: self.begins_at] == [published[n + 1] for n in range(self.begins_at)]


class Recovery(RuleBasedStateMachine):
    """Clients, one channel, and an engine whose announcements travel."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.published: dict[int, int] = {}
        self.ids: list[int] = []
        self.sessions: list[Session] = []
        self.runner.run(self.begin())

    async def begin(self) -> None:
        self.clock = FakeClock()
        self.engine = LateEngine(self.clock)
        self.hub = Hub(auth=Nobody(), engine=self.engine, clock=self.clock)
        self.snapshot_gate = asyncio.Event()
        self.snapshot_gate.set()
        declare(self.hub, "board:{id}", snapshot=self.snapshot, history=HISTORY)
        await self.hub.__aenter__()

    async def snapshot(self, id: str) -> dict[str, Any]:
        await self.snapshot_gate.wait()
        return {"ids": list(self.ids)}

    def teardown(self) -> None:
        self.runner.run(self.end())
        self.runner.close()

    async def end(self) -> None:
        self.snapshot_gate.set()
        self.engine.replay_gate.set()
        self.engine.arrive(len(self.engine.on_the_way))
        await settle()
        self.engine.arrive(len(self.engine.on_the_way))
        await settle()
        for session in self.sessions:
            session.check(self.published)
            if session.peer.live and session.joining.done():
                last = session.position()
                assert last is not None
                assert last.offset == len(self.ids)  # I4
        for session in self.sessions:
            session.peer.leave()
            session.joining.cancel()
        await self.hub.__aexit__(None, None, None)
        await asyncio.gather(*(s.joining for s in self.sessions), return_exceptions=True)

    # -- what may happen ------------------------------------------------------------------

    @rule(count=st.integers(1, 4))
    def publish(self, count: int) -> None:
        async def step() -> None:
            for _ in range(count):
                id = len(self.ids) + 1000
                self.ids.append(id)
                position = await self.hub.publish(CHANNEL, "m", {"id": id})
                self.published[position.offset] = id

        self.runner.run(step())

    @rule(count=st.integers(1, 4))
    def arrive(self, count: int) -> None:
        self.act(lambda: self.engine.arrive(count))

    @precondition(lambda self: self.engine.on_the_way)
    @rule()
    def arrive_twice(self) -> None:
        def step() -> None:
            first = self.engine.on_the_way[0]
            self.engine.arrive()
            self.engine.on_the_way.appendleft(first)
            self.engine.arrive()

        self.act(step)

    @rule(since=st.sampled_from(["none", "last", "older", "future", "foreign"]), data=st.data())
    def join(self, since: str, data: st.DataObject) -> None:
        position = None
        seen = [p for s in self.sessions if (p := s.position()) is not None]
        if since != "none" and seen:
            position = data.draw(st.sampled_from(seen))
            match since:
                case "older":
                    position = Position(position.epoch, max(0, position.offset - 3))
                case "future":
                    position = Position(position.epoch, len(self.ids) + 1)
                case "foreign":
                    position = Position("foreign", position.offset)
        self.runner.run(self.enter(position))

    async def enter(self, since: Position | None) -> None:
        peer = Peer(self.hub)
        joining = asyncio.get_running_loop().create_task(peer.enter(CHANNEL, since))
        self.sessions.append(Session(peer, since, joining))
        await settle()

    @precondition(lambda self: any(session.peer.live for session in self.sessions))
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        live = [session for session in self.sessions if session.peer.live]
        session = data.draw(st.sampled_from(live))

        def step() -> None:
            session.peer.leave()
            session.peer.transport.stalled = True
            session.joining.cancel()
            self.sessions.remove(session)
            session.check(self.published)

        self.act(step)

    @rule(held=st.booleans())
    def snapshots_are_slow(self, held: bool) -> None:
        self.act(self.snapshot_gate.clear if held else self.snapshot_gate.set)

    @rule(held=st.booleans(), stale=st.booleans())
    def reads_are_slow(self, held: bool, stale: bool) -> None:
        self.engine.stale = stale
        self.act(self.engine.replay_gate.clear if held else self.engine.replay_gate.set)

    def act(self, step: Any) -> None:
        async def run() -> None:
            step()
            await settle()

        self.runner.run(run())

    @invariant()
    def nobody_saw_anything_wrong(self) -> None:
        for session in self.sessions:
            session.check(self.published)
            assert session.peer.code in (None, 3010)


class Prompt(Recovery):
    """The same with an engine that announces at once: here nobody is ever told to start over."""

    @initialize()
    def prompt(self) -> None:
        self.engine.prompt = True

    @invariant()
    def nobody_is_cut(self) -> None:
        assert all(session.peer.live for session in self.sessions)

    @invariant()
    def recovered_whenever_history_allows(self) -> None:
        for session in self.sessions:
            connected, since = session.connected, session.since
            if connected is None or since is None or since.epoch != connected["epoch"]:
                continue
            missed = connected["offset"] - since.offset
            assert connected["recovered"] or not 0 <= missed <= HISTORY  # I10


async def test_missed_publications_with_many_tags_do_not_burst_the_outbox() -> None:
    async with Hub(auth=Nobody(), clock=FakeClock()) as hub:
        declare(hub, "board:{id}", history=300)
        tags = {f"tag {n}": "v" * 200 for n in range(15)}
        first = await hub.publish(CHANNEL, "m", 0)
        for _ in range(299):
            await hub.publish(CHANNEL, "m", "x" * 1200, tags=tags)
        client = Client(hub, stalled=True)
        entry = await client.subscribe(CHANNEL, first)
        assert client.live, "and not cut with 3008, each time it comes back"
        assert not entry.recovered
        few = Client(hub, stalled=True)
        assert (await few.subscribe(CHANNEL, Position(first.epoch, 200))).recovered
        assert few.live


async def test_a_double_does_not_stand_for_what_got_lost() -> None:
    clock = FakeClock()
    engine = LateEngine(clock)
    async with Hub(auth=Nobody(), engine=engine, clock=clock) as hub:
        declare(hub, "board:{id}", history=HISTORY)
        engine.replay_gate.clear()
        engine.stale = True
        peer = Peer(hub)
        joining = asyncio.create_task(peer.enter(CHANNEL))
        await settle()
        for id in (1, 2):
            await hub.publish(CHANNEL, "m", {"id": id})
        engine.on_the_way.popleft()
        engine.on_the_way.append(engine.on_the_way[0])
        engine.arrive(2)
        engine.replay_gate.set()
        await joining
        assert (peer.code, peer.offsets()) == (3010, [])


TestRecovery = Recovery.TestCase
TestRecovery.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
TestPromptRecovery = Prompt.TestCase
TestPromptRecovery.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
