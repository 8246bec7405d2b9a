"""Rooms over real sockets: the whole table of contracts/rooms.md, `/ws/stats`, `/ws/broadcast`."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import MappingProxyType
from typing import Any

import httpx2
import pytest
import uvicorn
from fastapi import FastAPI
from starlette.testclient import TestClient
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from cardume import Hub, Identity, RoomEvent, RoomMessage, RoomReply, Rooms
from cardume.auth.tokens import build_verifier
from cardume.testing import FakeClock
from tests.support.house import SECRET, make_hub, token
from tests.support.stages import Closed, Frame, listening, until

API_KEY = "an-api-key-of-the-tests"


class Place:
    """A FastAPI app with rooms, on a real server."""

    def __init__(self) -> None:
        self.hub = make_hub()
        self.loop: asyncio.AbstractEventLoop | None = None
        self.rooms = Rooms(self.hub, rooms=["lounge"], events=["deploy_done"], api_key=API_KEY)
        self.app = FastAPI(lifespan=self._lifespan)
        self.app.include_router(self.rooms.router)
        self.app.include_router(self.hub.router)
        self.port = 0

        @self.hub.channel("room:{room_id}", path="/plain/{room_id}")
        async def room(room_id: int, identity: Identity) -> None: ...

    @asynccontextmanager
    async def _lifespan(self, _app: FastAPI) -> AsyncIterator[None]:
        self.loop = asyncio.get_running_loop()
        yield

    def run(self, work: Any) -> Any:
        assert self.loop is not None
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(10)

    def ask(self, method: str, path: str, **more: Any) -> httpx2.Response:
        return httpx2.request(method, f"http://127.0.0.1:{self.port}{path}", **more)

    def stats(self) -> dict[str, Any]:
        numbers: dict[str, Any] = self.ask("GET", "/ws/stats", headers=bearer()).json()
        return numbers


def bearer(sub: str = "anna", **claims: Any) -> dict[str, str]:
    # Longer than the suite: some are made when the tests are collected.
    return {"Authorization": f"Bearer {token(sub, ttl=3600, **claims)}"}


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    made, listener = Place(), listening()
    made.port = listener.getsockname()[1]
    config = uvicorn.Config(made.app, ws="websockets-sansio", lifespan="on", log_config=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: server.run(sockets=[listener]), daemon=True)
    thread.start()
    until(lambda: server.started)
    yield made
    server.should_exit = True
    thread.join(10)
    assert not thread.is_alive()


class Client:
    """A client of the page; `label` is its client_id."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    def receive(self) -> Frame:
        try:
            frame: Frame = json.loads(self.socket.recv(timeout=10))
        except ConnectionClosed as error:
            raise Closed(error.rcvd.code if error.rcvd else 1006) from None
        model = RoomReply if frame["event_type"] == "reply" else RoomEvent
        model.model_validate(frame)
        return frame

    def say(self, action: str, **more: Any) -> Frame:
        message = RoomMessage.model_validate({"action": action, **more})
        self.socket.send(message.model_dump_json(exclude_none=True))
        return self.receive()

    def last_words(self) -> tuple[Frame, int]:
        """The last frame, and what the connection was closed with."""
        last: Frame = {}
        while True:
            try:
                last = self.receive()
            except Closed as closed:
                return last, closed.code


@contextmanager
def visit(
    place: Place, query: str = "", *, path: str = "/ws", shown: str | None = None
) -> Iterator[Client]:
    asked = f"?token={shown or token()}{query}"
    url = f"ws://127.0.0.1:{place.port}{path}{asked}"
    with connect(url, compression=None, proxy=None, close_timeout=1) as socket:
        yield Client(socket)


# -- the socket ---------------------------------------------------------------------------------


def test_the_first_frame(place: Place) -> None:
    with visit(place, "&client_id=my%20client") as client:
        frame = client.receive()
    data = frame["data"]
    assert (frame["event_type"], frame["source"]) == ("connected", "hub")
    assert (frame["room"], frame["offset"]) == (None, None)
    assert data["client_id"] == "my client"
    assert 290 <= data["expires_in"] <= 300
    with visit(place) as client:
        data = client.receive()["data"]
        assert data["client_id"] == data["connection_id"]


