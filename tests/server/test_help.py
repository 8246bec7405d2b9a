"""`--help` shows what is taken where nothing is said."""

from __future__ import annotations

import re

import pytest
from typer.testing import CliRunner

from cardume.server.cli import app


@pytest.mark.parametrize(
    ("command", "defaults"),
    [
        (
            "serve",
            ["127.0.0.1", "8000", "1883", "sqlite+aiosqlite:///cardume.db", "all four", "info"],
        ),
        ("demo", ["sqlite+aiosqlite:///cardume-demo.db", "warning"]),
        ("doctor", ["127.0.0.1", "8000", "1883", "sqlite+aiosqlite:///cardume.db"]),
        ("db current", ["sqlite+aiosqlite:///cardume.db"]),
        ("publish", ["http://127.0.0.1:8000", "the system's"]),
        ("exec", ["the command", "the system's"]),
    ],
)
def test_the_help_shows_defaults(command: str, defaults: list[str]) -> None:
    shown = CliRunner().invoke(app, [*command.split(), "--help"], env={"COLUMNS": "200"}).output
    told = {each.strip("()") for each in re.findall(r"\[default: (.*?)\]", shown)}
    assert set(defaults) <= told
