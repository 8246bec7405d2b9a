from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cardume.testing import FakeClock
from tests.support.life import Database
from tests.support.tank import Tank


@pytest.fixture
async def tank(database: Database) -> AsyncIterator[Tank]:
    """Aquarium 1 is ana's reef, with the device `probe` in it."""
    async with Tank.running(database) as tank:
        assert await tank.aquarium() == 1
        await tank.device("probe", 1)
        yield tank


@pytest.fixture
async def home(tmp_path: Path) -> tuple[Path, FakeClock]:
    """A database with an aquarium, and the clock of all its lives: each example has its own."""
    path, clock = tmp_path / "tank.db", FakeClock()
    async with Tank.running(path, clock) as tank:
        await tank.aquarium()
    return path, clock
