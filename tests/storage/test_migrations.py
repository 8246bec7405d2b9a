from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, create_engine, inspect

from cardume.errors import ConfigurationError
from cardume.storage import migrate
from cardume.storage.database import Storage
from cardume.storage.tables import metadata
from tests.storage.conftest import Press, url_of


def differences(connection: Connection) -> list[Any]:
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return list(compare_metadata(context, metadata))


def ddl(connection: Connection) -> dict[str, str]:
    """What SQLite keeps of each table and index: what `compare_metadata` does not look at."""
    query = sqlalchemy.text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
    rows = [(name, sql) for name, sql in connection.execute(query)]
    return {name: sql for name, sql in rows if not name.startswith(("sqlite_", "alembic_"))}


def features(sql: str) -> tuple[bool, ...]:
    return tuple(
        word in sql.upper()
        for word in ("AUTOINCREMENT", "WITHOUT ROWID", "ON DELETE CASCADE", "IS NOT NULL", "UNIQUE")
    )


def test_the_migrations_make_what_the_tables_say(tmp_path: Path) -> None:
    migrated = create_engine(f"sqlite:///{tmp_path / 'a.db'}")
    with migrated.begin() as connection:
        migrate.upgrade(connection)
        assert differences(connection) == []
        ours = ddl(connection)
    described = create_engine(f"sqlite:///{tmp_path / 'b.db'}")
    with described.begin() as connection:
        metadata.create_all(connection)
        wanted = ddl(connection)
    migrated.dispose()
    described.dispose()
    assert ours.keys() == wanted.keys()
    assert {n: features(s) for n, s in ours.items()} == {n: features(s) for n, s in wanted.items()}


def test_they_can_be_taken_back_and_made_again(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'a.db'}")
    with engine.begin() as connection:
        migrate.upgrade(connection)
        command.downgrade(migrate.config(connection), "base")
        assert set(inspect(connection).get_table_names()) == {"alembic_version"}
        migrate.upgrade(connection)
        migrate.upgrade(connection)  # nothing left to do
        assert differences(connection) == []
    engine.dispose()


async def test_a_database_of_a_newer_cardume_is_refused(tmp_path: Path, press: Press) -> None:
    path = tmp_path / "a.db"
    async with Storage(url_of(path), press):
        pass
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(ConfigurationError, match="newer Cardume"):
        await Storage(url_of(path), press).open()


async def test_a_migration_that_fails_leaves_the_old_schema(tmp_path: Path, press: Press) -> None:
    """DDL is in the transaction of `open`: SQLite takes it back with everything else."""
    path = tmp_path / "a.db"
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE users (name TEXT)"))
    with pytest.raises(ConfigurationError, match="already exists"):
        await Storage(url_of(path), press).open()
    with engine.connect() as connection:
        assert inspect(connection).get_table_names() == ["users"]
    engine.dispose()
