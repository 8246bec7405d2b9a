"""Clients of the centrifuge dialect: who may, what is resumed, tokens that end, pings."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from types import MappingProxyType
from typing import Any

import pytest
from starlette.exceptions import HTTPException

from cardume.auth.identity import Identity
from cardume.auth.tokens import build_verifier
from cardume.errors import Refused, Unavailable
from cardume.hub.centrifuge.clients import DIALECT, Client, Clients
from cardume.hub.centrifuge.commands import lifetime
from cardume.hub.hub import Hub
from cardume.hub.namespaces import ChannelOptions, ChannelTemplate, Namespace
from cardume.hub.options import HubOptions
from cardume.testing import FakeClock
from cardume.testing.clock import settle
from cardume.wire import codes
from cardume.wire.messages import Connect, Position
from tests.support.house import SECRET, token
from tests.support.peers import ANNA, Frame, MemoryTransport, OpenGuard, declare


class Closed(OpenGuard):
    """Lets nobody in."""

    async def check(self, identity: Identity, parameters: Any, scope: Any) -> None:
        raise Refused(codes.PERMISSION_DENIED, "not by this door")


class Peer:
    """One client, with all that it was sent."""

    def __init__(
        self,
        clients: Clients,
        identity: Identity = ANNA,
        *,
        since: Mapping[str, Position | None] | None = None,
        rest: str = "",
        stalled: bool = False,
    ) -> None:
        self.hub = clients.hub
        self.transport = MemoryTransport(stalled=stalled)
        self.connection = self.hub.connect(identity, DIALECT, self.transport)
        self.transport.attach(self.connection)
        connect = Connect(id=1, since=since or {})
        self.client: Client = clients.admit(self.connection, {}, connect, rest)
        self.transport.on_close = lambda: asyncio.get_running_loop().call_soon(self.leave)
        self._clients = clients
        self._id = 1

    async def enter(self) -> Peer:
        await self.client.enter()
        return self

    async def say(self, **command: Any) -> Frame:
        """A command; its reply, wherever it stands among the frames."""
        self._id += 1
        before = len(self.frames)
        await self.client.hear(json.dumps({"id": self._id, **command}))
        found = [f for f in self.frames[before:] if f.get("id") == self._id]
        assert len(found) == 1, self.frames[before:]
        return found[0]

    async def subscribe(self, channel: str, **more: Any) -> Frame:
        return await self.say(subscribe={"channel": channel, **more})

    async def hear(self, text: str) -> None:
        await self.client.hear(text)

    @property
    def frames(self) -> list[Frame]:
        return self.transport.frames

    @property
    def code(self) -> int | None:
        code = self.transport.close_code
        return None if code is None else code.number

    @property
    def pushes(self) -> list[Frame]:
        return [frame["push"] for frame in self.frames if "push" in frame]

    def said(self, channel: str = "room:1") -> list[Any]:
        """The data of what was published there."""
        pushes = [push for push in self.pushes if push.get("channel") == channel]
        return [push["pub"]["data"] for push in pushes if "pub" in push]

    def leave(self) -> None:
        self.hub.disconnect(self.connection)
        self._clients.forget(self.client)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(start=time.time())  # tokens of the house are minted by the machine's clock


@pytest.fixture
async def hub(clock: FakeClock) -> AsyncIterator[Hub]:
    made = Hub(
        auth=build_verifier(clock=clock, secret=SECRET),
        clock=clock,
        options=HubOptions(
            outbox_limit=64 * 1024,
            channels_per_connection=8,
            messages_per_minute=60,
            undeclared=ChannelOptions(),
        ),
    )
    declare(made, "room:{id}", history=20, presence=True, presence_grace=0.0, client_publish=True)
    declare(made, "quiet:{id}")
    declare(made, "keyed:{id}", history=20, keyed=True)

    async def state(id: str) -> dict[str, str]:
        if id == "gone":
            raise HTTPException(404, "no such board")
        return {"board": id}

    declare(made, "board:{id}", history=20, snapshot=state)
    options = ChannelOptions(history=20)
    made.declare(Namespace(ChannelTemplate("vault:{id}"), options, Closed()))

    @made.action("echo")
    async def echo(identity: Identity, body: dict[str, Any]) -> dict[str, Any]:
        return {"by": identity.sub, **body}

    async with made:
        yield made


@pytest.fixture
def clients(hub: Hub) -> Clients:
    return Clients(hub)


@pytest.fixture
async def peer(clients: Clients) -> Peer:
    return await Peer(clients).enter()


def identity(sub: str = "anna", **claims: Any) -> Identity:
    channels = tuple(claims.get("channels", ()))
    return Identity(sub, channels=channels, claims=MappingProxyType(claims))


def error(frame: Frame) -> int:
    number: int = frame["error"]["code"]
    return number


# -- connecting ---------------------------------------------------------------------------------


async def test_the_answer_to_connect(peer: Peer, clock: FakeClock) -> None:
    (frame,) = peer.frames
    assert frame == {
        "id": 1,
        "connect": {
            "client": peer.connection.id,
            "version": "cardume",
            "ping": 25,
            "pong": True,
            "time": round(clock.now() * 1000),
        },
    }


async def test_a_second_connect_ends_it(peer: Peer) -> None:
    await peer.hear('{"id":2,"connect":{}}')
    assert peer.code == 3501


async def test_commands_in_the_frame_of_connect_are_answered_after_it(clients: Clients) -> None:
    peer = await Peer(clients, rest='{"id":2,"subscribe":{"channel":"room:1"}}\n').enter()
    assert [frame["id"] for frame in peer.frames if "id" in frame] == [1, 2]


async def test_the_claim_subs_puts_it_on_channels(clients: Clients, hub: Hub) -> None:
    who = identity(subs={"vault:1": {}, "room:1": {}, "no such:name": {}, "room:": {}})
    peer = await Peer(clients, who).enter()
    assert set(peer.frames[0]["connect"]["subs"]) == {"vault:1", "room:1"}
    assert peer.frames[0]["connect"]["subs"]["vault:1"]["recoverable"] is True
    await hub.publish("vault:1", None, "secret")
    assert peer.said("vault:1") == ["secret"]
    assert hub.rejects.counts["server_side_subscription"] == 2


async def test_server_side_subscriptions_are_resumed(clients: Clients, hub: Hub) -> None:
    first = await hub.publish("room:1", None, 1)
    await hub.publish("room:1", None, 2)
    who = identity(subs={"room:1": {}, "quiet:1": {}})
    since = {"room:1": first, "other:1": first}
    peer = await Peer(clients, who, since=since).enter()
    sub = peer.frames[0]["connect"]["subs"]["room:1"]
    assert (sub["recovered"], sub["offset"]) == (True, 1)
    assert [pub["data"] for pub in sub["publications"]] == [2]
    assert peer.frames[0]["connect"]["subs"]["quiet:1"] == {}


async def test_what_many_server_side_channels_missed_stays_within_the_outbox(
    clients: Clients, hub: Hub
) -> None:
    tops = {f"room:{n}": await hub.publish(f"room:{n}", None, 0) for n in range(6)}
    for name in tops:
        await hub.publish(name, None, "x" * 12_000)
    peer = await Peer(clients, identity(subs={name: {} for name in tops}), since=tops).enter()
    subs = peer.frames[0]["connect"]["subs"].values()
    recovered = [sub.get("recovered", False) for sub in subs]
    assert recovered == [True, True, False, False, False, False]
    assert all(sub["was_recovering"] for sub in subs)


# -- who may subscribe --------------------------------------------------------------------------


async def test_by_the_channels_own_function(peer: Peer) -> None:
    assert "subscribe" in await peer.subscribe("room:1")
    refused = await peer.subscribe("vault:1")
    assert refused["error"] == {"code": 103, "message": "not by this door"}


async def test_by_the_connection_tokens_claim(clients: Clients) -> None:
    peer = await Peer(clients, identity(channels=["vault:*", "wild:*"])).enter()
    assert "subscribe" in await peer.subscribe("vault:1")
    assert await peer.subscribe("wild:7") == {"id": 3, "subscribe": {}}
    assert error(await peer.subscribe("tame:7")) == 103


async def test_by_a_subscription_token(peer: Peer, hub: Hub) -> None:
    shown = token(channel="vault:1", ttl=100)
    frame = await peer.subscribe("vault:1", token=shown)
    assert frame["subscribe"]["expires"] is True
    assert 75 <= frame["subscribe"]["ttl"] <= 80


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"channel": "vault:2"}, 103),
        ({}, 103),
        ({"channel": "vault:1", "sub": "bert"}, 103),
    ],
)
async def test_a_token_of_another_channel_or_user(
    peer: Peer, claims: dict[str, Any], code: int
) -> None:
    assert error(await peer.subscribe("vault:1", token=token(**claims))) == code


async def test_a_bad_token_is_not_made_up_for_by_an_open_door(peer: Peer) -> None:
    assert error(await peer.subscribe("room:1", token="nonsense")) == 103
    assert "room:1" not in peer.connection.subscriptions


async def test_an_expired_subscription_token(peer: Peer, clock: FakeClock) -> None:
    shown = token(channel="vault:1", ttl=5)
    await clock.advance(10)
    assert error(await peer.subscribe("vault:1", token=shown)) == 109


async def test_names_that_are_none(peer: Peer) -> None:
    assert error(await peer.subscribe("room:a b")) == 107
    assert error(await peer.subscribe("room:")) == 107
    assert error(await peer.subscribe("board:gone")) == 404


async def test_unknown_channels(clock: FakeClock) -> None:
    async with Hub(auth=build_verifier(clock=clock, secret=SECRET), clock=clock) as bare:
        peer = await Peer(Clients(bare)).enter()
        assert error(await peer.subscribe("nobody:1")) == 102


async def test_once_is_enough(peer: Peer) -> None:
    await peer.subscribe("room:1")
    assert error(await peer.subscribe("room:1")) == 105
    for number in range(2, 9):
        await peer.subscribe(f"room:{number}")
    assert error(await peer.subscribe("room:9")) == 106
    assert (await peer.say(unsubscribe={"channel": "room:1"}))["unsubscribe"] == {}
    assert "subscribe" in await peer.subscribe("room:9")


# -- what a subscriber is told ------------------------------------------------------------------


async def test_publications_go_to_every_subscriber_as_one_frame(clients: Clients, hub: Hub) -> None:
    peers = [await Peer(clients).enter() for _ in range(3)]
    for each in peers:
        await each.subscribe("room:1")
        each.transport.stalled = True
    await hub.publish("room:1", "said", {"n": 1})
    frames = {id(each.connection.outbox.take()) for each in peers}
    assert len(frames) == 1


async def test_a_snapshot_is_no_publication(peer: Peer) -> None:
    frame = (await peer.subscribe("board:7"))["subscribe"]
    assert frame["data"] == {"snapshot": {"board": "7"}}
    assert "publications" not in frame
    answer = await peer.say(rpc={"method": "snapshot", "data": {"channel": "board:7"}})
    assert answer["rpc"]["data"] == {"snapshot": {"board": "7"}}


async def test_a_snapshot_without_a_json_form_is_a_bug_of_ours(
    peer: Peer, hub: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    async def state() -> object:
        return object()

    declare(hub, "odd", history=20, snapshot=state)
    assert error(await peer.subscribe("odd")) == 100
    assert "odd" not in peer.connection.subscriptions
    assert error(await peer.say(rpc={"method": "snapshot", "data": {"channel": "odd"}})) == 100
    assert caplog.text.count("a snapshot without a JSON form") >= 2


async def test_resuming_needs_no_snapshot(peer: Peer, hub: Hub) -> None:
    position = await hub.publish("board:7", None, 1)
    await hub.publish("board:7", None, 2)
    where = {"recover": True, "epoch": position.epoch, "offset": position.offset}
    frame = (await peer.subscribe("board:7", **where))["subscribe"]
    assert (frame["recovered"], frame["was_recovering"], frame["offset"]) == (True, True, 1)
    assert [pub["offset"] for pub in frame["publications"]] == [2]
    assert "data" not in frame


async def test_a_position_that_is_not_known(peer: Peer, hub: Hub) -> None:
    position = await hub.publish("board:7", None, 1)
    frame = (await peer.subscribe("board:7", recover=True, epoch="other", offset=1))["subscribe"]
    assert (frame.get("recovered"), frame["was_recovering"]) == (None, True)
    assert (frame["epoch"], frame["offset"]) == (position.epoch, 1)
    assert frame["data"] == {"snapshot": {"board": "7"}}


async def test_rather_refused_than_started_over(peer: Peer) -> None:
    assert error(await peer.subscribe("room:1", recover=True, epoch="x", flag=2)) == 112
    assert "room:1" not in peer.connection.subscriptions
    assert "subscribe" in await peer.subscribe("room:1", flag=2)


async def test_what_is_published_while_a_snapshot_loads_follows_it(
    clients: Clients, hub: Hub
) -> None:
    gate = asyncio.Event()

    async def slow() -> dict[str, int]:
        await gate.wait()
        return {"n": 0}

    declare(hub, "slow", history=5, snapshot=slow)
    peer = await Peer(clients).enter()
    coming = asyncio.create_task(peer.subscribe("slow"))
    await settle()
    await hub.publish("slow", None, 1)
    gate.set()
    frame = await coming
    assert frame["subscribe"]["offset"] == 0
    assert peer.said("slow") == [1]


async def test_a_tags_filter(peer: Peer, hub: Hub) -> None:
    start = await hub.publish("room:1", "said", 0, tags={"lang": "de"})
    await hub.publish("room:1", "said", 1, tags={"lang": "pt"})
    await hub.publish("room:1", "done", 2, tags={"lang": "pt"})
    wanted = {
        "op": "and",
        "nodes": [
            {"key": "lang", "cmp": "eq", "val": "pt"},
            {"key": "type", "cmp": "eq", "val": "said"},
        ],
    }
    frame = await peer.subscribe(
        "room:1", tf=wanted, recover=True, epoch=start.epoch, offset=start.offset
    )
    assert [pub["offset"] for pub in frame["subscribe"]["publications"]] == [2]
    await hub.publish("room:1", "said", 3, tags={"lang": "pt"})
    await hub.publish("room:1", "said", 4, tags={"lang": "en"})
    await hub.publish("room:1", "done", 5, tags={"lang": "pt"})
    assert [data["data"] for data in peer.said()] == [3]
    assert error(await peer.subscribe("room:2", tf={"op": "xor"})) == 107
    assert "room:2" not in peer.connection.subscriptions


async def test_a_keyed_channel(peer: Peer, hub: Hub) -> None:
    await hub.publish("keyed:1", None, 1, key="a")
    await hub.publish("keyed:1", None, 2, key="a")
    frame = await peer.subscribe("keyed:1")
    assert frame["subscribe"]["data"] == {"snapshot": {"keys": {"a": 2}}}
    answer = await peer.say(rpc={"method": "snapshot", "data": {"channel": "keyed:1"}})
    assert answer["rpc"]["data"] == {"snapshot": {"keys": {"a": 2}}}


async def test_who_comes_and_goes(clients: Clients, peer: Peer) -> None:
    await peer.subscribe("room:1", join_leave=True)
    other = await Peer(clients, identity("bert", info={"nick": "b"})).enter()
    await other.subscribe("room:1")
    await other.say(unsubscribe={"channel": "room:1"})
    info = {"user": "bert", "client": other.connection.id, "conn_info": {"nick": "b"}}
    told = [push for push in peer.pushes if "pub" not in push][1:]  # the first is of itself
    assert told == [
        {"channel": "room:1", "join": {"info": info}},
        {"channel": "room:1", "leave": {"info": info}},
    ]
    assert other.pushes == []


# -- what a subscriber may ask and say ----------------------------------------------------------


async def test_presence(clients: Clients, peer: Peer) -> None:
    other = await Peer(clients).enter()
    await other.subscribe("room:1")
    assert error(await peer.say(presence={"channel": "room:1"})) == 103
    await peer.subscribe("room:1")
    presence = (await peer.say(presence={"channel": "room:1"}))["presence"]["presence"]
    assert presence == {
        each.connection.id: {"user": "anna", "client": each.connection.id} for each in (peer, other)
    }
    stats = (await peer.say(presence_stats={"channel": "room:1"}))["presence_stats"]
    assert stats == {"num_clients": 2, "num_users": 1}
    await peer.subscribe("quiet:1")
    assert error(await peer.say(presence={"channel": "quiet:1"})) == 108


async def test_history(peer: Peer, hub: Hub) -> None:
    assert error(await peer.say(history={"channel": "room:1"})) == 103
    await peer.subscribe("room:1")
    for number in range(1, 6):
        top = await hub.publish("room:1", None, number)

    async def ask(**more: Any) -> Frame:
        answer = await peer.say(history={"channel": "room:1", **more})
        history: Frame = answer["history"]
        assert (history["epoch"], history["offset"]) == (top.epoch, 5)
        return history

    def data(history: Frame) -> list[int]:
        return [pub["data"] for pub in history["publications"]]

    assert data(await ask()) == []
    assert data(await ask(limit=2)) == [1, 2]
    assert data(await ask(limit=-1)) == [1, 2, 3, 4, 5]
    assert data(await ask(limit=2, reverse=True)) == [5, 4]
    since = {"epoch": top.epoch, "offset": 3}
    assert data(await ask(limit=9, since=since)) == [4, 5]
    assert data(await ask(limit=9, since={"offset": 3})) == [4, 5]
    foreign = {"epoch": "other", "offset": 3}
    answer = await peer.say(history={"channel": "room:1", "limit": 9, "since": foreign})
    assert error(answer) == 112
    await peer.subscribe("quiet:1")
    assert error(await peer.say(history={"channel": "quiet:1", "limit": 1})) == 108


async def test_publishing(clients: Clients, peer: Peer) -> None:
    assert error(await peer.say(publish={"channel": "room:1", "data": 1})) == 103
    await peer.subscribe("room:1")
    assert await peer.say(publish={"channel": "room:1", "data": {"a": 1}}) == {
        "id": 4,
        "publish": {},
    }
    (push,) = [push for push in peer.pushes if "pub" in push]
    assert push["pub"]["data"] == {"a": 1}
    assert push["pub"]["info"]["user"] == "anna"
    await peer.subscribe("quiet:1")
    assert error(await peer.say(publish={"channel": "quiet:1", "data": 1})) == 103


async def test_actions_are_rpc(peer: Peer) -> None:
    answer = await peer.say(rpc={"method": "echo", "data": {"a": 1}})
    assert answer["rpc"]["data"] == {"by": "anna", "a": 1}
    assert error(await peer.say(rpc={"method": "fly"})) == 104
    assert error(await peer.say(rpc={"method": "snapshot", "data": {"channel": "vault:1"}})) == 103
    assert error(await peer.say(rpc={"method": "snapshot", "data": {"channel": "room:1"}})) == 108
    assert error(await peer.say(rpc={"method": "snapshot"})) == 107


async def test_send_has_no_answer(clients: Clients, peer: Peer) -> None:
    heard: list[tuple[str, Any]] = []

    async def listen(who: Identity, data: Any) -> None:
        heard.append((who.sub, data))

    await peer.hear('{"send":{"data":[1]}}')
    assert peer.pushes[-1]["message"]["data"]["type"] == "error"
    clients.hearer = listen
    count = len(peer.frames)
    await peer.hear('{"send":{"data":[2]}}')
    assert (heard, len(peer.frames)) == ([("anna", [2])], count)


async def test_what_the_server_says_to_one(peer: Peer) -> None:
    peer.connection.send("hello", {"a": 1})
    assert peer.pushes[-1]["message"]["data"]["data"] == {"a": 1}


async def test_the_server_moves_a_user(peer: Peer, hub: Hub) -> None:
    await hub.subscribe("anna", "vault:1")
    assert peer.pushes[-1]["subscribe"]["recoverable"] is True
    hub.unsubscribe("anna", "vault:1")
    assert peer.pushes[-1]["unsubscribe"] == {"code": 2000, "reason": "server unsubscribe"}


async def test_a_gap_brings_it_back_to_the_channel(clients: Clients) -> None:
    """Where it put itself there; else the whole connection comes back."""
    peer = await Peer(clients, identity(subs={"room:2": {}})).enter()
    await peer.subscribe("room:1")
    peer.connection.lose(peer.connection.subscriptions["room:1"])
    assert peer.pushes[-1]["unsubscribe"] == {"code": 2500, "reason": "insufficient state"}
    assert peer.code is None
    peer.connection.lose(peer.connection.subscriptions["room:2"])
    assert peer.code == 3010


# -- tokens that end ----------------------------------------------------------------------------


async def test_a_subscription_ends_with_its_token(peer: Peer, clock: FakeClock, hub: Hub) -> None:
    await peer.subscribe("vault:1", token=token(channel="vault:1", ttl=20))
    await clock.advance(21)
    assert peer.pushes == [
        {"channel": "vault:1", "unsubscribe": {"code": 2501, "reason": "subscription expired"}}
    ]
    await hub.publish("vault:1", None, 1)
    assert peer.said("vault:1") == []
    assert peer.code is None


async def test_unless_it_is_refreshed(peer: Peer, clock: FakeClock) -> None:
    await peer.subscribe("vault:1", token=token(channel="vault:1", ttl=20))
    answer = await peer.say(
        sub_refresh={"channel": "vault:1", "token": token(channel="vault:1", ttl=200)}
    )
    assert answer["sub_refresh"]["expires"] is True
    await clock.advance(24)
    assert "vault:1" in peer.connection.subscriptions
    other = token(channel="vault:2", ttl=200)
    assert error(await peer.say(sub_refresh={"channel": "vault:2", "token": other})) == 103
    assert error(await peer.say(sub_refresh={"channel": "vault:1", "token": other})) == 103


async def test_a_subscription_by_a_claim_outlives_an_earlier_token(
    clients: Clients, clock: FakeClock, hub: Hub
) -> None:
    peer = await Peer(clients, identity(channels=["vault:*"])).enter()
    await peer.subscribe("vault:1", token=token(channel="vault:1", ttl=20))
    hub.unsubscribe("anna", "vault:1")
    assert "expires" not in (await peer.subscribe("vault:1"))["subscribe"]
    await clock.advance(24)
    assert "vault:1" in peer.connection.subscriptions


async def test_leaving_forgets_the_token(peer: Peer, clock: FakeClock, clients: Clients) -> None:
    await peer.subscribe("vault:1", token=token(channel="vault:1", ttl=20))
    await peer.say(unsubscribe={"channel": "vault:1"})
    assert len(clients.tokens) == 0
    await peer.subscribe("vault:2", token=token(channel="vault:2", ttl=20))
    peer.leave()
    assert (len(clients.tokens), len(clients)) == (0, 0)


async def test_a_connection_is_refreshed(clients: Clients, clock: FakeClock) -> None:
    who = Identity("anna", expires_at=clock.now() + 20)
    peer = await Peer(clients, who).enter()
    assert peer.frames[0]["connect"]["ttl"] == 16
    answer = (await peer.say(refresh={"token": token(ttl=200)}))["refresh"]
    assert answer["client"] == peer.connection.id
    assert 170 <= answer["ttl"] <= 175
    await clock.advance(24)
    assert peer.code is None


async def test_and_ends_with_its_token(clients: Clients, clock: FakeClock) -> None:
    peer = await Peer(clients, Identity("anna", expires_at=clock.now() + 20)).enter()
    await clock.advance(21)
    assert peer.code == 3005


@pytest.mark.parametrize(
    ("shown", "code"),
    [("nonsense", 3500), ("of bert", 3500), ("expired", 3005)],
)
async def test_a_refresh_that_is_none(peer: Peer, clock: FakeClock, shown: str, code: int) -> None:
    tokens = {"of bert": token("bert"), "expired": token(ttl=1)}
    await clock.advance(5)
    await peer.hear(json.dumps({"id": 2, "refresh": {"token": tokens.get(shown, shown)}}))
    assert peer.code == code


@pytest.mark.parametrize(
    ("left", "told"), [(None, None), (0, 1), (1, 1), (2, 1), (10, 8), (60, 48), (3600, 3575)]
)
def test_a_client_is_told_to_come_before_its_token_ends(left: int | None, told: int | None) -> None:
    assert lifetime(left) == told


# -- pings --------------------------------------------------------------------------------------


async def test_the_server_asks_and_a_client_that_answers_stays(
    peer: Peer, clock: FakeClock
) -> None:
    for _ in range(4):
        await clock.advance(25)
        assert peer.frames.pop() == {}
        await peer.hear("{}")
    assert peer.code is None


async def test_one_that_does_not_is_closed(peer: Peer, clock: FakeClock) -> None:
    await clock.advance(32.9)
    assert peer.code is None
    await clock.advance(0.2)
    assert peer.code == 3012


async def test_an_answer_that_nobody_asked_for(peer: Peer) -> None:
    await peer.hear("{}")
    assert peer.code == 3501


async def test_a_client_may_ask_as_well(peer: Peer) -> None:
    assert await peer.say(ping={}) == {"id": 2, "ping": {}}


async def test_who_left_is_not_asked(peer: Peer, clock: FakeClock, clients: Clients) -> None:
    peer.leave()
    await clock.advance(60)
    assert len(clients) == 0
    assert len(peer.frames) == 1


# -- what is too much ---------------------------------------------------------------------------


async def test_what_is_no_command_ends_it(peer: Peer, hub: Hub) -> None:
    await peer.hear("{")
    assert peer.code == 3501
    assert hub.rejects.counts["bad_request"] == 1


async def test_a_command_that_is_wrong_does_not(peer: Peer) -> None:
    assert error(await peer.say(subscribe={"channel": 7})) == 107
    assert error(await peer.say(fly={})) == 104
    assert peer.code is None


async def test_nothing_after_the_end_is_answered(peer: Peer) -> None:
    await peer.hear('{"id":2,"connect":{}}\n{"id":3,"ping":{}}')
    assert len(peer.frames) == 1


async def test_too_many_commands_in_one_frame(peer: Peer) -> None:
    await peer.hear("\n".join(["{}"] * 257))
    assert peer.code == 3501


async def test_one_that_comes_back_may_subscribe_to_all_its_channels_at_once(
    clients: Clients,
) -> None:
    peer = await Peer(clients).enter()
    for number in range(60):
        await peer.say(rpc={"method": "echo"})
        assert peer.frames[-1].get("error") is None, number
    for number in range(8):
        assert "subscribe" in await peer.subscribe(f"room:{number}")
    assert error(await peer.say(rpc={"method": "echo"})) == 111


async def test_who_does_not_read_is_not_answered(peer: Peer, hub: Hub, clock: FakeClock) -> None:
    """Each of its channels may bring half an outbox of what it missed."""
    tops = [await hub.publish(f"room:{n}", None, 0) for n in range(4)]
    for number in range(4):
        await hub.publish(f"room:{number}", None, "x" * 25_000)
    peer.transport.stalled = True
    asked = "\n".join(
        json.dumps(
            {
                "id": 10 + n,
                "subscribe": {
                    "channel": f"room:{n}",
                    "recover": True,
                    "epoch": top.epoch,
                    "offset": top.offset,
                },
            }
        )
        for n, top in enumerate(tops)
    )
    task = asyncio.create_task(peer.hear(asked))
    await clock.advance(1)
    assert set(peer.connection.subscriptions) == {"room:0"}
    peer.transport.stalled = False
    peer.transport.read()
    await clock.advance(0.1)
    await task
    answers = [frame["subscribe"] for frame in peer.frames if "subscribe" in frame]
    assert [answer["recovered"] for answer in answers] == [True] * 4
    assert peer.code is None


# -- taken off while it comes on ----------------------------------------------------------------


def slow_board(hub: Hub, name: str = "slow:{id}") -> asyncio.Event:
    """Channels whose snapshot waits for what is returned."""
    gate = asyncio.Event()

    async def state(id: str) -> dict[str, str]:
        await gate.wait()
        return {"board": id}

    declare(hub, name, history=20, snapshot=state)
    return gate


async def test_who_was_taken_off_while_a_snapshot_loads_is_not_told_to_be_on(
    peer: Peer, hub: Hub
) -> None:
    gate = slow_board(hub)
    put = asyncio.create_task(hub.subscribe("anna", "slow:1"))
    await settle()
    assert hub.unsubscribe("anna", "slow:1") == 1
    gate.set()
    assert await put == 0
    assert [list(push)[1] for push in peer.pushes] == ["unsubscribe"]
    assert peer.connection.subscriptions == {}


async def test_a_subscribe_that_was_taken_off_meanwhile_is_refused_for_now(
    peer: Peer, hub: Hub
) -> None:
    gate = slow_board(hub)
    coming = asyncio.create_task(peer.subscribe("slow:1"))
    await settle()
    hub.unsubscribe("anna", "slow:1")
    gate.set()
    assert (await coming)["error"] == {
        "code": 108,
        "message": "taken off the channel meanwhile",
        "temporary": True,
    }
    assert len(peer.pushes) == 1


async def test_an_old_token_does_not_end_what_came_back_with_a_new_one(
    peer: Peer, clock: FakeClock, hub: Hub
) -> None:
    gate = slow_board(hub)
    gate.set()
    await peer.subscribe("slow:1", token=token(channel="slow:1", ttl=20))
    peer.connection.lose(peer.connection.subscriptions["slow:1"])
    gate.clear()
    again = token(channel="slow:1", ttl=200)
    coming = asyncio.create_task(peer.subscribe("slow:1", token=again))
    await settle()
    await clock.advance(21)
    gate.set()
    assert "subscribe" in await coming
    assert [push["unsubscribe"]["code"] for push in peer.pushes] == [2500]
    assert "slow:1" in peer.connection.subscriptions


async def test_an_old_token_does_not_end_what_the_server_did(
    peer: Peer, clock: FakeClock, hub: Hub
) -> None:
    await peer.subscribe("vault:1", token=token(channel="vault:1", ttl=20))
    hub.unsubscribe("anna", "vault:1")
    await hub.subscribe("anna", "vault:1")
    await clock.advance(24)
    assert "vault:1" in peer.connection.subscriptions


async def test_a_token_that_comes_with_the_timer_is_in_time(
    clients: Clients, clock: FakeClock
) -> None:
    """The timer has fired, and its task runs after the refresh."""
    hub = clients.hub
    peer = await Peer(clients, Identity("anna", expires_at=clock.now() + 30)).enter()
    shown = token(channel="vault:1", ttl=30)
    await peer.subscribe("vault:1", token=shown)
    await peer.say(refresh={"token": token(ttl=200)})
    shown = token(channel="vault:1", ttl=200)
    await peer.say(sub_refresh={"channel": "vault:1", "token": shown})
    await hub._expired([peer.connection.id])
    await clients._expired([(peer.connection.id, "vault:1")])
    assert (peer.code, peer.pushes) == (None, [])
    peer.connection.identity = ANNA
    hub.watch_expiry(peer.connection)
    await hub._expired([peer.connection.id])
    assert peer.code is None


# -- before and after the answer to `connect` ---------------------------------------------------


async def test_nothing_goes_before_the_answer_to_connect(clients: Clients, hub: Hub) -> None:
    """An SDK forgets the channels that this answer does not name."""
    gate = slow_board(hub)
    peer = Peer(clients, identity(subs={"slow:1": {}}))
    entering = asyncio.create_task(peer.enter())
    await settle()
    assert await hub.subscribe("anna", "room:1") == 1
    peer.connection.send("hello")
    await hub.publish("room:1", None, 1)
    assert peer.frames == []
    gate.set()
    await entering
    assert list(peer.frames[0]["connect"]["subs"]) == ["slow:1"]
    kinds = [next(kind for kind in push if kind != "channel") for push in peer.pushes]
    assert kinds == ["subscribe", "message", "pub"]
    assert peer.said() == [1]


async def test_the_answer_to_connect_leaves_out_what_was_taken_off_again(
    clients: Clients, hub: Hub
) -> None:
    gate = slow_board(hub)
    peer = Peer(clients, identity(subs={"room:1": {}, "slow:1": {}}))
    entering = asyncio.create_task(peer.enter())
    await settle()
    hub.unsubscribe("anna", "room:1")
    gate.set()
    await entering
    assert list(peer.frames[0]["connect"]["subs"]) == ["slow:1"]
    assert set(peer.connection.subscriptions) == {"slow:1"}


async def test_a_queue_that_leaves_the_answer_to_connect_no_room(
    clients: Clients, hub: Hub
) -> None:
    gate = slow_board(hub)
    peer = Peer(clients, identity(subs={"slow:1": {}}))
    entering = asyncio.create_task(peer.enter())
    await settle()
    peer.connection.send("hello", "x" * (64 * 1024 - 150))
    gate.set()
    await entering
    assert (peer.code, peer.frames) == (3008, [])


def big_boards(hub: Hub, size: int) -> None:
    async def state(id: str) -> str:
        if id == "bug":
            raise ValueError
        if id == "away":
            raise Unavailable("not now")
        return "x" * size

    declare(hub, "big:{id}", history=20, snapshot=state)


async def test_snapshots_that_are_too_much_for_one_answer_follow_it(
    clients: Clients, hub: Hub, clock: FakeClock
) -> None:
    big_boards(hub, 20_000)
    names: dict[str, Any] = {f"big:{n}": {} for n in range(6)}
    peer = Peer(clients, identity(subs={"room:1": {}, **names}), stalled=True)
    entering = asyncio.create_task(peer.enter())
    await clock.advance(1)
    assert set(peer.connection.subscriptions) == {"room:1", "big:0"}
    for _ in names:
        peer.transport.read()
        await clock.advance(0.5)
    await entering
    peer.transport.read()
    assert list(peer.frames[0]["connect"]["subs"]) == ["room:1"]
    assert [push["channel"] for push in peer.pushes] == list(names)
    assert all(len(push["subscribe"]["data"]["snapshot"]) == 20_000 for push in peer.pushes)
    assert set(peer.connection.subscriptions) == {"room:1", *names}
    assert peer.code is None


async def test_a_snapshot_waits_until_an_outbox_has_room_for_it(
    clients: Clients, hub: Hub, clock: FakeClock
) -> None:
    big_boards(hub, 60_000)
    peer = await Peer(clients, stalled=True).enter()
    peer.connection.send("hello", "x" * 10_000)
    asked = '{"id":2,"subscribe":{"channel":"big:1"}}'
    coming = asyncio.create_task(peer.hear(asked))
    await clock.advance(1)
    await hub.publish("big:1", None, 1)
    peer.transport.read()
    await clock.advance(1)
    await coming
    peer.transport.read()
    assert [frame.get("id") for frame in peer.frames] == [1, None, 2, None]
    assert (peer.code, peer.said("big:1")) == (None, [1])


@pytest.mark.parametrize("name", ["big:bug", "big:away"])
async def test_a_channel_that_fails_takes_no_other_with_it(
    clients: Clients, hub: Hub, name: str
) -> None:
    big_boards(hub, 10)
    peer = await Peer(clients, identity(subs={name: {}, "big:1": {}})).enter()
    assert list(peer.frames[0]["connect"]["subs"]) == ["big:1"]
    assert set(peer.connection.subscriptions) == {"big:1"}
    assert peer.code is None


# -- who is answered slowly ---------------------------------------------------------------------


async def test_who_waits_for_us_is_not_closed_for_a_pong_that_we_did_not_read(
    peer: Peer, clock: FakeClock, hub: Hub
) -> None:
    gate = slow_board(hub)
    coming = asyncio.create_task(peer.subscribe("slow:1"))
    await clock.advance(40)
    assert peer.code is None
    gate.set()
    await coming
    await clock.advance(7.9)
    assert peer.code is None
    await peer.hear("{}")
    await clock.advance(24)
    assert peer.code is None


async def test_but_soon_afterwards(peer: Peer, clock: FakeClock, hub: Hub) -> None:
    gate = slow_board(hub)
    coming = asyncio.create_task(peer.subscribe("slow:1"))
    await clock.advance(40)
    gate.set()
    await coming
    await clock.advance(8.1)
    assert peer.code == 3012


async def test_who_reads_nothing_for_a_minute_is_slow(peer: Peer, clock: FakeClock) -> None:
    peer.transport.stalled = True
    peer.connection.send("hello", "x" * 30_000)
    asking = asyncio.create_task(peer.hear('{"id":2,"ping":{}}'))
    await clock.advance(59)
    assert peer.code is None
    await clock.advance(2)
    await asking
    assert peer.code == 3008


async def test_looks_at_a_full_outbox_become_rare(peer: Peer, clock: FakeClock) -> None:
    peer.transport.stalled = True
    peer.connection.send("hello", "x" * 30_000)
    asking = asyncio.create_task(peer.hear('{"id":2,"ping":{}}'))
    await clock.advance(1)
    looks = 0

    def count() -> bool:
        nonlocal looks
        looks += 1
        return False

    await clock.advance_until(count, 10)
    assert looks <= 45
    peer.transport.stalled = False
    peer.transport.read()
    await clock.advance(0.3)
    await asking
    assert peer.frames[-1] == {"id": 2, "ping": {}}


async def test_a_place_moves_on_where_a_filter_leaves_nothing(peer: Peer, hub: Hub) -> None:
    """Else a client would be told the same again, until history has forgotten its place."""
    start = await hub.publish("room:1", "wanted", 0)
    for number in range(5):
        await hub.publish("room:1", "other", number)
    where = {"recover": True, "epoch": start.epoch, "offset": start.offset}
    wanted = {"key": "type", "cmp": "eq", "val": "wanted"}
    answer = (await peer.subscribe("room:1", tf=wanted, **where))["subscribe"]
    assert (answer["recovered"], answer["offset"]) == (True, 6)
    assert "publications" not in answer


async def test_only_subscribers_may_count_who_is_there(clients: Clients, peer: Peer) -> None:
    await (await Peer(clients).enter()).subscribe("room:1")
    assert error(await peer.say(presence_stats={"channel": "room:1"})) == 103
