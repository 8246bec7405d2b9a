"""What `pip install cardume` alone gives: the hub, for any ASGI server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent

ABSENT = (
    "aiosqlite alembic asyncpg fastapi_offline httptools multipart paho prometheus_client "
    "pydantic_settings python_multipart sqlalchemy typer uvicorn uvloop"
)
"""What the extras bring."""

PROGRAM = f"""
import asyncio, sys

class Absent:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in {ABSENT.split()!r}:
            raise ModuleNotFoundError(f"No module named {{name}}", name=name)

sys.meta_path.insert(0, Absent())

from main import app, hub
from cardume.testing import client, running

async def main():
    async with running(app) as site, client(site, "/ws/room/7", identity="ann") as ann:
        await hub.publish("room:7", "message", {{"text": "hello"}})
        print((await ann.expect("message", within=10))["data"])

asyncio.run(main())
"""


def test_the_hub_alone_needs_nothing_of_the_extras(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text((ROOT / "examples/rooms/main.py").read_text())
    (tmp_path / "alone.py").write_text(PROGRAM)
    command = [sys.executable, "alone.py"]
    known = {**os.environ, "CARDUME_JWT_SECRET": "a-secret-of-the-tests-that-is-long-enough"}
    ran = subprocess.run(
        command, cwd=tmp_path, env=known, capture_output=True, text=True, timeout=100
    )
    assert ran.stderr == ""
    assert ran.stdout == "{'text': 'hello'}\n"
