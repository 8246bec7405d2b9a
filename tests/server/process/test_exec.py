"""`cardume exec` against `cardume serve`: nothing of a command's output is lost on the way."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import connect

from tests.support.serving import Served, environment, token
from tests.support.waiting import PATIENCE, wait_for

COUNT = """
import sys, time
for number in range(1, 3001):
    print("line", number, flush=True, file=sys.stderr if number % 10 == 0 else sys.stdout)
    if number % 10 == 0: time.sleep(0.005)
sys.exit(7)
"""


@contextmanager
def executing(server: Served, tmp_path: Path, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """`cardume exec -- COMMAND` while the block runs; its streams go to files."""
    with (tmp_path / "out").open("wb") as out, (tmp_path / "err").open("wb") as err:
        url = f"http://127.0.0.1:{server.port}"
        run = subprocess.Popen(
            [sys.executable, "-m", "cardume", "exec", "--url", url, "--", *command],
            stdout=out,
            stderr=err,
            env=environment(CARDUME_TOKEN=token("ann", role=None)),
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
        assert run.wait(4 * PATIENCE) == 7
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
        assert run.wait(PATIENCE) == 0
