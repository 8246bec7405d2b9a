from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.apps.executions.works import Works
from tests.support.life import Database


@pytest.fixture
async def works(database: Database) -> AsyncIterator[Works]:
    async with Works.running(database) as works:
        yield works
