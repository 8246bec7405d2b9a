"""One connection in many rooms: joining, resuming, one filter, and what others do to it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from cardume.auth.identity import Identity
from cardume.engines.memory import MemoryEngine
from cardume.errors import ConfigurationError, Invalid, Refused, Unavailable
from cardume.hub.broadcaster import Broadcaster
from cardume.hub.hub import Hub
from cardume.hub.namespaces import ChannelTemplate, Namespace
from cardume.hub.options import HubOptions
from cardume.hub.rooms import DIALECT, OPTIONS, Guest, Lobby
from cardume.testing import FakeClock
from cardume.testing.clock import settle
from cardume.wire import codes
from cardume.wire.events import EVERYONE, EventType
from tests.support.peers import ANNA, Frame, MemoryTransport, Nobody, OpenGuard, Peer, declare


class GatedEngine(MemoryEngine):
    """Reads history when it is told to, or says that it is away."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.gate.set()
        self.attach = asyncio.Event()
        self.attach.set()
        self.away = False

    async def subscribe(self, channel: str) -> None:
        await self.attach.wait()
        await super().subscribe(channel)

    async def replay(self, *arguments: Any) -> Any:
        if self.away:
            raise Unavailable("the engine is away")
        answer = await super().replay(*arguments)
        await self.gate.wait()
        return answer


class Visitor:
    """A client of a page of rooms, with all that it was sent."""

    def __init__(
        self, lobby: Lobby, identity: Identity = ANNA, client_id: str = "me", stalled: bool = False
    ) -> None:
        self.transport = MemoryTransport(stalled=stalled)
        self.connection = lobby.hub.connect(identity, DIALECT, self.transport)
        self.connection.client_id = client_id
        self.transport.attach(self.connection)
        self.guest = Guest(lobby, self.connection)
        self.transport.on_close = lambda: asyncio.get_running_loop().call_soon(self.leave)

    async def enter(self) -> Visitor:
        await self.guest.enter()
        return self

    async def say(self, action: str, **more: Any) -> Frame:
        """A message; its reply, wherever it stands among the frames."""
        before = len(self.frames)
        await self.guest.hear(json.dumps({"action": action, **more}))
        return next(f for f in self.frames[before:] if f["event_type"] == "reply")

    @property
    def frames(self) -> list[Frame]:
        return self.transport.frames

    def events(self) -> list[tuple[str | None, int]]:
        return [(f["room"], f["offset"]) for f in self.frames[1:] if f["event_type"] != "reply"]

    def leave(self) -> None:
        self.guest.lobby.hub.disconnect(self.connection)


@pytest.fixture
def engine() -> GatedEngine:
    return GatedEngine()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def lobby(engine: GatedEngine, clock: FakeClock) -> AsyncIterator[Lobby]:
    hub = Hub(
        auth=Nobody(),
        engine=engine,
        clock=clock,
        options=HubOptions(outbox_limit=8192, messages_per_minute=60),
    )
    made = Lobby(hub, ("lounge",), ("deploy_done",))
    for name in (*made.rooms, EVERYONE):
        hub.declare(Namespace(ChannelTemplate(name), OPTIONS, OpenGuard()))
    declare(hub, "room:{id}", history=10)
    async with hub:
        yield made


async def test_the_first_frame_is_connected(lobby: Lobby) -> None:
    visitor = await Visitor(lobby).enter()
    (frame,) = visitor.frames
    assert frame["event_type"] == "connected"
    assert frame["data"] == {
        "connection_id": visitor.connection.id,
        "client_id": "me",
        "expires_in": None,
    }


async def test_join_hear_and_leave(lobby: Lobby) -> None:
    visitor, other = await Visitor(lobby).enter(), await Visitor(lobby).enter()
    reply = await visitor.say("join", room="agents", id=1)
    assert (reply["success"], reply["message"], reply["id"]) == (True, "joined", 1)
    assert reply["data"].pop("epoch").isalnum()
    assert reply["data"] == {"room": "agents", "members": 1, "offset": 0}
    await other.say("join", room="agents")
    await lobby.hub.publish("agents", "agent_created", {})
    await lobby.hub.publish("tasks", "task_created", {})
    assert visitor.events() == [("agents", 1)]
    left = await visitor.say("leave", room="agents")
    assert (left["message"], left["data"]["members"], left["data"]["offset"]) == ("left", 1, 1)
    await lobby.hub.publish("agents", "agent_created", {})
    assert visitor.events() == [("agents", 1)]
    assert other.events() == [("agents", 1), ("agents", 2)]


