"""The examples run as their pages say."""

from __future__ import annotations

import json
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
from websockets.sync.client import ClientConnection, connect

from cardume.auth.signer import TokenSigner
from cardume.clock import SystemClock
from tests.support.processes import process

ROOT = Path(__file__).parent.parent
SECRET = "of-these-examples-alone-" + "x" * 32


PAGE = (ROOT / "docs/apps.md").read_text()


@contextmanager
def served(folder: Path, socket_path: str) -> Iterator[tuple[httpx2.Client, ClientConnection]]:
    """`uvicorn main:app` in `folder`, asked over HTTP and heard on a WebSocket, as ann."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    uvicorn = ["uvicorn", "main:app", "--port", str(free)]
    token = TokenSigner(SECRET, SystemClock()).mint("ann", ttl=300)
    with process(uvicorn, folder, CARDUME_JWT_SECRET=SECRET) as server:
        where = f"127.0.0.1:{server.port()}"
        headers = {"Authorization": f"Bearer {token}"}
        client = httpx2.Client(base_url=f"http://{where}", headers=headers)
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
