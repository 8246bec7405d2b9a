"""Executions over a real server: WebSockets in the plain dialect, HTTP beside them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from cardume.apps.executions import Executions, router
from cardume.storage.database import Storage
from tests.apps.executions.works import line, lines, seqs
from tests.support.house import House, make_hub, token
from tests.support.stages import Client, Closed, Frame, SocketStage, uvicorn_on


class Workshop(House):
    """The app alone, as a project of somebody's includes it."""

    def __init__(self, database: Path) -> None:
        self.hub = make_hub(outbox_limit=1024 * 1024)
        self.loop = None
        self.executions = Executions(
            self.hub, Storage(f"sqlite+aiosqlite:///{database}", self.hub.publish)
        )
        self.app = FastAPI(lifespan=self._lifespan)
        self.app.include_router(self.hub.router)
        self.app.include_router(router(self.executions))


class Site:
    def __init__(self, stage: SocketStage, http: httpx2.Client) -> None:
        self.host = f"127.0.0.1:{stage.port}"
        self._stage = stage
        self._http = http

    def ok(self, method: str, path: str, body: Any = None, who: str = "ana") -> Any:
        headers = {"Authorization": f"Bearer {token(who)}"}
        answer = self._http.request(method, f"/api/v1/executions{path}", json=body, headers=headers)
        assert answer.status_code < 300, answer.text
        return answer.json() if answer.content else None

    @contextmanager
    def watch(self, id: str, query: str = "", who: str = "vera") -> Iterator[Client]:
        with self._stage.connect(f"/ws/execution/{id}?token={token(who)}{query}") as client:
            yield client


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    house = Workshop(tmp_path_factory.mktemp("site") / "works.db")
    with uvicorn_on(house, "uvloop") as stage:
        assert isinstance(stage, SocketStage)
        with httpx2.Client(base_url=f"http://127.0.0.1:{stage.port}", timeout=15) as http:
            yield Site(stage, http)


def of_type(client: Client, type: str) -> Frame:
    """The next frame of a type, past others."""
    while (frame := client.receive())["type"] != type:
        pass
    return frame


def test_a_viewer_is_told_the_state_then_every_event(site: Site) -> None:
    id = site.ok("POST", "", {"name": "build"})["execution_id"]
    site.ok("POST", f"/{id}/log", {"lines": lines(1, 2)})
    with site.watch(id) as client:
        greeting, snapshot = client.receive(), client.receive()
        assert greeting["data"]["recovered"] is False
        assert snapshot["type"] == "snapshot"
        assert snapshot["data"]["execution"]["last_seq"] == 2
        assert snapshot["data"]["lines"] == lines(1, 2)
        site.ok("POST", f"/{id}/log", {"lines": lines(3, 4)})
        site.ok("POST", f"/{id}/progress", {"done": 1, "total": 2})
        ended = site.ok("POST", f"/{id}/fail", {"exit_code": 2})
        log, progress, failed = client.receive(), client.receive(), client.receive()
        assert log["data"] == {"lines": lines(3, 4), "first_seq": 3, "last_seq": 4}
        assert progress["data"]["progress"] == {"done": 1.0, "total": 2.0, "message": None}
        assert failed["type"] == "execution_failed"
        assert failed["data"] == ended
    since = f"&since={greeting['data']['epoch']}:{log['offset']}"
    with site.watch(id, since) as client:
        assert client.receive()["data"]["recovered"] is True
        assert [client.receive()["type"] for _ in range(2)] == ["progress", "execution_failed"]


def test_an_execution_that_there_is_not_is_said_to_be_none(site: Site) -> None:
    with site.watch("nobody") as client, pytest.raises(Closed) as caught:
        client.receive()
    assert caught.value.code == 3508


def test_a_deleted_execution_sends_its_viewers_away_for_good(site: Site) -> None:
    id = site.ok("POST", "", {"name": "build"})["execution_id"]
    site.ok("POST", f"/{id}/complete")
    with site.watch(id) as client:
        greeting = client.receive()
        of_type(client, "snapshot")
        site.ok("DELETE", f"/{id}")
        with pytest.raises(Closed) as caught:
            client.receive()
        assert caught.value.code == 3508
    since = f"&since={greeting['data']['epoch']}:{greeting['data']['offset']}"
    with site.watch(id, since) as client, pytest.raises(Closed) as caught:
        client.receive()
    assert caught.value.code == 3508


def test_whoever_may_cancel_over_http_may_by_an_action(site: Site) -> None:
    id = site.ok("POST", "", {"name": "build"})["execution_id"]
    action = json.dumps({"type": "action", "id": 7, "data": {"name": "cancel_execution",
                                                             "execution_id": id}})  # fmt: skip
    with site.watch(id, who="ben") as ben, site.watch(id, who="ana") as ana:
        ben.send(action)
        refused = of_type(ben, "error")
        assert refused["data"]["code"] == "permission_denied"
        assert refused["id"] == 7
        assert site.ok("GET", f"/{id}")["status"] == "running"
        ana.send(action)
        result = of_type(ana, "result")
        assert of_type(ben, "execution_cancelled")["data"] == site.ok("GET", f"/{id}")
        assert result["data"]["status"] == "cancelled"
        ana.send(json.dumps({"type": "action", "data": {"name": "cancel_execution"}}))
        assert of_type(ana, "error")["data"]["code"] == "invalid_fields"
        ana.send(action.replace(id, "nobody"))
        assert of_type(ana, "error")["data"]["code"] == "not_found"


def test_100_000_lines_reach_a_viewer_who_was_there_and_one_who_comes_late(site: Site) -> None:
    id = site.ok("POST", "", {"name": "build"})["execution_id"]
    found: list[int] = []
    with site.watch(id) as client:
        of_type(client, "snapshot")
        for start in range(1, 100_001, 2000):
            batch = [line(seq, "x" * 80) for seq in range(start, start + 2000)]
            site.ok("POST", f"/{id}/log", {"lines": batch})
            while len(found) < start + 1999:
                found += seqs(of_type(client, "log")["data"]["lines"])
    assert found == list(range(1, 100_001))

    late: list[int] = []
    page: Any = {"next": 0}
    while page["next"] is not None:
        page = site.ok("GET", f"/{id}/log?after={page['next']}&limit=5000")
        late += seqs(page["lines"])
    assert late == found


def test_the_client_of_the_docs_sees_every_line_once(site: Site) -> None:
    text = (Path(__file__).parents[3] / "docs" / "executions.md").read_text()
    [code] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    id = site.ok("POST", "", {"name": "build"})["execution_id"]
    for start in range(1, 12_001, 2000):
        site.ok("POST", f"/{id}/log", {"lines": lines(start, start + 1999)})
    followed = names["follow"](site.host, id, token("vera"))
    found = [next(followed) for _ in range(12_000)]
    site.ok("POST", f"/{id}/log", {"lines": lines(12_001, 12_010)})
    site.ok("POST", f"/{id}/complete")
    found += followed
    assert seqs(found) == list(range(1, 12_011))
    assert seqs(list(names["follow"](site.host, id, token("vera"), 11_990))) == list(
        range(11_991, 12_011)
    )
