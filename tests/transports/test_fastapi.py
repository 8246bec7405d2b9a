"""The hub as a FastAPI user holds it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from cardume import (
    ConfigurationError,
    CurrentHub,
    CurrentIdentity,
    Hub,
    HubNotRunning,
    Identity,
)
from tests.support.house import SECRET, House, make_hub, token
from tests.support.stages import Denied, InProcessStage, Stage, in_process, until, uvicorn_on


@contextmanager
def running(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app) as client:
        yield client


def first_frame(client: TestClient, path: str) -> dict[str, Any]:
    with client.websocket_connect(f"{path}?token={token()}") as session:
        frame: dict[str, Any] = session.receive_json()
        return frame


def room_on(hub: Hub) -> None:
    @hub.channel("room:{room_id}", path="/ws/room/{room_id}", history=5)
    async def room(room_id: int, identity: Identity) -> None: ...


@pytest.mark.parametrize("prefix", ["", "/rt", "/a/b"])
@pytest.mark.parametrize("declared_first", [True, False])
def test_prefix_moves_every_address_whenever_it_is_included(
    prefix: str, declared_first: bool
) -> None:
    app, hub = FastAPI(), make_hub()
    if declared_first:
        room_on(hub)
    app.include_router(hub.router, prefix=prefix)
    if not declared_first:
        room_on(hub)
    with running(app) as client:
        assert first_frame(client, f"{prefix}/ws/room/7")["data"]["channel"] == "room:7"
        if prefix:
            with pytest.raises(WebSocketDisconnect):  # nobody accepts
                first_frame(client, "/ws/room/7")


def test_the_hub_runs_exactly_as_long_as_the_app() -> None:
    app, hub = FastAPI(), make_hub()
    app.include_router(hub.router)
    states = [hub.running]
    for _ in range(2):
        with running(app):
            states.append(hub.running)
        states.append(hub.running)
    assert states == [False, True, False, True, False]


def test_an_app_may_start_again_on_another_loop() -> None:
    app, hub = FastAPI(), make_hub()
    app.include_router(hub.router)
    room_on(hub)
    for _ in range(3):
        with running(app) as client:
            assert first_frame(client, "/ws/room/7")["type"] == "connected"


def test_two_hubs_in_one_app() -> None:
    app, one, other = FastAPI(), make_hub(), make_hub()
    room_on(one)
    room_on(other)
    app.include_router(one.router, prefix="/one")
    app.include_router(other.router, prefix="/other")
    with running(app) as client:
        stage = InProcessStage(House(), client)
        with (
            client.websocket_connect(f"/one/ws/room/7?token={token()}") as here,
            client.websocket_connect(f"/other/ws/room/7?token={token()}") as there,
        ):
            epochs = {session.receive_json()["data"]["epoch"] for session in (here, there)}
            assert len(epochs) == 2
            stage.run(lambda: one.publish("room:7", "m", {"from": "one"}))
            stage.run(lambda: other.publish("room:7", "m", {"from": "other"}))
            assert here.receive_json()["data"] == {"from": "one"}
            assert there.receive_json()["data"] == {"from": "other"}
        assert one.stats.total_connections == other.stats.total_connections == 1
    assert not one.running
    assert not other.running


def test_an_app_without_its_lifespan_says_what_to_do() -> None:
    app, hub = FastAPI(), make_hub()
    app.include_router(hub.router)
    room_on(hub)
    client = TestClient(app)
    with pytest.raises(HubNotRunning, match=r"hub\.router"):
        first_frame(client, "/ws/room/7")


def test_a_server_without_lifespan_answers_500_and_says_why(
    caplog: pytest.LogCaptureFixture,
) -> None:
    house = House()
    with uvicorn_on(house, "asyncio", lifespan="off") as stage:
        with pytest.raises(Denied) as denied, stage.connect(f"/rt/ws/room/1?token={token()}"):
            pass
        until(lambda: "the hub is not running" in caplog.text)
    assert denied.value.status == 500


def test_without_a_secret_the_app_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CARDUME_JWT_SECRET", raising=False)
    app = FastAPI()
    hub = Hub()
    app.include_router(hub.router)
    with pytest.raises(ConfigurationError, match="CARDUME_JWT_SECRET"), running(app):
        pass
    assert not hub.running
    monkeypatch.setenv("CARDUME_JWT_SECRET", SECRET)
    with running(app):
        assert hub.running


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ("room:{room_id}", "/ws/room"),
        ("room:{room_id}", "/ws/room/{room}"),
        ("a:{x}{y}", "/ws/{x}/{y}"),
        ("no channel", "/ws"),
    ],
)
def test_what_does_not_fit_together_is_said_at_once(template: str, path: str) -> None:
    hub = make_hub()

    async def guard(room_id: str = "", x: str = "", y: str = "") -> None: ...

    with pytest.raises(ConfigurationError):
        hub.channel(template, path=path)(guard)


def test_a_policy_may_be_given_by_name() -> None:
    hub = make_hub()

    @hub.channel("tank:{id}", on_slow="conflate")
    def tank(id: str) -> None: ...

    with pytest.raises(ValueError, match="forget"):
        hub.channel("tank2:{id}", on_slow="forget")


# -- dependencies of HTTP routes --------------------------------------------------------------


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with in_process(House()) as running_stage:
        yield running_stage


@pytest.fixture
def http(stage: Stage) -> TestClient:
    assert isinstance(stage, InProcessStage)
    return stage.client


def test_a_route_publishes_through_the_current_hub(stage: Stage, http: TestClient) -> None:
    with stage.connect(f"/rt/ws/room/9?token={token()}") as client:
        client.receive()
        answer = http.post("/say/9", headers={"Authorization": f"Bearer {token('berta')}"})
        assert (answer.status_code, answer.json()) == (200, {"offset": 1})
        assert client.receive()["data"] == {"by": "berta"}


@pytest.mark.parametrize(
    "request_line",
    [
        {"headers": {}},
        {"headers": {"Authorization": "Bearer nonsense"}},
        {"headers": {"Authorization": "Basic abc"}},
        {"headers": {}, "params": {"token": "any"}},
    ],
)
def test_a_route_asks_for_a_bearer_token(http: TestClient, request_line: dict[str, Any]) -> None:
    answer = http.post("/say/9", **request_line)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"


def test_a_token_in_a_query_is_none_for_http(http: TestClient) -> None:
    assert http.post("/say/9", params={"token": token()}).status_code == 401


def test_a_route_of_an_app_without_a_hub() -> None:
    app = FastAPI()

    @app.get("/")
    async def home(hub: CurrentHub, identity: CurrentIdentity) -> None: ...

    with running(app) as client, pytest.raises(HubNotRunning):
        client.get("/")