async def test_joining_again_says_where_it_is_now(lobby: Lobby) -> None:
    visitor = await Visitor(lobby).enter()
    first = await visitor.say("join", room="agents")
    await lobby.hub.publish("agents", "agent_created", {})
    again = await visitor.say("join", room="agents")
    assert again["success"]
    assert again["data"] == {**first["data"], "offset": 1}
    assert lobby.hub.audience("agents") == 1
    since = {"epoch": first["data"]["epoch"], "offset": 0}
    resumed = await visitor.say("join", room="agents", data=since)
    assert (resumed["data"]["recovered"], resumed["data"]["offset"]) == (True, 0)
    assert visitor.events() == [("agents", 1), ("agents", 1)], "it said that it had lost its place"


async def test_leaving_where_it_is_not(lobby: Lobby) -> None:
    visitor = await Visitor(lobby).enter()
    reply = await visitor.say("leave", room="agents")
    assert (reply["success"], reply["data"]) == (False, {"code": "not_found"})


@pytest.mark.parametrize("room", ["nowhere", "rooms", "room:1", "no room", "\u00e9"])
@pytest.mark.parametrize("action", ["join", "leave"])
async def test_what_is_no_room_here(lobby: Lobby, room: str, action: str) -> None:
    visitor = await Visitor(lobby).enter()
    reply = await visitor.say(action, room=room)
    assert (reply["success"], reply["data"]) == (False, {"code": "unknown_channel"})
    assert "agents, tasks, coordination, system, lounge" in reply["message"]
    assert lobby.hub.connection(visitor.connection.id) is visitor.connection


async def test_resume_gives_what_was_missed_after_the_reply(lobby: Lobby) -> None:
    first = await lobby.hub.publish("agents", "agent_created", {})
    for _ in range(3):
        await lobby.hub.publish("agents", "agent_updated", {})
    visitor = await Visitor(lobby).enter()
    data = {"epoch": first.epoch, "offset": 1}
    await visitor.guest.hear(json.dumps({"action": "join", "room": "agents", "data": data}))
    await lobby.hub.publish("agents", "agent_updated", {})
    kinds = [frame["event_type"] for frame in visitor.frames]
    assert kinds[:3] == ["connected", "reply", "agent_updated"]
    assert visitor.frames[1]["data"]["recovered"]
    assert visitor.events() == [("agents", n) for n in (2, 3, 4, 5)]


@pytest.mark.parametrize("since", [{"epoch": "other", "offset": 1}, {"epoch": None, "offset": 9}])
async def test_resume_is_never_partial(lobby: Lobby, since: dict[str, Any]) -> None:
    top = await lobby.hub.publish("agents", "agent_created", {})
    since = {**since, "epoch": since["epoch"] or top.epoch}
    visitor = await Visitor(lobby).enter()
    reply = await visitor.say("join", room="agents", data=since)
    assert (reply["data"]["recovered"], reply["data"]["offset"]) == (False, 1)
    assert visitor.events() == []


async def test_no_gap_and_no_double_while_history_is_read(
    lobby: Lobby, engine: GatedEngine
) -> None:
    first = await lobby.hub.publish("agents", "agent_created", {})
    visitor = await Visitor(lobby).enter()
    live = await Visitor(lobby).enter()
    await live.say("join", room="agents")
    engine.gate.clear()
    data = {"epoch": first.epoch, "offset": 0}
    message = json.dumps({"action": "join", "room": "agents", "data": data})
    joining = asyncio.create_task(visitor.guest.hear(message))
    await settle()
    for _ in range(5):
        await lobby.hub.publish("agents", "agent_updated", {})
    assert visitor.events() == []
    engine.gate.set()
    await joining
    await lobby.hub.publish("agents", "agent_updated", {})
    assert visitor.events() == [("agents", n) for n in range(1, 8)]


