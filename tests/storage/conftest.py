"""A database of its own, and a publisher that can be held or broken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from cardume.storage.database import Storage


class Press:
    """`Hub.publish` as storage sees it: what came out, in order."""

    def __init__(self) -> None:
        self.published: list[tuple[str, str | None, Any, str | None]] = []
        self.fault: Exception | None = None
        self.open = asyncio.Event()
        self.open.set()
        self.entered = 0

    async def __call__(
        self, channel: str, type: str | None, data: Any, /, *, key: str | None, source: str | None
    ) -> None:
        self.entered += 1
        await self.open.wait()
        if self.fault is not None:
            raise self.fault
        self.published.append((channel, type, data, key))

    @property
    def data(self) -> list[Any]:
        return [data for _, _, data, _ in self.published]


@pytest.fixture
def press() -> Press:
    return Press()


@pytest.fixture
async def storage(database_url: str, press: Press) -> AsyncIterator[Storage]:
    async with Storage(database_url, press) as storage:
        yield storage
