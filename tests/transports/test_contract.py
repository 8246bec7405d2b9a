"""One suite for every way to serve the `plain` dialect: the same assertions on each server."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import pytest

from cardume.auth.signer import TokenSigner
from cardume.testing import FakeClock
from cardume.wire.messages import Position
from tests.support.house import SECRET, House
from tests.support.stages import STAGES, Client, Closed, Denied, Frame, Stage, until

_fresh = itertools.count(1000)


@pytest.fixture(scope="module", params=STAGES)
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    with STAGES[request.param](House(clock=FakeClock(start=time.time()))) as running:
        yield running


@pytest.fixture
def room() -> int:
    """A room that no other test was in."""
    return next(_fresh)


def token(stage: Stage, sub: str = "anna", *, ttl: float = 300) -> str:
    return TokenSigner(SECRET, stage.house.hub.clock).mint(sub, ttl=ttl)


def enter(
    stage: Stage,
    path: str,
    *,
    shown: str | None = None,
    query: str = "",
    headers: dict[str, str] | None = None,
    subprotocols: Sequence[str] = (),
) -> AbstractContextManager[Client]:
    asked = f"?token={shown or token(stage)}{query}"
    return stage.connect(f"/rt{path}{asked}", headers=headers, subprotocols=subprotocols)


def publish(stage: Stage, channel: str, type: str | None = "m", data: Any = None) -> Position:
    return stage.run(lambda: stage.house.hub.publish(channel, type, data or {}))


def code_of(client: Client) -> int:
    """What the server closes with; whatever comes before is read."""
    while True:
        try:
            client.receive()
        except Closed as closed:
            return closed.code


def receive(client: Client, count: int) -> list[Frame]:
    return [client.receive() for _ in range(count)]


# -- coming in --------------------------------------------------------------------------------


def test_the_first_frame_is_connected(stage: Stage, room: int) -> None:
    with enter(stage, f"/ws/room/{room}") as client:
        frame = client.receive()
    data = frame.pop("data")
    assert (frame.pop("type"), list(frame)) == ("connected", ["timestamp"])
    assert data.pop("connection_id")
    assert data.pop("epoch").isalnum()
    assert 290 <= data.pop("expires_in") <= 300
    assert data == {"channel": f"room:{room}", "recovered": False, "offset": 0}


def test_without_history_there_is_no_position(stage: Stage) -> None:
    with enter(stage, "/ws/quiet/x") as client:
        assert set(client.receive()["data"]) == {
            "connection_id",
            "channel",
            "recovered",
            "expires_in",
        }
        publish(stage, "quiet:x")
        assert "offset" not in client.receive()


@pytest.mark.parametrize(
    ("path", "shown", "code"),
    [
        ("/ws/room/1", "not.a.token", 3500),
        ("/ws/room/401", None, 3500),
        ("/ws/room/403", None, 3507),
        ("/ws/room/404", None, 3508),
        ("/ws/room/410", None, 3508),
        ("/ws/room/429", None, 3013),
        ("/ws/room/500", None, 3004),
        ("/ws/room/0", None, 3501),
        ("/ws/room/x", None, 3501),
        ("/ws/quiet/a%20b", None, 3501),
        ("/ws/board/gone", None, 3508),
        ("/ws/board/huge", None, 3004),
    ],
)
def test_who_is_turned_away_learns_why(
    stage: Stage, path: str, shown: str | None, code: int
) -> None:
    with enter(stage, path, shown=shown) as client:
        assert code_of(client) == code


def test_no_token_at_all(stage: Stage) -> None:
    with stage.connect("/rt/ws/room/1") as client:
        assert code_of(client) == 3500
    assert stage.house.hub.rejects.counts["invalid_token"] >= 1


def test_an_address_that_is_none(stage: Stage) -> None:
    with pytest.raises((Denied, Closed)), enter(stage, "/ws/nowhere") as client:
        client.receive()


def test_a_token_in_the_authorization_header(stage: Stage, room: int) -> None:
    headers = {"Authorization": f"Bearer {token(stage, 'berta')}"}
    with stage.connect(f"/rt/ws/room/{room}", headers=headers) as client:
        assert client.receive()["type"] == "connected"
        presence = stage.house.hub.presence(f"room:{room}")
        assert [member.user for member in presence.values()] == ["berta"]


def test_a_token_as_subprotocol(stage: Stage, room: int) -> None:
    with stage.connect(f"/rt/ws/room/{room}", subprotocols=["bearer", token(stage)]) as client:
        assert client.subprotocol == "bearer"
        assert client.receive()["type"] == "connected"
    with stage.connect(f"/rt/ws/room/{room}", subprotocols=["bearer", "nonsense"]) as client:
        assert code_of(client) == 3500


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://testserver.evil"])
def test_a_foreign_page_is_refused_before_accept(stage: Stage, origin: str) -> None:
    before = stage.house.hub.rejects.counts["foreign_origin"]
    with pytest.raises(Denied) as denied, enter(stage, "/ws/room/1", headers={"Origin": origin}):
        pass
    assert denied.value.status == 403
    assert stage.house.hub.rejects.counts["foreign_origin"] == before + 1


def test_a_draining_hub_says_when_to_come_back(stage: Stage) -> None:
    stage.house.hub.draining = True
    try:
        with pytest.raises(Denied) as denied, enter(stage, "/ws/room/1"):
            pass
    finally:
        stage.house.hub.draining = False
    assert (denied.value.status, denied.value.retry_after) == (503, "2")


def test_a_guard_with_dependencies_knows_the_connections_identity(stage: Stage) -> None:
    with enter(stage, "/ws/vault/x") as client:
        assert client.receive()["type"] == "connected"
    with enter(stage, "/ws/vault/x", shown=token(stage, "berta")) as client:
        assert code_of(client) == 3507


# -- publications -----------------------------------------------------------------------------


def test_a_publication_reaches_everybody(stage: Stage, room: int) -> None:
    with (
        enter(stage, f"/ws/room/{room}") as one,
        enter(stage, f"/ws/room/{room}") as other,
        enter(stage, f"/ws/room/{next(_fresh)}") as elsewhere,
    ):
        for client in (one, other, elsewhere):
            client.receive()
        publish(stage, f"room:{room}", "said", {"text": "olá"})
        for client in (one, other):
            frame = client.receive()
            assert frame.pop("timestamp").endswith("Z")
            assert frame == {
                "type": "said",
                "data": {"text": "olá"},
                "channel": f"room:{room}",
                "offset": 1,
            }
        elsewhere.send('{"type":"ping"}')
        assert elsewhere.receive()["type"] == "pong", "and nobody else"


def test_order_holds_under_a_burst(stage: Stage, room: int) -> None:
    async def burst() -> None:
        for n in range(500):
            await stage.house.hub.publish(f"room:{room}", "m", {"n": n})

    with enter(stage, f"/ws/room/{room}") as client:
        client.receive()
        stage.run(burst)
        assert [frame["offset"] for frame in receive(client, 500)] == list(range(1, 501))


def test_resume_within_history(stage: Stage, room: int) -> None:
    with enter(stage, f"/ws/room/{room}") as client:
        epoch = client.receive()["data"]["epoch"]
        publish(stage, f"room:{room}", "m", {"n": 1})
        assert client.receive()["offset"] == 1
    for n in range(2, 5):
        publish(stage, f"room:{room}", "m", {"n": n})
    with enter(stage, f"/ws/room/{room}", query=f"&since={epoch}:1") as client:
        connected = client.receive()["data"]
        assert (connected["recovered"], connected["offset"]) == (True, 1)
        assert [frame["data"]["n"] for frame in receive(client, 3)] == [2, 3, 4]
        publish(stage, f"room:{room}", "m", {"n": 5})
        assert client.receive()["offset"] == 5


@pytest.mark.parametrize("since", ["{epoch}:1", "{epoch}:16", "other:14", "nonsense", "{epoch}:-1"])
def test_resume_beyond_history_is_never_partial(stage: Stage, room: int, since: str) -> None:
    for _ in range(15):
        top = publish(stage, f"room:{room}")
    query = "&since=" + since.format(epoch=top.epoch)
    with enter(stage, f"/ws/room/{room}", query=query) as client:
        connected = client.receive()["data"]
        assert (connected["recovered"], connected["offset"]) == (False, 15)
        publish(stage, f"room:{room}")
        assert client.receive()["offset"] == 16


def test_a_snapshot_for_the_fresh_and_none_for_the_recovered(stage: Stage, room: int) -> None:
    with enter(stage, f"/ws/board/{room}") as client:
        connected, snapshot = receive(client, 2)
        assert (snapshot["type"], snapshot["data"]) == ("snapshot", {"board": str(room)})
        assert snapshot["offset"] == connected["data"]["offset"] == 0
    publish(stage, f"board:{room}")
    since = f"&since={connected['data']['epoch']}:0"
    with enter(stage, f"/ws/board/{room}", query=since) as client:
        assert [frame["type"] for frame in receive(client, 2)] == ["connected", "m"]
    with enter(stage, f"/ws/board/{room}", query="&since=other:0") as client:
        connected, snapshot = receive(client, 2)
        assert (connected["data"]["recovered"], snapshot["type"]) == (False, "snapshot")
        assert snapshot["offset"] == 1


def test_a_filter_from_the_first_frame(stage: Stage, room: int) -> None:
    with enter(stage, f"/ws/room/{room}", query="&types=alert,reading") as client:
        client.receive()
        for type in ("noise", "alert", "noise", "reading"):
            publish(stage, f"room:{room}", type)
        assert [frame["type"] for frame in receive(client, 2)] == ["alert", "reading"]
        client.send('{"type":"unsubscribe","data":{"types":["reading"]},"id":1}')
        assert client.receive()["data"] == {"types": ["alert"]}
        client.send('{"type":"ping"}')
        assert client.receive()["data"] == {"offset": 4}


# -- commands ---------------------------------------------------------------------------------


def test_commands_are_answered_in_order(stage: Stage, room: int) -> None:
    with enter(stage, f"/ws/room/{room}") as client:
        client.receive()
        client.send('{"type":"ping","id":1}')
        client.send('{"type":"action","data":{"name":"echo","x":"é"},"id":2}')
        client.send("nonsense")
        client.send(json.dumps({"type": "refresh", "data": {"token": token(stage)}, "id": 4}))
        pong, result, error, refreshed = receive(client, 4)
    assert (pong["type"], pong["id"]) == ("pong", 1)
    assert (result["type"], result["data"], result["id"]) == (
        "result",
        {"by": "anna", "x": "é"},
        2,
    )
    assert (error["type"], error["data"]["code"]) == ("error", "bad_request")
    assert (refreshed["type"], refreshed["id"]) == ("refreshed", 4)


def test_a_binary_frame_closes(stage: Stage, room: int) -> None:
    with enter(stage, f"/ws/room/{room}") as client:
        client.send(b"\x00\x01")
        assert code_of(client) == 1003


@pytest.mark.parametrize("filling", ["x", "é", "\U0001f41f"])
def test_64_kib_pass_and_a_byte_more_closes(stage: Stage, room: int, filling: str) -> None:
    head, tail = '{"type":"ping","id":1,"data":{"a":"', '"}}'
    count = (64 * 1024 - len(head) - len(tail)) // len(filling.encode())
    message = head + filling * count + tail
    message += " " * (64 * 1024 - len(message.encode()))
    with enter(stage, f"/ws/room/{room}") as client:
        client.receive()
        client.send(message)
        assert client.receive()["type"] == "pong"
        client.send(message + " ")
        assert code_of(client) == 1009


def test_a_token_that_ends_closes(stage: Stage, room: int) -> None:
    with enter(stage, f"/ws/room/{room}", shown=token(stage, ttl=2)) as client:
        assert client.receive()["type"] == "connected"
        clock = stage.house.hub.clock
        assert isinstance(clock, FakeClock)
        stage.run(lambda: clock.advance(4))
        assert code_of(client) == 3005


def test_endless_errors_close(stage: Stage, room: int) -> None:
    with enter(stage, f"/ws/room/{room}") as client:
        client.receive()
        for _ in range(21):
            client.send("nonsense")
        assert code_of(client) == 3509


# -- going ------------------------------------------------------------------------------------


def test_counters_come_back_to_zero(stage: Stage, room: int) -> None:
    stats = stage.house.hub.stats
    until(lambda: stats.active_connections == 0)
    total = stats.total_connections
    with enter(stage, f"/ws/room/{room}") as one, enter(stage, f"/ws/room/{room}") as other:
        one.receive(), other.receive()
        assert stats.active_connections == 2
        assert stage.house.hub.audience(f"room:{room}") == 2
    until(lambda: stats.active_connections == 0)
    assert stats.total_connections == total + 2
    assert stage.house.hub.audience(f"room:{room}") == 0


def test_drain_sends_everybody_away_with_what_was_queued(stage: Stage, room: int) -> None:
    hub = stage.house.hub
    with enter(stage, f"/ws/room/{room}") as client:
        client.receive()

        async def last_words() -> None:
            await hub.publish(f"room:{room}", "last", {})
            await hub.drain(timeout=5)

        stage.run(last_words)
        hub.draining = False
        assert client.receive()["type"] == "last"
        assert code_of(client) == 3001
