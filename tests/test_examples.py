"""The examples run as their pages say."""

from __future__ import annotations

import ast
import inspect
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from websockets.sync.client import ClientConnection, connect

from cardume import testing
from cardume.auth.signer import TokenSigner
from cardume.clock import SystemClock
from tests.support.ports import free_port
from tests.support.processes import process
from tests.support.waiting import PATIENCE

ROOT = Path(__file__).parent.parent
SECRET = "of-these-examples-alone-" + "x" * 32


PAGE = (ROOT / "docs/apps.md").read_text()


@contextmanager
def served(folder: Path, socket_path: str) -> Iterator[tuple[httpx2.Client, ClientConnection]]:
    """`uvicorn main:app` in `folder`, asked over HTTP and heard on a WebSocket, as ann."""
    uvicorn = ["uvicorn", "main:app", "--port", str(free_port())]
    token = TokenSigner(SECRET, SystemClock()).mint("ann", ttl=300)
    with process(uvicorn, folder, CARDUME_JWT_SECRET=SECRET) as server:
        where = f"127.0.0.1:{server.port()}"
        headers = {"Authorization": f"Bearer {token}"}
        client = httpx2.Client(base_url=f"http://{where}", headers=headers, timeout=PATIENCE)
        with client, connect(f"ws://{where}{socket_path}?token={token}", proxy=None) as ws:
            assert json.loads(ws.recv())["type"] == "connected"
            yield client, ws


def test_the_first_lines_of_the_page_about_apps(tmp_path: Path) -> None:
    snippet = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert snippet is not None
    (tmp_path / "main.py").write_text(snippet[1])
    with served(tmp_path, "/ws/cards") as (client, ws):
        assert json.loads(ws.recv())["type"] == "snapshot"
        made = client.post("/api/v1/cards", json={"title": "clean the filter"})
        assert made.status_code == 201, made.text
        event = json.loads(ws.recv())
        assert (event["channel"], event["data"]["title"]) == ("cards", "clean the filter")
    assert (tmp_path / "app.db").exists()


def test_the_tickets_of_the_page_about_apps(tmp_path: Path) -> None:
    shutil.copy(ROOT / "examples/tickets/main.py", tmp_path)
    with served(tmp_path, "/ws/tickets") as (client, ws):
        assert json.loads(ws.recv())["data"] == {"tickets": []}
        opened = client.post("/tickets", json={"title": "no light"})
        assert opened.status_code == 201
        event = json.loads(ws.recv())
        assert (event["type"], event["data"]) == ("ticket_opened", opened.json())
        refused = client.post("/tickets/1/close")
        assert refused.status_code == 409
        said = "cannot close: the ticket is open; legal moves: take"
        assert refused.json()["detail"] == said
        assert said in PAGE
        assert client.post("/tickets/1/take").json()["taken_by"] == "ann"
        assert json.loads(ws.recv())["data"]["version"] == 2
        assert client.post("/tickets/1/burn").status_code == 404
        assert client.post("/tickets/2/take").status_code == 404


async def test_the_page_about_the_library_is_one_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARDUME_JWT_SECRET", SECRET)
    page = (ROOT / "docs/library.md").read_text()
    said: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        code = compile(block, "library.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        if code.co_flags & inspect.CO_COROUTINE:  # it publishes: somewhere in the running program
            async with testing.running(said["app"]):
                await eval(code, said)
        else:
            exec(code, said)
    await said["test_what_is_published_is_heard"]()
    said["test_somebody_is_let_in"](TokenSigner(SECRET, SystemClock()).mint("ann", ttl=300))
    async with testing.running(said["app"]), testing.client(said["hub"], "/ws/room/7") as stranger:
        assert stranger.closed == 3500
    async with (
        testing.running(said["app"]) as site,
        testing.client(site, "/ws/room/7", identity="ann") as ws,
        testing.client(site, "/ws/desk/7", identity="eve") as eve,
    ):
        assert (await ws.expect("snapshot"))["data"] == {"members": ["ann", "bob"]}
        assert await ws.action("rename_room", room_id=7, title="reef") == {"title": "reef"}
        assert eve.closed == 3507
