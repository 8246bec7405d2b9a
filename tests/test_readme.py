"""The README is run as it is printed, and its links lead somewhere."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from cardume.settings import Settings
from tests.support.ports import free_port
from tests.support.waiting import PATIENCE

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    return {**os.environ, "CARDUME_JWT_SECRET": "of-this-test-alone-" + "x" * 32}


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Iterator[int]:
    """`uvicorn main:app` in an empty folder that holds the README's example as main.py."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "main.py").write_text(blocks("python")[0])
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "main:app", "--port", str(port)]
    with subprocess.Popen(
        command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stderr is not None
        for line in server.stderr:
            if "running on" in line:
                break
        try:
            yield port
        finally:
            server.terminate()
            server.stderr.read()


@pytest.fixture(scope="module")
def token(environment: dict[str, str]) -> str:
    command = [sys.executable, "-m", "cardume", "token", "--user", "ann"]
    return subprocess.check_output(command, env=environment, text=True).strip()


def test_the_example_is_the_file_it_names() -> None:
    assert blocks("python")[0] == (ROOT / "examples/rooms/main.py").read_text()


async def test_the_example_does_what_the_readme_shows(port: int, token: str) -> None:
    shown = [json.loads(line) for line in blocks("json")[0].splitlines()]
    url = f"127.0.0.1:{port}"
    async with connect(f"ws://{url}/ws/room/7?token={token}", proxy=None) as ws:
        connected = json.loads(await ws.recv())
        await asyncio.to_thread(post, f"http://{url}/rooms/7/messages?text=hi", token)
        message = json.loads(await ws.recv())
    assert connected.keys() == shown[0].keys()
    assert connected["data"].keys() == shown[0]["data"].keys()
    assert message | {"timestamp": "…"} == shown[1]
    since = f"{connected['data']['epoch']}:0"
    async with connect(f"ws://{url}/ws/room/7?token={token}&since={since}", proxy=None) as ws:
        assert json.loads(await ws.recv())["data"]["recovered"]
        assert json.loads(await ws.recv()) == message


def post(url: str, token: str) -> Any:
    request = urllib.request.Request(
        url, method="POST", headers={"Authorization": f"Bearer {token}"}
    )
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return json.load(answer)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text()):
        if "://" not in target:
            assert (path.parent / target).exists(), target


def test_every_setting_is_documented() -> None:
    listed = set(re.findall(r"`([A-Z_]+)`", (ROOT / "docs/server.md").read_text()))
    assert {name.upper() for name in Settings.model_fields} <= listed
