from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.tank import Tank


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "tank.db"


@pytest.fixture
async def tank(database: Path) -> AsyncIterator[Tank]:
    """Aquarium 1 is ana's reef, with the device `probe` in it."""
    async with Tank.running(database) as tank:
        assert await tank.aquarium() == 1
        await tank.device("probe", 1)
        yield tank