def test_the_table(place: Place) -> None:
    with visit(place, "&client_id=c") as client, visit(place, "&client_id=c") as other:
        connected = client.receive()["data"]
        other.receive()
        assert client.say("ping", id=3)["message"] == "pong"
        joined = client.say("join", room="agents", id=4)
        assert (joined["message"], joined["id"], joined["data"]["members"]) == ("joined", 4, 1)
        assert other.say("join", room="agents")["data"]["members"] == 2
        types = {"event_types": ["agent_created", "agent_deleted"]}
        assert client.say("subscribe", data=types)["data"] == {**types, "rooms": ["agents"]}
        hub = place.hub
        place.run(hub.publish("agents", "agent_updated", {"n": 1}))
        place.run(hub.publish("agents", "agent_created", {"n": 2}))
        seen = client.receive()
        assert (seen["event_type"], seen["room"]) == ("agent_created", "agents")
        assert (seen["data"], seen["source"]) == ({"n": 2}, "agent_service")
        assert seen["offset"] == joined["data"]["offset"] + 2
        assert [other.receive()["data"]["n"] for _ in range(2)] == [1, 2]
        info = client.say("info")["data"]
        assert info["connection_id"] == connected["connection_id"]
        assert (info["rooms"], info["event_types"]) == (["agents"], types["event_types"])
        assert info["messages_received"] == 4
        assert client.say("unsubscribe", data=types)["data"]["event_types"] == []
        assert client.say("leave", room="agents")["data"]["members"] == 1
        assert not client.say("leave", room="agents")["success"]
        fault = client.say("heartbeat", data={"agent_id": "a"}, id="h")
        assert (fault["success"], fault["data"]["code"]) == (False, "method_not_found")
    with visit(place) as client:
        client.receive()
        data = {"epoch": joined["data"]["epoch"], "offset": joined["data"]["offset"]}
        resumed = client.say("join", room="agents", data=data)
        assert resumed["data"]["recovered"]
        assert [client.receive()["data"]["n"] for _ in range(2)] == [1, 2]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("nonsense", "bad_request"),
        ('{"action":"dance"}', "method_not_found"),
        ('{"action":"join","room":"nowhere"}', "unknown_channel"),
        ('{"action":"subscribe","data":{"event_types":["dance"]}}', "unknown_type"),
    ],
)
def test_a_fault_is_a_reply_and_the_connection_lives_on(place: Place, text: str, code: str) -> None:
    with visit(place) as client:
        client.receive()
        client.socket.send(text)
        reply = client.receive()
        assert (reply["success"], reply["data"]["code"]) == (False, code)
        assert client.say("ping")["success"]


def test_an_event_for_everyone(place: Place) -> None:
    with visit(place) as one, visit(place) as other:
        one.receive(), other.receive()
        assert place.run(place.rooms.broadcaster.broadcast_custom_event("deploy_done")) == 2
        for client in (one, other):
            frame = client.receive()
            assert (frame["event_type"], frame["room"]) == ("deploy_done", None)


@pytest.mark.parametrize(
    ("query", "shown", "code"),
    [
        ("", "not.a.token", 3500),
        ("&client_id=" + "x" * 129, None, 3501),
        ("&client_id=a%0Ab", None, 3501),
    ],
)
def test_who_is_turned_away_is_told_in_words_too(
    place: Place, query: str, shown: str | None, code: int
) -> None:
    with visit(place, query, shown=shown) as client:
        frame, closed = client.last_words()
    assert (frame["event_type"], frame["data"]["code"], closed) == ("disconnected", code, code)


@pytest.mark.parametrize(
    ("messages", "code"),
    [([b"\x00"], 1003), (["x" * 65537], 1009), (["nonsense"] * 21, 3509)],
)
def test_every_close_of_ours_is_announced(
    place: Place, messages: list[str | bytes], code: int
) -> None:
    with visit(place) as client:
        for message in messages:
            client.socket.send(message)
        frame, closed = client.last_words()
    assert (frame["event_type"], frame["data"]["code"], closed) == ("disconnected", code, code)


def test_a_token_that_ends_closes(place: Place) -> None:
    with visit(place, shown=token(ttl=1)) as client:
        frame, closed = client.last_words()
    assert (frame["event_type"], closed) == ("disconnected", 3005)


def test_drain_says_goodbye(place: Place) -> None:
    with visit(place) as client:
        client.receive()
        place.run(place.hub.drain(timeout=5))
        place.hub.draining = False
        frame, closed = client.last_words()
    assert (frame["data"], closed) == ({"code": 3001, "reason": "shutdown"}, 3001)


# -- /ws/stats ----------------------------------------------------------------------------------


def test_stats_count_all_dialects_truly(place: Place) -> None:
    until(lambda: place.hub.stats.active_connections == 0)
    before = place.stats()
    assert (before["rooms"], before["total_rooms"]) == ({}, 0)
    with visit(place) as one, visit(place) as other, visit(place, path="/plain/7") as plain:
        for client in (one, other):
            client.receive()
            client.say("join", room="lounge")
        one.say("join", room="tasks")
        plain.socket.recv(timeout=10)
        plain.socket.send('{"type":"ping"}')
        plain.socket.recv(timeout=10)
        now = place.stats()
        assert now["active_connections"] == 3
        assert now["total_connections"] - before["total_connections"] == 3
        assert now["messages_received"] - before["messages_received"] == 4
        assert now["messages_sent"] - before["messages_sent"] == 7
        assert (now["rooms"], now["total_rooms"]) == ({"lounge": 2, "tasks": 1}, 2)
    until(lambda: place.hub.stats.active_connections == 0)
    after = place.stats()
    assert after["total_disconnections"] - before["total_disconnections"] == 3
    assert after["rooms"] == {}