async def test_a_join_that_fails_leaves_nothing_behind(lobby: Lobby, engine: GatedEngine) -> None:
    visitor = await Visitor(lobby).enter()
    engine.away = True
    reply = await visitor.say("join", room="agents", id=7)
    assert (reply["success"], reply["data"], reply["id"]) == (False, {"code": "not_available"}, 7)
    assert lobby.hub.audience("agents") == 0
    engine.away = False
    assert (await visitor.say("join", room="agents"))["success"]


async def test_two_joins_at_once_are_one_membership(lobby: Lobby, engine: GatedEngine) -> None:
    visitor = await Visitor(lobby).enter()
    engine.attach.clear()
    joins = [asyncio.create_task(visitor.connection.join("agents")) for _ in range(3)]
    await settle()
    engine.attach.set()
    results = await asyncio.gather(*joins, return_exceptions=True)
    assert sum(isinstance(result, Refused) for result in results) == 2
    assert lobby.hub.audience("agents") == 1
    await lobby.hub.publish("agents", "agent_created", {})
    assert visitor.events() == [("agents", 1)]


# -- the filter ---------------------------------------------------------------------------------


async def test_one_filter_for_all_rooms_and_for_none(lobby: Lobby) -> None:
    visitor = await Visitor(lobby).enter()
    await visitor.say("join", room="agents")
    reply = await visitor.say("subscribe", data={"event_types": ["agent_deleted", "deploy_done"]})
    assert (reply["message"], reply["data"]) == (
        "subscribed",
        {"event_types": ["agent_deleted", "deploy_done"], "rooms": ["agents"]},
    )
    await visitor.say("join", room="lounge")
    for room in ("agents", "lounge", EVERYONE):
        for type in ("agent_created", "agent_deleted", "deploy_done"):
            await lobby.hub.publish(room, type, {})
    assert visitor.events() == [(room, n) for room in ("agents", "lounge", None) for n in (2, 3)]
    fewer = await visitor.say("unsubscribe", data={"event_types": ["deploy_done"]})
    assert fewer["data"]["event_types"] == ["agent_deleted"]
    everything = await visitor.say("unsubscribe", data={"event_types": ["agent_deleted"]})
    assert everything["data"] == {"event_types": [], "rooms": ["agents", "lounge"]}
    await lobby.hub.publish("agents", "agent_created", {})
    assert visitor.events()[-1] == ("agents", 4)


@pytest.mark.parametrize("action", ["subscribe", "unsubscribe"])
async def test_an_empty_list_is_no_filter(lobby: Lobby, action: str) -> None:
    visitor = await Visitor(lobby).enter()
    await visitor.say("subscribe", data={"event_types": ["error"]})
    assert (await visitor.say(action, data={"event_types": []}))["data"]["event_types"] == []
    await lobby.hub.publish(EVERYONE, "alert_triggered", {})
    assert visitor.events() == [(None, 1)]


@pytest.mark.parametrize("action", ["subscribe", "unsubscribe"])
async def test_a_type_that_is_none(lobby: Lobby, action: str) -> None:
    visitor = await Visitor(lobby).enter()
    reply = await visitor.say(action, data={"event_types": ["agent_created", "dance"]})
    assert (reply["success"], reply["data"]) == (False, {"code": "unknown_type"})
    assert "agent_created" in reply["message"]
    assert "deploy_done" in reply["message"]
    assert (await visitor.say("info"))["data"]["event_types"] == []


@pytest.mark.parametrize("gate", ["attach", "gate"])
async def test_a_filter_set_while_a_join_is_under_way_holds_there_too(
    lobby: Lobby, engine: GatedEngine, gate: str
) -> None:
    visitor = await Visitor(lobby).enter()
    closed: asyncio.Event = getattr(engine, gate)
    closed.clear()
    joining = asyncio.create_task(visitor.connection.join("agents"))
    await settle()
    visitor.connection.subscribe(["agent_deleted"])
    closed.set()
    await joining
    await lobby.hub.publish("agents", "agent_created", {})
    await lobby.hub.publish("agents", "agent_deleted", {})
    assert visitor.events() == [("agents", 2)]


# -- other commands -----------------------------------------------------------------------------


