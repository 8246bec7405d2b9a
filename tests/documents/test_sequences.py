"""Numbers that are given once."""

from __future__ import annotations

import asyncio

import pytest

from cardume.documents.sequences import next_number
from cardume.storage.database import Storage
from tests.storage.conftest import Press
from tests.support.databases import on_both

pytestmark = on_both


async def take(storage: Storage, name: str) -> int:
    async with storage.write() as tx:
        return await next_number(tx, name)


async def take_and_fail(storage: Storage) -> None:
    async with storage.write() as tx:
        await next_number(tx, "card")
        raise RuntimeError


async def test_each_name_counts_for_itself_and_nobody_is_given_the_same(database_url: str) -> None:
    async with Storage(database_url, Press()) as storage:
        numbers = await asyncio.gather(*(take(storage, "card") for _ in range(20)))
        assert sorted(numbers) == list(range(1, 21))
        assert await take(storage, "agent") == 1


async def test_a_number_outlives_a_restart(database_url: str) -> None:
    async with Storage(database_url, Press()) as storage:
        assert await take(storage, "card") == 1
    async with Storage(database_url, Press()) as storage:
        assert await take(storage, "card") == 2


async def test_what_was_not_kept_gives_its_number_back(database_url: str) -> None:
    async with Storage(database_url, Press()) as storage:
        with pytest.raises(RuntimeError):
            await take_and_fail(storage)
        assert await take(storage, "card") == 1
