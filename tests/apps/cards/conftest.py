from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.apps.cards.wall import Wall
from tests.support.life import Database


@pytest.fixture
async def wall(database: Database) -> AsyncIterator[Wall]:
    async with Wall.running(database) as wall:
        yield wall
