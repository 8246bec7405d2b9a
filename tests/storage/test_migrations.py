from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import pytest
import sqlalchemy
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect

from cardume.errors import ConfigurationError
from cardume.storage import migrate
from cardume.storage.database import Storage
from cardume.storage.tables import metadata
from cardume.storage.urls import backend_for
from tests.storage.conftest import Press
from tests.support.databases import on_both

pytestmark = on_both

T = TypeVar("T")


async def within(url: str, work: Callable[[Connection], T]) -> T:
    """Do it in a transaction on the database."""
    engine = backend_for(url).migrator()
    try:
        async with engine.begin() as connection:
            return await connection.run_sync(work)
    finally:
        await engine.dispose()


def differences(connection: Connection) -> list[Any]:
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return list(compare_metadata(context, metadata))


DDL = {
    "sqlite": "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL "
    "AND name NOT LIKE 'sqlite_%' AND name NOT LIKE 'alembic_%'",
    # Columns with type, collation, default; indexes; keys.
    "postgresql": """
        SELECT c.relname || '.' || a.attname, format_type(a.atttypid, a.atttypmod) || ' '
            || a.attcollation || ' ' || a.attnotnull
            || coalesce(pg_get_expr(d.adbin, d.adrelid), '')
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
            LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
            AND c.relname <> 'alembic_version'
        UNION ALL SELECT indexname, indexdef FROM pg_indexes
            WHERE schemaname = 'public' AND tablename <> 'alembic_version'
        UNION ALL SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
            WHERE connamespace = 'public'::regnamespace AND conname NOT LIKE 'alembic%'
    """,
}


def ddl(connection: Connection) -> dict[str, Any]:
    """What the database keeps of tables and indexes: more than `compare_metadata` looks at."""
    name = connection.dialect.name
    found = connection.execute(sqlalchemy.text(DDL[name])).all()
    return {what: features(sql) if name == "sqlite" else sql for what, sql in found}


def features(sql: str) -> tuple[bool, ...]:
    """SQLite keeps the text of a statement, which is written in more ways than one."""
    return tuple(
        word in sql.upper()
        for word in ("AUTOINCREMENT", "WITHOUT ROWID", "ON DELETE CASCADE", "IS NOT NULL", "UNIQUE")
    )


async def test_the_migrations_make_what_the_tables_say(bare_url: str) -> None:
    await within(bare_url, migrate.upgrade)
    assert await within(bare_url, differences) == []
    ours = await within(bare_url, ddl)
    await within(bare_url, metadata.drop_all)
    await within(bare_url, metadata.create_all)
    assert ours == await within(bare_url, ddl)


async def test_they_can_be_taken_back_and_made_again(bare_url: str) -> None:
    def there_and_back(connection: Connection) -> None:
        migrate.upgrade(connection)
        command.downgrade(migrate.config(connection), "base")
        assert set(inspect(connection).get_table_names()) == {"alembic_version"}
        migrate.upgrade(connection)
        migrate.upgrade(connection)  # nothing left to do

    await within(bare_url, there_and_back)
    assert await within(bare_url, differences) == []


async def test_a_database_of_a_newer_cardume_is_refused(bare_url: str, press: Press) -> None:
    async with Storage(bare_url, press) as storage, storage.write() as tx:
        await tx.execute(sqlalchemy.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigurationError, match="newer Cardume"):
        await Storage(bare_url, press).open()


async def test_a_migration_that_fails_leaves_the_old_schema(bare_url: str, press: Press) -> None:
    """DDL is in the transaction of `open`: it is taken back with everything else."""

    def meddle(connection: Connection) -> None:
        connection.execute(sqlalchemy.text("CREATE TABLE users (name TEXT)"))

    await within(bare_url, meddle)
    with pytest.raises(ConfigurationError, match="already exists"):
        await Storage(bare_url, press).open()
    tables = await within(bare_url, lambda connection: inspect(connection).get_table_names())
    assert tables == ["users"]
