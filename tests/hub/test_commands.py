"""What a client may say, what is answered, and how often is too often."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import HTTPException
from pydantic import BaseModel

from cardume.auth.identity import Identity, InvalidToken
from cardume.errors import Refused, Unavailable
from cardume.hub.entry import Entry, enter
from cardume.hub.hub import Hub
from cardume.hub.options import HubOptions
from cardume.hub.rooms import Guest, Lobby
from cardume.hub.subscription import Subscription
from cardume.testing import FakeClock
from cardume.wire import codes
from cardume.wire.dialects.rooms import RoomsDialect
from cardume.wire.messages import Said
from tests.support.peers import Frame, Peer, declare


class TwoTokens:
    """Anna's token and Berta's; any other is nobody's."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock

    async def verify(self, token: str) -> Identity:
        if token == "away":
            raise Unavailable("no keys")
        if token not in ("anna", "berta"):
            raise InvalidToken("signature")
        return Identity(token, expires_at=self._clock.now() + 100)


class Move(BaseModel):
    column: str


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def hub(clock: FakeClock) -> AsyncIterator[Hub]:
    made = Hub(auth=TwoTokens(clock), clock=clock, options=HubOptions(messages_per_minute=60))
    declare(made, "room:{id}", history=50)

    @made.action("move")
    async def move(identity: Identity, body: Move) -> dict[str, str]:
        return {"by": identity.sub, "column": body.column}

    @made.action("fill")
    async def fill(identity: Identity, body: dict[str, Any]) -> str:
        return "x" * int(body["size"])

    @made.action("nothing")
    async def nothing(identity: Identity, body: dict[str, Any]) -> None:
        return None

    @made.action("fail")
    async def fail(identity: Identity, body: dict[str, Any]) -> Any:
        match body["how"]:
            case "http":
                raise HTTPException(403, "not yours")
            case "refused":
                raise Refused(codes.CONFLICT, "older", version=3)
            case "away":
                raise Unavailable("disk full")
            case "no form":
                return object()
        raise ZeroDivisionError("SECRET")

    async with made:
        yield made


@pytest.fixture
async def peer(hub: Hub, clock: FakeClock) -> Peer:
    return await Peer(hub, Identity("anna", expires_at=clock.now() + 50)).enter("room:1")


async def ask(peer: Peer, message: Any) -> tuple[str, Frame, Any]:
    frame = await peer.say(message)
    assert frame is not None
    return frame["type"], frame["data"], frame.get("id")


async def test_ping_says_the_cursor(hub: Hub, peer: Peer) -> None:
    await hub.publish("room:1", "m", {})
    assert await ask(peer, {"type": "ping", "id": "p"}) == ("pong", {"offset": 1}, "p")


async def test_the_filter(hub: Hub, peer: Peer) -> None:
    subscribe = {"type": "subscribe", "data": {"types": ["b", "a"]}, "id": 1}
    assert await ask(peer, subscribe) == ("subscribed", {"types": ["a", "b"]}, 1)
    more = {"type": "subscribe", "data": {"types": ["c"]}}
    assert await ask(peer, more) == ("subscribed", {"types": ["a", "b", "c"]}, None)
    await hub.publish("room:1", "d", {})
    assert peer.of_type("d") == []
    fewer = {"type": "unsubscribe", "data": {"types": ["a", "b", "x"]}}
    assert await ask(peer, fewer) == ("unsubscribed", {"types": ["c"]}, None)
    assert await ask(peer, {"type": "unsubscribe"}) == ("unsubscribed", {"types": []}, None)
    await hub.publish("room:1", "d", {})
    assert len(peer.of_type("d")) == 1


async def test_a_filter_has_a_bound(peer: Peer) -> None:
    for n in range(2):
        types = [f"t{n}-{m}" for m in range(40)]
        answer = await ask(peer, {"type": "subscribe", "data": {"types": types}})
    assert (answer[0], answer[1]["code"]) == ("error", "limit_exceeded")


async def test_actions(peer: Peer) -> None:
    moved = await ask(peer, {"type": "action", "data": {"name": "move", "column": "done"}, "id": 3})
    assert moved == ("result", {"by": "anna", "column": "done"}, 3)
    nothing = await ask(peer, {"type": "action", "data": {"name": "nothing"}})
    assert nothing == ("result", {}, None), "data is an object in every frame"


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("http", {"code": "permission_denied", "message": "not yours"}),
        ("refused", {"code": "conflict", "message": "older", "version": 3}),
        ("away", {"code": "not_available", "message": "not now; try again"}),
        ("bug", {"code": "internal", "message": "internal server error"}),
        ("no form", {"code": "internal", "message": "internal server error"}),
    ],
)
async def test_an_action_fails_as_its_twin(peer: Peer, how: str, expected: Frame) -> None:
    answer = await ask(peer, {"type": "action", "data": {"name": "fail", "how": how}, "id": 4})
    assert answer == ("error", expected, 4)
    assert peer.live


async def test_a_bug_in_an_action_is_logged_without_its_payload(
    peer: Peer, caplog: pytest.LogCaptureFixture
) -> None:
    await peer.say({"type": "action", "data": {"name": "fail", "how": "bug", "pin": "PAYLOAD"}})
    assert "a command failed" in caplog.text
    assert "PAYLOAD" not in caplog.text


async def test_refresh_prolongs(peer: Peer, clock: FakeClock) -> None:
    await clock.advance(49)
    assert await ask(peer, {"type": "refresh", "data": {"token": "anna"}, "id": 1}) == (
        "refreshed",
        {"expires_in": 100},
        1,
    )
    await clock.advance(99)
    assert peer.live
    await clock.advance(1.5)
    assert peer.code == 3005


