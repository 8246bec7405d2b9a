from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.apps.cards.wall import Wall


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "cards.db"


@pytest.fixture
async def wall(database: Path) -> AsyncIterator[Wall]:
    async with Wall.running(database) as wall:
        yield wall
