"""What only SQLite has: pragmas."""

from __future__ import annotations

from sqlalchemy import text

from cardume.storage.database import Storage


async def test_the_writer_is_durable_and_readers_can_only_ask(storage: Storage) -> None:
    async with storage.write() as tx:
        for pragma, value in (("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1)):
            assert (await tx.execute(text(f"PRAGMA {pragma}"))).scalar() == value
    async with storage.read() as connection:
        assert (await connection.execute(text("PRAGMA query_only"))).scalar() == 1
