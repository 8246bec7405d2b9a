"""`cardume exec` against `cardume serve`: nothing of a command's output is lost on the way."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from cardume.auth.signer import TokenSigner
from cardume.testing import FakeClock
from tests.support.serving import SECRET, Served, environment, served, token
from tests.support.waiting import PATIENCE, START, wait_for

COUNT = """
import sys, time
for number in range(1, 3001):
    print("line", number, flush=True, file=sys.stderr if number % 10 == 0 else sys.stdout)
    if number % 10 == 0: time.sleep(0.005)
sys.exit(7)
"""


@contextmanager
def executing(
    server: Served,
    tmp_path: Path,
    *command: str,
    bearer: str | None = None,
    card: str | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """`cardume exec -- COMMAND` while the block runs; its streams go to files."""
    options = [] if card is None else ["--card", card]
    shown = bearer or token("ann", role=None)
    with (tmp_path / "out").open("wb") as out, (tmp_path / "err").open("wb") as err:
        url = f"http://127.0.0.1:{server.port}"
        run = subprocess.Popen(
            [sys.executable, "-m", "cardume", "exec", "--url", url, *options, "--", *command],
            stdout=out,
            stderr=err,
            env=environment(CARDUME_TOKEN=shown),
        )
        try:
            yield run
        finally:
            run.kill()
            run.wait()


def execution(server: Served) -> dict[str, Any]:
    """The newest one."""
    items = server.admin("GET", "/executions")["items"]
    return dict(items[0]) if items else {}


def log(server: Served, execution_id: str) -> list[dict[str, Any]]:
    """All of it, by pages."""
    lines: list[dict[str, Any]] = []
    while True:
        after = lines[-1]["seq"] if lines else 0
        path = f"/executions/{execution_id}/log?after={after}&limit=700"
        page = server.admin("GET", path)["lines"]
        if not page:
            return lines
        lines += page


def test_a_server_that_dies_and_comes_back_has_every_line_once(
    server: Served, tmp_path: Path
) -> None:
    with executing(server, tmp_path, sys.executable, "-u", "-c", COUNT) as run:
        wait_for(lambda: execution(server).get("last_seq", 0) > 300, "some lines")
        server.kill()
        wait_for(lambda: b"away" in (tmp_path / "err").read_bytes() or run.poll(), "a word of it")
        server.start()
        assert run.wait(START) == 7
    found = execution(server)
    assert (found["status"], found["exit_code"]) == ("failed", 7)
    lines = log(server, found["execution_id"])
    assert [line["seq"] for line in lines] == list(range(1, 3001))
    assert sorted(int(line["text"].split()[1]) for line in lines) == list(range(1, 3001))
    assert {line["stream"] for line in lines} == {"stdout", "stderr"}
    shown = (tmp_path / "out").read_text().splitlines()
    assert shown == [f"line {n}" for n in range(1, 3001) if n % 10]


def test_it_prints_where_to_watch_and_a_viewer_sees_the_output_as_it_appears(
    server: Served, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    with executing(server, tmp_path, "sh", "-c", f"echo one; cat {gate}; echo two") as run:
        wait_for(lambda: execution(server).get("last_seq") == 1, "the first line")
        id = execution(server)["execution_id"]
        said = (tmp_path / "err").read_text()
        assert re.search(rf"http://127\.0\.0\.1:{server.port}/\S*{id}", said), said
        url = f"ws://127.0.0.1:{server.port}/ws/execution/{id}?token={token('eve', role=None)}"
        with connect(url, proxy=None) as viewer:
            assert json.loads(viewer.recv())["type"] == "connected"
            snapshot = json.loads(viewer.recv())["data"]
            assert [line["text"] for line in snapshot["lines"]] == ["one"]
            gate.write_bytes(b"")
            logged = json.loads(viewer.recv(PATIENCE))
            assert [line["text"] for line in logged["data"]["lines"]] == ["two"]
            ended = json.loads(viewer.recv(PATIENCE))
            assert (ended["type"], ended["data"]["exit_code"]) == ("execution_completed", 0)
        assert run.wait(START) == 0


APPS = "aquarium,executions"
"""Without a board."""


@pytest.fixture(scope="module")
def boardless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("boardless"), CARDUME_APPS=APPS) as server:
        yield server


def test_a_server_without_a_board_says_nothing_about_cards(
    boardless: Served, tmp_path: Path
) -> None:
    with executing(boardless, tmp_path, "true", card="none") as run:
        assert run.wait(START) == 0
    assert "no card" not in (tmp_path / "err").read_text()


def test_a_token_is_needed_at_the_start_and_no_longer(boardless: Served, tmp_path: Path) -> None:
    """The server comes back with another secret: no token of before is any good."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    command = f"echo one; cat {gate}; echo two; exit 3"
    with executing(boardless, tmp_path, "sh", "-c", command) as run:
        wait_for(lambda: execution(boardless).get("last_seq") == 1, "the first line")
        boardless.kill()
        secret = {"CARDUME_JWT_SECRET": "another-secret-that-is-long-enough"}
        again = Served(boardless.folder, CARDUME_APPS=APPS, **secret)
        again.port, again.mqtt_port = boardless.port, boardless.mqtt_port
        again.start()
        try:
            bearer = {"Authorization": f"Bearer {token('ann', role=None)}"}
            assert again.ask("GET", "/api/v1/executions", headers=bearer).status == 401
            gate.write_bytes(b"")
            assert run.wait(START) == 3
        finally:
            again.stop()
    assert "not delivered" not in (tmp_path / "err").read_text()
    found = boardless.rows("SELECT status, exit_code, last_seq FROM executions WHERE last_seq > 0")
    assert found == [("failed", 3, 2)]


def test_a_token_that_has_expired_is_said_to_be(server: Served, tmp_path: Path) -> None:
    an_hour_ago = FakeClock(start=time.time() - 3600)
    old = TokenSigner(SECRET, an_hour_ago).mint("ann", ttl=60)
    with executing(server, tmp_path, "touch", str(tmp_path / "run"), bearer=old) as run:
        assert run.wait(START) == 1
    said = (tmp_path / "err").read_text()
    assert "your token has expired: make a new one with `cardume token" in said
    assert not (tmp_path / "run").exists()


def test_a_server_without_the_app_is_said_to_be_one(tmp_path: Path) -> None:
    with served(tmp_path, CARDUME_APPS="aquarium") as server:
        with executing(server, tmp_path, "touch", str(tmp_path / "run"), card="c1") as run:
            assert run.wait(START) == 1
        said = (tmp_path / "err").read_text()
        assert "this server runs no executions; start it with --apps …,executions" in said
        assert not (tmp_path / "run").exists()


def test_a_card_that_is_not_there_is_said_and_one_that_is_there_not(
    server: Served, tmp_path: Path
) -> None:
    if server.ended:
        server.start()
    card = server.admin("POST", "/cards", {"title": "Sweep"})["id"]
    for id, said in ((card, 0), ("none", 1)):
        with executing(server, tmp_path, "true", card=id) as run:
            assert run.wait(START) == 0
        assert (tmp_path / "err").read_text().count("no card") == said
        assert execution(server)["card_id"] == id