def test_stats_are_for_who_has_a_token(place: Place) -> None:
    response = place.ask("GET", "/ws/stats")
    assert response.status_code == 401
    assert response.headers["content-type"] == "application/problem+json"


# -- /ws/broadcast ------------------------------------------------------------------------------

EVENT = {"event_type": "alert_triggered", "data": {"level": "warning"}, "room": "system"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"X-API-Key": "wrong"}, 401),
        ({"X-API-Key": API_KEY}, 200),
        (bearer(), 403),
        (bearer(role="service"), 403),
        (bearer(broadcast="yes"), 403),
        (bearer(role="admin"), 200),
        (bearer(broadcast=True), 200),
        ({"Authorization": "Bearer nonsense"}, 401),
    ],
)
def test_who_may_broadcast(place: Place, headers: dict[str, str], status: int) -> None:
    response = place.ask("POST", "/ws/broadcast", json=EVENT, headers=headers)
    assert response.status_code == status
    if status >= 400:
        assert response.headers["content-type"] == "application/problem+json"


def test_a_broadcast_reaches_the_room_and_says_whom(place: Place) -> None:
    with visit(place) as here, visit(place) as filtered, visit(place) as elsewhere:
        for client in (here, filtered, elsewhere):
            client.receive()
        here.say("join", room="system")
        filtered.say("join", room="system")
        filtered.say("subscribe", data={"event_types": ["connected"]})
        headers = {"X-API-Key": API_KEY}
        answer = place.ask("POST", "/ws/broadcast", json=EVENT, headers=headers).json()
        frame = here.receive()
        assert answer.pop("epoch").isalnum()
        assert answer == {"delivered_to": 1, "offset": frame["offset"]}
        assert (frame["source"], frame["data"]) == ("api_server", {"level": "warning"})
        body = {"event_type": "connected", "source": "me"}
        answer = place.ask("POST", "/ws/broadcast", json=body, headers=headers).json()
        assert answer["delivered_to"] == 3
        frame = filtered.receive()
        assert (frame["event_type"], frame["room"], frame["source"]) == ("connected", None, "me")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"nonsense", 400),
        (b'{"event_type":"connected","data":NaN}', 400),
        (b"[]", 422),
        (b"{}", 422),
        (b'{"event_type":"dance"}', 422),
        (b'{"event_type":"connected","data":[1]}', 422),
        (b'{"event_type":"connected","more":1}', 422),
        (b'{"event_type":"connected","source":""}', 422),
        (b'{"event_type":"connected","room":"nowhere"}', 404),
        (b'{"event_type":"connected","room":"rooms"}', 404),
        (b" " * 65537, 413),
    ],
)
def test_what_is_no_broadcast(place: Place, body: bytes, status: int) -> None:
    before = place.hub.stats.publications
    headers = {"X-API-Key": API_KEY, "Content-Type": "application/json"}
    response = place.ask("POST", "/ws/broadcast", content=body, headers=headers)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert place.hub.stats.publications == before


# -- by the clock -------------------------------------------------------------------------------


class OnlyAnna:
    """A verifier for a hub whose clock does not run."""

    async def verify(self, token: str) -> Identity:
        return Identity("anna", claims=MappingProxyType({}))


def test_metrics_and_health_come_by_themselves() -> None:
    clock, wrong = FakeClock(), list[str]()
    hub = Hub(auth=OnlyAnna(), clock=clock)
    rooms = Rooms(hub)
    rooms.watch_health(lambda: list(wrong))
    app = FastAPI()
    app.include_router(rooms.router)  # the hub's own router is not needed for this
    with TestClient(app) as client, client.websocket_connect("/ws?token=x") as socket:
        assert client.portal is not None
        advance = client.portal.call
        advance(clock.advance, 60)
        assert hub.stats.publications == 0, "nobody is in `system`"
        assert socket.receive_json()["event_type"] == "connected"
        socket.send_json({"action": "join", "room": "system"})
        assert socket.receive_json()["success"]

        def heard(type: str) -> Any:
            # A period is 10 s give or take a tenth, so either may come first.
            while (frame := socket.receive_json())["event_type"] != type:
                pass
            return frame["data"]

        wrong.append("the disk is full")
        advance(clock.advance, 1.2)
        problems = {"problems": ["the disk is full"]}
        assert heard("health_changed") == {"status": "unhealthy", "details": problems}
        advance(clock.advance, 3)
        wrong.clear()
        advance(clock.advance, 1.2)
        assert heard("health_changed") == {"status": "healthy", "details": {"problems": []}}
        advance(clock.advance, 11)
        assert heard("metrics_updated")["rooms"] == {"system": 1}


def test_without_a_key_configured_no_key_is_one() -> None:
    hub = Hub(auth=build_verifier(clock=FakeClock(), secret=SECRET), clock=FakeClock())
    app = FastAPI()
    app.include_router(Rooms(hub).router)
    with TestClient(app) as client:
        for key in ("", "None"):
            response = client.post("/ws/broadcast", json=EVENT, headers={"X-API-Key": key})
            assert response.status_code == 401
