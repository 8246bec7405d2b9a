from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.life import Database
from tests.support.tank import Tank


@pytest.fixture
async def tank(database: Database) -> AsyncIterator[Tank]:
    """Aquarium 1 is ana's reef, with the device `probe` in it."""
    async with Tank.running(database) as tank:
        assert await tank.aquarium() == 1
        await tank.device("probe", 1)
        yield tank
