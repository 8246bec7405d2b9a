from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.crew import Crew


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "crew.db"


@pytest.fixture
async def crew(database: Path) -> AsyncIterator[Crew]:
    async with Crew.running(database) as crew:
        yield crew