async def test_info(lobby: Lobby, clock: FakeClock) -> None:
    visitor = await Visitor(lobby).enter()
    visitor.connection.metadata["desk"] = 7
    await visitor.say("join", room="tasks")
    data = (await visitor.say("info"))["data"]
    assert data.pop("connected_at").endswith("Z")
    assert data == {
        "connection_id": visitor.connection.id,
        "client_id": "me",
        "rooms": ["tasks"],
        "event_types": [],
        "metadata": {"desk": 7},
        "messages_sent": visitor.connection.messages_sent,
        "messages_received": 2,
    }


async def test_two_connections_may_share_a_label(lobby: Lobby) -> None:
    one, other = await Visitor(lobby).enter(), await Visitor(lobby).enter()
    assert one.connection.client_id == other.connection.client_id
    assert one.connection.id != other.connection.id
    await one.say("join", room="agents")
    await lobby.hub.publish("agents", "agent_created", {})
    assert (one.events(), other.events()) == ([("agents", 1)], [])


async def test_heartbeat_runs_the_action(lobby: Lobby) -> None:
    visitor = await Visitor(lobby).enter()
    reply = await visitor.say("heartbeat", data={"agent_id": "a1"})
    assert (reply["success"], reply["data"]) == (False, {"code": "method_not_found"})

    @lobby.hub.action("heartbeat")
    async def heartbeat(identity: Identity, body: dict[str, Any]) -> dict[str, Any]:
        return {"by": identity.sub, **body}

    reply = await visitor.say("heartbeat", data={"agent_id": "a1"})
    assert (reply["success"], reply["data"]) == (True, {"by": "anna", "agent_id": "a1"})


async def test_who_speaks_is_heard_in_every_dialect(lobby: Lobby) -> None:
    heard: list[str] = []
    lobby.hub.on_speech(lambda identity: heard.append(identity.sub))
    visitor = await Visitor(lobby, Identity("agent-7")).enter()
    plain = await Peer(lobby.hub).enter("room:1")
    await visitor.say("ping")
    await visitor.guest.hear("nonsense")
    await plain.say({"type": "ping"})
    assert heard == ["agent-7", "agent-7", "anna"]


async def renew(identity: Identity, body: dict[str, Any]) -> dict[str, Any]:
    return body


async def test_signs_of_life_are_free_and_the_rest_is_bounded(lobby: Lobby) -> None:
    visitor = await Visitor(lobby).enter()
    for _ in range(100):
        assert (await visitor.say("ping"))["message"] == "pong"
    lobby.hub.action("heartbeat")(renew)
    for _ in range(100):
        assert (await visitor.say("heartbeat", data={"agent_id": "a1"}))["success"]
    for _ in range(60):
        assert (await visitor.say("info"))["success"]
    reply = await visitor.say("info", id=5)
    assert (reply["success"], reply["data"], reply["id"]) == (False, {"code": "rate_limited"}, 5)


async def test_the_last_frame_says_why(lobby: Lobby) -> None:
    visitor = await Visitor(lobby).enter()
    for _ in range(21):
        await visitor.guest.hear("nonsense")
    last = visitor.frames[-1]
    assert (last["event_type"], last["data"]) == (
        "disconnected",
        {"code": 3509, "reason": "too many errors"},
    )
    assert len([f for f in visitor.frames if f.get("success") is False]) == 21


async def test_a_slow_reader_gets_nothing_but_the_reason(lobby: Lobby) -> None:
    slow = await Visitor(lobby, stalled=True).enter()
    await slow.connection.join("agents")
    for n in range(200):
        await lobby.hub.publish("agents", "agent_updated", {"n": n, "filling": "x" * 100})
    assert slow.connection.close_code is codes.SLOW
    slow.transport.read()
    assert [(f["event_type"], f["data"]) for f in slow.frames] == [
        ("disconnected", {"code": 3008, "reason": "slow"})
    ]


async def test_a_full_outbox_still_says_goodbye(lobby: Lobby) -> None:
    visitor = await Visitor(lobby, stalled=True).enter()
    while visitor.connection.outbox.size < 8192 - 200:
        visitor.connection.send("note", {"a": "x" * 20})
    visitor.connection.close(codes.SHUTDOWN)
    visitor.transport.read()
    assert visitor.frames[0]["event_type"] == "connected"
    assert visitor.frames[-1]["event_type"] == "disconnected"