@pytest.mark.parametrize(
    ("token", "code"),
    [("berta", "permission_denied"), ("forged", "unauthorized"), ("away", "not_available")],
)
async def test_a_refresh_that_is_refused_changes_nothing(
    peer: Peer, clock: FakeClock, token: str, code: str
) -> None:
    answer = await ask(peer, {"type": "refresh", "data": {"token": token}, "id": 1})
    assert (answer[0], answer[1]["code"]) == ("error", code)
    assert peer.connection.identity.sub == "anna"
    await clock.advance(51)
    assert peer.code == 3005


async def test_faults_are_counted_and_logged_by_reason(hub: Hub, peer: Peer) -> None:
    await peer.say("nonsense")
    await peer.say({"type": "dance"})
    assert hub.rejects.counts == {"bad_request": 1, "unknown_type": 1}


async def test_twenty_errors_are_forgiven_and_no_more(peer: Peer) -> None:
    for _ in range(20):
        assert (await ask(peer, "nonsense"))[0] == "error"
    assert peer.live
    await peer.say("nonsense")
    assert peer.code == 3509
    assert len(peer.of_type("error")) == 21


async def test_errors_are_counted_within_a_minute(peer: Peer, clock: FakeClock, hub: Hub) -> None:
    forever = await Peer(hub).enter("room:1")
    for _ in range(60):
        await forever.say("nonsense")
        await clock.advance(3.1)
    assert forever.live


async def test_the_first_excess_is_an_error_and_ten_more_the_end(hub: Hub, peer: Peer) -> None:
    subscribe = {"type": "subscribe", "data": {"types": ["a"]}}
    for _ in range(60):
        assert (await ask(peer, subscribe))[0] == "subscribed"
    for n in range(10):
        answer = await ask(peer, subscribe | {"id": n})
        assert (answer[0], answer[1]["code"], answer[2]) == ("error", "rate_limited", n)
    assert peer.live
    await peer.say(subscribe)
    assert peer.code == 3013
    assert hub.rejects.counts == {"rate_limited": 11}


async def test_the_bucket_fills_again(peer: Peer, clock: FakeClock) -> None:
    subscribe = {"type": "subscribe", "data": {"types": ["a"]}}
    for _ in range(61):
        answer = await ask(peer, subscribe)
    assert answer[0] == "error"
    await clock.advance(1)
    assert (await ask(peer, subscribe))[0] == "subscribed"
    assert (await ask(peer, subscribe))[0] == "error"


async def test_pings_are_free(peer: Peer) -> None:
    for _ in range(200):
        assert (await ask(peer, {"type": "ping"}))[0] == "pong"
    assert (await ask(peer, {"type": "subscribe", "data": {"types": ["a"]}}))[0] == "subscribed"


async def test_refreshes_are_not(peer: Peer) -> None:
    refresh = {"type": "refresh", "data": {"token": "anna"}}
    for _ in range(60):
        assert (await ask(peer, refresh))[0] == "refreshed"
    answer = await ask(peer, refresh)
    assert (answer[0], answer[1]["code"]) == ("error", "rate_limited")


async def test_a_refused_refresh_is_an_error_like_any_other(peer: Peer) -> None:
    for _ in range(21):
        await peer.say({"type": "refresh", "data": {"token": "guess"}})
    assert peer.code == 3509


async def test_who_pings_and_does_not_read_is_cut(hub: Hub) -> None:
    flood = await Peer(hub, stalled=True).enter("room:1")
    for _ in range(30_000):
        if not flood.live:
            break
        await flood.say({"type": "ping"})
    assert flood.code == 3008


async def test_an_answer_larger_than_an_outbox_is_no_fault_of_the_reader(
    hub: Hub, peer: Peer
) -> None:
    most = peer.connection.outbox.limit
    fits = {"type": "action", "data": {"name": "fill", "size": most - 100}, "id": 1}
    assert (await ask(peer, fits))[0] == "result"
    answer = await ask(peer, fits | {"data": {"name": "fill", "size": most}, "id": 2})
    assert answer[0::2] == ("error", 2)
    assert answer[1] == {
        "code": "limit_exceeded",
        "message": "the answer is larger than an outbox",
    }
    assert peer.live
    with pytest.raises(Refused, match="larger than an outbox"):
        peer.connection.send("note", "x" * most)
    assert peer.live


async def test_an_answer_that_has_no_json_form_is_an_error_and_logged(
    hub: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    member = Peer(hub, dialect=RoomsDialect())
    guest, info = Guest(Lobby(hub, (), ()), member.connection), '{"action": "info"}'
    member.connection.metadata["broken"] = object()
    await guest.hear(info)
    assert member.live
    assert "could not be encoded" in caplog.text
    assert not member.frames[-1]["success"]
    member.connection.metadata.clear()
    await guest.hear(info)
    assert member.frames[-1]["success"]


async def test_a_refusal_that_has_no_json_form_is_an_error_too(hub: Hub, peer: Peer) -> None:
    @hub.action("broken")
    async def broken(identity: Identity, body: dict[str, Any]) -> None:
        raise Refused(codes.CONFLICT, extra=object())

    answer = await ask(peer, {"type": "action", "data": {"name": "broken"}, "id": 5})
    assert answer == ("error", {"code": "internal", "message": "internal server error"}, 5)
    assert peer.live


async def test_who_cannot_be_greeted_is_not_on_the_channel(hub: Hub) -> None:
    peer = Peer(hub)

    def greet(_subscription: Subscription, _entry: Entry) -> None:
        peer.connection.reply(Said("note", b'"%b"' % (b"x" * peer.connection.outbox.limit)))

    with pytest.raises(Refused):
        await enter(hub, peer.connection, "room:1", greet=greet)
    assert (peer.live, hub.audience("room:1")) == (True, 0)
