"""What docs/rooms.md prints is run as it stands, against the demo, without a token."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.async_api import async_playwright

from tests.support.browser import CHROMIUM, CHROMIUM_ARGS
from tests.support.serving import Served, served
from tests.support.waiting import until, wait_for

PAGE = (Path(__file__).parent.parent / "docs/rooms.md").read_text()


_CREATED = re.compile(r"agent_created.*agent_neutrophil_\d+", re.DOTALL)


def block(language: str, server: Served) -> str:
    """The page's block in a language; the demo of the test has a port of its own."""
    found = re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found[1].replace("localhost:8000", f"localhost:{server.port}")


def node_has_websocket() -> bool:
    node = shutil.which("node")
    asked = "process.exit(typeof WebSocket === 'function' ? 0 : 1)"
    command = [node or "", "--experimental-websocket", "-e", asked]
    return node is not None and subprocess.run(command, capture_output=True).returncode == 0


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("rooms"), "demo") as server:
        yield server


@pytest.fixture(autouse=True)
def nobody_is_there(demo: Served) -> None:
    """Who was killed at the end of a test is gone a moment later."""
    wait_for(lambda: members(demo, "agents") == 0, "an empty room")


def members(demo: Served, room: str) -> int:
    stats = demo.ask("GET", "/ws/stats").body
    count: int = stats["rooms"].get(room, 0)
    return count


@contextmanager
def printing(command: list[str], folder: Path) -> Iterator[list[str]]:
    """The lines a client prints while the block runs."""
    output = folder / "printed.txt"
    lines: list[str] = []
    with output.open("wb") as out:
        client = subprocess.Popen(command, stdout=out, stderr=out)
        try:
            yield lines
            wait_for(lambda: _CREATED.search(output.read_text()), "an agent, with its id")
        finally:
            client.kill()
            client.wait()
    lines += output.read_text().splitlines()


def curl(line: str) -> dict[str, object]:
    """Run one line of the page's shell block."""
    done = subprocess.run(["sh", "-c", line.replace("curl ", "curl -sS ", 1)], capture_output=True)
    assert done.returncode == 0, done.stderr
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def create_agent(demo: Served) -> str:
    line = block("sh", demo).splitlines()[2]
    return str(curl(line)["agent_id"])


def test_the_shell_lines(demo: Served) -> None:
    broadcast, stats, create = block("sh", demo).splitlines()
    assert curl(broadcast)["delivered_to"] == 0
    assert {
        "active_connections",
        "total_connections",
        "total_disconnections",
        "total_rooms",
        "messages_sent",
        "messages_received",
        "rooms",
    } == curl(stats).keys()
    made = curl(create)
    assert made["agent_id"] == "agent_neutrophil_001"
    assert (made["agent_type"], made["status"]) == ("neutrophil", "active")


def test_the_python_lines(demo: Served, tmp_path: Path) -> None:
    (tmp_path / "client.py").write_text(block("python", demo))
    with printing([sys.executable, "-u", str(tmp_path / "client.py")], tmp_path) as lines:
        wait_for(lambda: members(demo, "agents") == 1, "a member")
        agent_id = create_agent(demo)
    assert [line.split()[0] for line in lines[:2]] == ["connected", "reply"]
    assert any(line.startswith("agent_created") and agent_id in line for line in lines)


@pytest.mark.skipif(not node_has_websocket(), reason="needs node 20.10 or newer")
def test_the_javascript_lines_in_node(demo: Served, tmp_path: Path) -> None:
    (tmp_path / "client.js").write_text(block("js", demo))
    command = ["node", "--experimental-websocket", str(tmp_path / "client.js")]
    with printing(command, tmp_path) as lines:
        wait_for(lambda: members(demo, "agents") == 1, "a member")
        agent_id = create_agent(demo)
    assert lines[0].startswith("connected")
    assert any("agent_created" in line for line in lines)
    assert any(agent_id in line for line in lines)


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
async def test_the_javascript_lines_in_chromium(demo: Served) -> None:
    said: list[str] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGS)
        page = await browser.new_page()
        page.on("console", lambda message: said.append(message.text))
        await page.goto(f"http://localhost:{demo.port}/health")
        await page.evaluate(f"() => {{ {block('js', demo)} }}")
        await until(lambda: members(demo, "agents") == 1, "a member")
        agent_id = await asyncio.to_thread(create_agent, demo)
        await until(lambda: any("agent_created" in line for line in said), "an agent")
        await browser.close()
    assert any(line.startswith("connected") for line in said)
    assert any(agent_id in line for line in said) or "agent_created JSHandle" in str(said)
