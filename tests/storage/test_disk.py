"""Disks that are full, read-only, or hold something else; SQLite."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest
from sqlalchemy import insert, select, text

from cardume.errors import ConfigurationError, Unavailable
from cardume.storage.database import Storage
from cardume.storage.tables import users
from tests.storage.conftest import Press
from tests.support.databases import sqlite_url
from tests.support.waiting import until


async def grow(storage: Storage, count: int) -> None:
    rows = [
        {"name": f"{count}-{n}", "password_hash": "x" * 250, "created_at": 0.0}
        for n in range(count)
    ]
    async with storage.write() as tx:
        await tx.execute(insert(users), rows)
        tx.emit("room:1", "x", count)


async def limit_pages(storage: Storage, pages: int) -> None:
    """As if the disk had so much room: SQLite says the same, SQLITE_FULL."""
    async with storage.write() as tx:
        await tx.execute(text(f"PRAGMA max_page_count={pages}"))


async def test_a_full_disk_is_unavailable_until_there_is_room_again(
    storage: Storage, press: Press, caplog: pytest.LogCaptureFixture
) -> None:
    await grow(storage, 1)
    await limit_pages(storage, 1)  # clipped to what there is
    for _ in range(3):
        with pytest.raises(Unavailable):
            await grow(storage, 500)
    assert (storage.healthy, press.data) == (False, [1])
    assert caplog.text.count("a transaction was not kept") == 1  # said once, not each time
    async with storage.read() as connection:  # readers go on
        assert len((await connection.execute(select(users))).all()) == 1
    with caplog.at_level(logging.INFO, "cardume.storage"):
        await limit_pages(storage, 1 << 30)
        await grow(storage, 500)
    assert (storage.healthy, press.data) == (True, [1, 500])
    assert caplog.messages.count("transactions are kept again") == 1


def drivers() -> list[str]:
    """Threads of open connections."""
    return [t.name for t in threading.enumerate() if "_connection_worker_thread" in t.name]


async def test_a_database_that_is_read_only_is_refused_at_the_start(
    tmp_path: Path, press: Press
) -> None:
    path = tmp_path / "tank.db"
    async with Storage(sqlite_url(path), press):
        pass
    read_only = f"sqlite+aiosqlite:///file:{path}?mode=ro&uri=true"
    with pytest.raises(ConfigurationError, match="cannot be used"):
        async with Storage(read_only, press):
            pass


@pytest.mark.parametrize(
    "content", [b"not a database " * 100, b"SQLite format 3\0" + b"\xff" * 999]
)
async def test_a_file_that_is_no_database_is_refused_and_nothing_is_left_running(
    tmp_path: Path, press: Press, content: bytes
) -> None:
    path = tmp_path / "tank.db"
    path.write_bytes(content)
    storage = Storage(sqlite_url(path), press)
    for _ in range(2):  # the second time as the first
        with pytest.raises(ConfigurationError, match="cannot be used"):
            await storage.__aenter__()
    await until(lambda: not drivers(), "the end of its threads")
    assert path.read_bytes() == content


async def test_a_missing_folder_is_refused(tmp_path: Path, press: Press) -> None:
    with pytest.raises(ConfigurationError, match="cannot be used"):
        async with Storage(sqlite_url(tmp_path / "no" / "tank.db"), press):
            pass
