"""Cards over real WebSockets: the snapshot on connect, and actions that are twins of HTTP calls."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from cardume.apps.cards import Cards, router
from cardume.engines.memory import MemoryEngine
from cardume.storage.database import Storage
from tests.apps.cards.wall import Viewer
from tests.support.house import House, make_hub, token
from tests.support.stages import Client, Closed, SocketStage, until, uvicorn_on


class CardHouse(House):
    """An application with the cards app and nothing else."""

    def __init__(self, database: Path) -> None:
        self.hub = make_hub()
        self.loop = None
        self.app = FastAPI(lifespan=self._lifespan)
        storage = Storage(f"sqlite+aiosqlite:///{database}", self.hub.publish)
        self.app.include_router(self.hub.router)
        self.app.include_router(router(Cards(self.hub, storage)))


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SocketStage]:
    with uvicorn_on(CardHouse(tmp_path_factory.mktemp("cards") / "c.db"), "uvloop") as stage:
        assert isinstance(stage, SocketStage)
        yield stage


class Visitor:
    """One WebSocket, with everything that it was told."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._ids = itertools.count(1)
        self.frames: list[Any] = [client.receive(), client.receive()]

    def act(self, name: str, **body: Any) -> Any:
        """The reply to an action; what comes meanwhile is kept."""
        id = next(self._ids)
        data = {"name": name, **body}
        self._client.send(json.dumps({"type": "action", "id": id, "data": data}))
        return self.until(lambda frame: frame.get("id") == id)

    def told(self, type: str) -> Any:
        """The next event of a type."""
        return self.until(lambda frame: frame["type"] == type)["data"]

    def until(self, wanted: Any) -> Any:
        while True:
            frame = self._client.receive()
            self.frames.append(frame)
            if wanted(frame):
                return frame


@contextmanager
def visit(stage: SocketStage, path: str = "/ws/cards", who: str = "anna") -> Iterator[Visitor]:
    with stage.connect(f"{path}?token={token(who)}") as client:
        yield Visitor(client)


def call(stage: SocketStage, method: str, path: str, body: Any = None) -> httpx2.Response:
    headers = {"Authorization": f"Bearer {token()}"}
    url = f"http://127.0.0.1:{stage.port}/api/v1{path}"
    return httpx2.request(method, url, json=body, headers=headers)


def test_the_board_is_told_on_connect_and_everybody_hears_of_every_action(
    stage: SocketStage,
) -> None:
    with visit(stage) as anna, visit(stage, who="eva") as eva:
        assert [frame["type"] for frame in anna.frames] == ["connected", "snapshot"]
        assert anna.frames[1]["data"]["board"]["board_id"] == "main"
        made = anna.act("create_card", title="Feed the fish")["data"]
        assert eva.told("card_created") == made
        with visit(stage, f"/ws/cards/{made['id']}", "zoe") as zoe:
            assert zoe.frames[1]["data"] == made
            changed = eva.act("update_card", card_id=made["id"], version=1, title="Now")["data"]
            assert (changed["version"], changed["updated_by"]) == (2, "eva")
            assert anna.told("card_updated") == zoe.told("card_updated") == changed
            moved = zoe.act("move_card", card_id=made["id"], version=2, column_id="plan")["data"]
            assert anna.told("card_moved") == eva.told("card_moved") == moved
            assert zoe.act("delete_card", id=made["id"], version=3)["data"] == {}
            assert anna.told("card_deleted") == eva.told("card_deleted")
            assert zoe.frames[-2]["type"] == "card_deleted"
        assert Viewer().hear(anna.frames).cards == {}


def test_an_action_has_the_body_and_the_errors_of_its_http_twin(stage: SocketStage) -> None:
    with visit(stage) as anna:
        card = anna.act("create_card", title="x", labels=["a"])["data"]
        id = card["id"]
        refused: list[tuple[str, dict[str, Any], str, str, dict[str, Any]]] = [
            ("create_card", {"title": ""}, "POST", "/cards", {}),
            ("create_card", {"title": "x", "column_id": "attic"}, "POST", "/cards", {}),
            ("create_card", {"title": "x", "colour": "red"}, "POST", "/cards", {}),
            ("update_card", {"version": 9}, "PATCH", f"/cards/{id}", {"card_id": id}),
            ("move_card", {"version": 9, "column_id": "plan"}, "POST", f"/cards/{id}/move",
             {"card_id": id}),
            ("move_card", {"version": 1, "column_id": "plan", "after_id": "card-0"}, "POST",
             f"/cards/{id}/move", {"card_id": id}),
            ("move_card", {"version": 1, "column_id": "plan"}, "POST", "/cards/card-0/move",
             {"card_id": "card-0"}),
        ]  # fmt: skip
        for name, body, method, path, more in refused:
            reply = anna.act(name, **body, **more)
            problem = call(stage, method, path, body).json()
            assert reply["type"] == "error"
            assert reply["data"]["code"] == problem["code"]
            assert reply["data"].get("card") == problem.get("card")
            assert reply["data"].get("columns") == problem.get("columns")
        stale = anna.act("delete_card", card_id=id, version=2)["data"]
        assert (stale["code"], stale["card"]) == ("conflict", card)
        assert anna.act("delete_card", card_id=id)["data"]["code"] == "invalid_fields"
        assert anna.act("delete_card", version=1)["data"]["code"] == "invalid_fields"
        assert call(stage, "GET", f"/cards/{id}").json() == card
        anna.act("delete_card", card_id=id, version=1)


def test_a_card_that_is_not_there_is_3508_and_nobody_comes_without_a_token(
    stage: SocketStage,
) -> None:
    for path, code in (
        (f"/ws/cards/card-0?token={token()}", 3508),
        ("/ws/cards", 3500),
        ("/ws/cards/card-0", 3500),
    ):
        with stage.connect(path) as client, pytest.raises(Closed) as closed:
            client.receive()
        assert closed.value.code == code


def test_a_card_that_is_not_there_leaves_nothing_behind(stage: SocketStage) -> None:
    engine = stage.house.hub.engine
    assert isinstance(engine, MemoryEngine)
    before = set(engine._streams)
    for id in ("nothing", "card-0", "x" * 200):
        with (
            stage.connect(f"/ws/cards/{id}?token={token()}") as client,
            pytest.raises(Closed) as closed,
        ):
            client.receive()
        assert closed.value.code == 3508
    assert set(engine._streams) == before
    channels = stage.house.hub.channels
    until(lambda: not [name for name in channels() if name.startswith("card:")])
