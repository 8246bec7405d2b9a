from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.apps.executions.works import Works


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "works.db"


@pytest.fixture
async def works(database: Path) -> AsyncIterator[Works]:
    async with Works.running(database) as works:
        yield works