# -- from the application -----------------------------------------------------------------------


async def test_the_application_moves_a_client(lobby: Lobby) -> None:
    visitor = await Visitor(lobby).enter()
    here = lobby.hub.connection(visitor.connection.id)
    assert here is not None
    await here.join("agents")
    await here.join("agents")
    assert lobby.members() == {"agents": 1}
    here.subscribe([EventType.AGENT_CREATED])
    await lobby.hub.publish("agents", "agent_updated", {})
    await lobby.hub.publish("agents", "agent_created", {})
    assert visitor.events() == [("agents", 2)]
    here.unsubscribe()
    assert here.types is None
    assert here.leave("agents")
    assert not here.leave("agents")
    assert lobby.members() == {}
    here.subscribe(["agent_created"])
    assert here.send("note", {"for": "you"}, source="desk")
    note = visitor.frames[-1]
    assert (note["event_type"], note["data"], note["source"]) == ("note", {"for": "you"}, "desk")
    with pytest.raises(Invalid):
        here.send("reply", {})
    with pytest.raises(Refused):
        await here.join("nowhere")
    with pytest.raises(Refused):
        here.subscribe(f"t{n}" for n in range(65))


async def test_a_plain_connection_keeps_its_one_channel(lobby: Lobby) -> None:
    peer = await Peer(lobby.hub).enter("room:1")
    with pytest.raises(Refused):
        await peer.connection.join("room:2")
    with pytest.raises(Refused):
        peer.connection.leave("room:1")
    peer.connection.subscribe(["a"])
    await lobby.hub.publish("room:1", "b", {})
    await lobby.hub.publish("room:1", "a", {})
    assert peer.offsets() == [2]
    assert peer.connection.send("hello", {"n": 1})
    assert (peer.frames[-1]["type"], peer.frames[-1]["data"]) == ("hello", {"n": 1})
    with pytest.raises(Invalid):
        peer.connection.send("connected", {})


async def test_events_of_rooms_may_be_called_what_plain_keeps_for_itself(lobby: Lobby) -> None:
    await lobby.hub.publish("agents", "connected", {})
    await lobby.hub.publish(EVERYONE, "error", {})
    for channel, type in (("agents", "reply"), ("room:1", "connected")):
        with pytest.raises(Invalid, match="the hub's own"):
            await lobby.hub.publish(channel, type, {})


@pytest.mark.parametrize(
    ("rooms", "events"),
    [
        (["agents"], []),
        (["rooms"], []),
        (["x", "x"], []),
        ([], ["Deploy"]),
        ([], ["7up"]),
        ([], ["reply"]),
        ([], ["x" * 65]),
        ([], [""]),
    ],
)
async def test_names_that_are_none(rooms: list[str], events: list[str]) -> None:
    with pytest.raises(ConfigurationError):
        Lobby(Hub(auth=Nobody()), rooms, events)


# -- the broadcaster ----------------------------------------------------------------------------

AGENT = {"agent_id": "a1", "status": "active"}
MOVED = {"old_status": "assigned", "new_status": "started"}

