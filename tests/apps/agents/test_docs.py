"""The page about agents: its commands do what they are shown for."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from tests.support.crew import Crew

PAGE = Path(__file__).parents[3] / "docs" / "agents.md"
HERE = "http://localhost:8000"


async def test_the_commands_work_from_top_to_bottom(crew: Crew) -> None:
    shown = PAGE.read_text().split("```sh\n")[1].split("```")[0]
    answers = [await run(crew, line) for line in shown.splitlines()]
    assert answers[-1] == 200
    status = await crew.ok("GET", "/coordination/status")
    assert (status["agents"]["active"], status["tasks"]["completed"]) == (1, 1)
    assert (status["open_proposals"], status["leader_id"]) == (0, "agent_neutrophil_001")


async def run(crew: Crew, line: str) -> int:
    """What curl would do, with the rights of the demo's visitor; the HTTP status."""
    words = shlex.split(line)
    assert words[0] == "curl"
    [url] = [word for word in words if word.startswith(HERE)]
    method = words[words.index("-X") + 1] if "-X" in words else "GET"
    body = json.loads(words[words.index("-d") + 1]) if "-d" in words else None
    visitor = {"who": "demo", "role": "service"}
    response = await crew.call(method, url.removeprefix(HERE), body, **visitor)
    assert response.status_code < 300, f"{line}: {response.text}"
    return response.status_code
