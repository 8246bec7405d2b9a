from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.crew import Crew
from tests.support.life import Database


@pytest.fixture
async def crew(database: Database) -> AsyncIterator[Crew]:
    async with Crew.running(database) as crew:
        yield crew