CALLS: list[tuple[str, tuple[Any, ...], str, str, dict[str, Any]]] = [
    ("agent_created", (AGENT,), "agent_created", "agents", AGENT),
    ("agent_updated", (AGENT,), "agent_updated", "agents", AGENT),
    ("agent_deleted", ("a1",), "agent_deleted", "agents", {"agent_id": "a1"}),
    (
        "agent_status_changed",
        ("a1", "active", "paused"),
        "agent_status_changed",
        "agents",
        {"agent_id": "a1", "old_status": "active", "new_status": "paused"},
    ),
    (
        "agent_action",
        ("a1", "start", {"ok": True}),
        "agent_action",
        "agents",
        {"agent_id": "a1", "action": "start", "result": {"ok": True}},
    ),
    (
        "task_created",
        ({"task_id": "t1", "status": "created"},),
        "task_created",
        "tasks",
        {"task_id": "t1", "status": "created", "old_status": None, "new_status": "created"},
    ),
    (
        "task_status_changed",
        ("t1", "assigned", "started"),
        "task_started",
        "tasks",
        {"task_id": "t1", **MOVED},
    ),
    (
        "election_triggered",
        (),
        "election_triggered",
        "coordination",
        {"term": None, "reason": None},
    ),
    ("leader_elected", ("a1", 3), "leader_elected", "coordination", {"leader_id": "a1", "term": 3}),
    (
        "consensus_proposed",
        ({"proposal_id": "p1"},),
        "consensus_proposed",
        "coordination",
        {"proposal_id": "p1"},
    ),
    (
        "consensus_decided",
        ("p1", "approved", 0.75),
        "consensus_decided",
        "coordination",
        {"proposal_id": "p1", "decision": "approved", "approval_rate": 0.75},
    ),
    (
        "health_changed",
        ("healthy", None),
        "health_changed",
        "system",
        {"status": "healthy", "details": {}},
    ),
    ("metrics_updated", ({"n": 1},), "metrics_updated", "system", {"n": 1}),
    (
        "alert_triggered",
        ("warning", "cpu", {"cpu": 95}),
        "alert_triggered",
        "system",
        {"level": "warning", "message": "cpu", "details": {"cpu": 95}},
    ),
    ("custom_event", ("deploy_done", {"n": 1}, "lounge", "ci"), "deploy_done", "lounge", {"n": 1}),
]


def test_the_fifteen() -> None:
    names = {name for name in vars(Broadcaster) if name.startswith("broadcast_")}
    assert names == {f"broadcast_{call[0]}" for call in CALLS}
    assert len(names) == 15


@pytest.mark.parametrize(("name", "arguments", "event", "room", "data"), CALLS)
async def test_each_says_its_event_in_its_room(
    lobby: Lobby, name: str, arguments: tuple[Any, ...], event: str, room: str, data: Any
) -> None:
    here, filtered, elsewhere = [await Visitor(lobby).enter() for _ in range(3)]
    await here.connection.join(room)
    await filtered.connection.join(room)
    filtered.connection.subscribe(["error"])
    call = getattr(Broadcaster(lobby.hub), f"broadcast_{name}")
    assert await call(*arguments) == 1
    frame = here.frames[-1]
    assert (frame["event_type"], frame["room"], frame["data"]) == (event, room, data)
    assert len(filtered.frames) == len(elsewhere.frames) == 1


@pytest.mark.parametrize(
    ("status", "event"),
    [
        ("created", "task_created"),
        ("assigned", "task_assigned"),
        ("running", "task_started"),
        ("completed", "task_completed"),
        ("failed", "task_failed"),
        ("cancelled", "task_cancelled"),
    ],
)
async def test_the_event_of_a_task_follows_from_its_status(
    lobby: Lobby, status: str, event: str
) -> None:
    visitor = await Visitor(lobby).enter()
    await visitor.connection.join("tasks")
    broadcaster = Broadcaster(lobby.hub)
    assert await broadcaster.broadcast_task_status_changed("t", None, status) == 1
    assert visitor.frames[-1]["event_type"] == event


async def test_what_the_broadcaster_refuses(lobby: Lobby) -> None:
    broadcaster = Broadcaster(lobby.hub)
    with pytest.raises(Invalid):
        await broadcaster.broadcast_task_status_changed("t", None, "lost")
    with pytest.raises(Invalid):
        await broadcaster.broadcast_consensus_decided("p", "perhaps", 0.5)
    with pytest.raises(Invalid):
        await broadcaster.broadcast_custom_event("never_registered", {})
    with pytest.raises(Invalid):
        await broadcaster.broadcast_agent_created([1])
    with pytest.raises(Refused):
        await broadcaster.broadcast_custom_event("deploy_done", {}, "nowhere")


async def test_everyone_and_who_is_still_reading_count(lobby: Lobby, engine: GatedEngine) -> None:
    broadcaster = Broadcaster(lobby.hub)
    assert await broadcaster.broadcast_custom_event("deploy_done") == 0
    for _ in range(3):
        await Visitor(lobby).enter()
    engine.gate.clear()
    late = Visitor(lobby)
    entering = asyncio.create_task(late.enter())
    await settle()
    assert await broadcaster.broadcast_custom_event("deploy_done") == 4
    engine.gate.set()
    await entering
    assert [frame["event_type"] for frame in late.frames] == ["connected", "deploy_done"]
