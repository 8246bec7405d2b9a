"""docs/testing.md is run as it is printed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cardume.testing import client, running
from tests.testing.places import make_hub

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs/testing.md").read_text()


def test_the_tests_on_the_page_pass(tmp_path: Path) -> None:
    shutil.copy(ROOT / "examples/rooms/main.py", tmp_path)
    blocks = re.findall(r"```python\n# (\w+\.py)\n(.*?)```", PAGE, re.DOTALL)
    for name, text in blocks:
        (tmp_path / name).write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider"]
    environment = {key: value for key, value in os.environ.items() if "CARDUME" not in key}
    ran = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100
    )
    assert ran.returncode == 0, ran.stdout
    assert f"{PAGE.count('async def test_')} passed" in ran.stdout
    assert len(blocks) == PAGE.count("```python")


async def test_the_failure_on_the_page_is_what_is_said() -> None:
    hub = make_hub()
    async with running(hub), client(hub, "/ws/room/7", identity="ann") as ws:
        await hub.publish("room:7", "typing", {"who": "bob"})
        with pytest.raises(AssertionError) as failure:
            await ws.expect("message", within=0.01)
    said = re.sub(r'("timestamp": )"[^"]*"', r'\1"…"', str(failure.value))
    assert said.replace("within 0.01 s", "within 1 s") in PAGE
