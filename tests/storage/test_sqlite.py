"""What only SQLite has: pragmas; and where the migrations may lie."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest
from sqlalchemy import text

from cardume.storage import migrate
from cardume.storage.database import Storage
from cardume.storage.urls import backend_for


async def test_the_writer_is_durable_and_readers_can_only_ask(storage: Storage) -> None:
    async with storage.write() as tx:
        for pragma, value in (("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1)):
            assert (await tx.execute(text(f"PRAGMA {pragma}"))).scalar() == value
    async with storage.read() as connection:
        assert (await connection.execute(text("PRAGMA query_only"))).scalar() == 1


async def test_the_scripts_may_lie_below_a_folder_with_a_percent_sign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a virtual environment in ``~/100%/``: Alembic would take it for a reference."""
    scripts = shutil.copytree(migrate._SCRIPTS, tmp_path / "100%" / "migrations")
    monkeypatch.setattr(migrate, "_SCRIPTS", str(scripts))
    assert migrate.revisions()[-1] == "0001"
    await migrate.bring_up_to_date(backend_for(f"sqlite+aiosqlite:///{tmp_path}/x.db"))


def test_a_file_is_opened_to_the_end_whoever_is_cancelled(tmp_path: Path) -> None:
    """Else its thread tells a loop that is closed by then, which is a traceback."""

    async def cancelled(turns: int) -> None:
        engine = backend_for(f"sqlite+aiosqlite:///{tmp_path}/x.db").reader()
        opening = asyncio.ensure_future(engine.connect().start())
        for _ in range(turns):
            await asyncio.sleep(0)
        opening.cancel()
        await asyncio.wait({opening})
        assert opening.cancelled()

    for turns in (1, 2) * 10:
        asyncio.run(cancelled(turns))
