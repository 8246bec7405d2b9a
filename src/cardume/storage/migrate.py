"""Bringing the schema to the newest revision, from inside the process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, func, inspect, select, table, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from cardume.errors import ConfigurationError
from cardume.storage.backend import Backend
from cardume.storage.owner import Owned, is_alive, look
from cardume.storage.process import this_process

_SCRIPTS = str(Path(__file__).parent / "migrations")


async def bring_up_to_date(backend: Backend) -> None:
    """Make the schema the one that we know, whole or not at all.

    Raises:
        ConfigurationError: there is no database to be had, or it is of a newer Cardume.
    """
    async with changing(backend) as connection:
        await connection.run_sync(upgrade)
        # Changes nothing, but says now and not at the first reading if nothing can be.
        await connection.execute(text("UPDATE alembic_version SET version_num=version_num"))


@asynccontextmanager
async def changing(backend: Backend) -> AsyncIterator[AsyncConnection]:
    """A transaction that may change the schema; nobody else writes meanwhile.

    Raises:
        ConfigurationError: there is no database to be had, or it does not allow it.
    """
    await backend.check()
    async with _connected(backend, backend.migrator()) as connection:
        await backend.take_turn(connection)
        yield connection
        await connection.commit()


@asynccontextmanager
async def alone(backend: Backend) -> AsyncIterator[AsyncConnection]:
    """As `changing`, where no server has the database.

    Raises:
        Owned: one has it.
    """
    owner = await look(backend)
    if owner is not None and is_alive(owner, this_process(), one_machine=backend.one_machine):
        raise Owned(owner, "stop it first")
    async with changing(backend) as connection:
        yield connection


async def state(backend: Backend) -> tuple[str | None, bool]:
    """The revision of the schema, and whether there is no table at all. Changes nothing.

    Raises:
        ConfigurationError: there is no database to be had.
    """
    await backend.check()
    async with _connected(backend, backend.reader()) as connection:
        held = await connection.run_sync(current)
        return held, not await connection.run_sync(lambda c: inspect(c).get_table_names())


@asynccontextmanager
async def _connected(backend: Backend, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A connection of an engine that is for this alone."""
    try:
        async with engine.connect() as connection:
            yield connection
    except SQLAlchemyError as error:
        message = f"the database at {backend.where} cannot be used: {backend.reason(error)}"
        raise ConfigurationError(message) from error
    finally:
        await engine.dispose()  # a connection left open keeps its thread, and that the process


def config(connection: Connection) -> Config:
    """Alembic's configuration for an open connection; there is no ini file to find."""
    settings = _settings()
    settings.attributes["connection"] = connection
    return settings


def upgrade(connection: Connection) -> None:
    """Run what is missing, inside the caller's transaction.

    Raises:
        ConfigurationError: the database is of a Cardume that we do not know.
    """
    try:
        command.upgrade(config(connection), "head")
    except CommandError as error:
        raise ConfigurationError(
            "the database was made by a newer Cardume: upgrade this one, or name another with "
            "CARDUME_DATABASE_URL"
        ) from error


def downgrade(connection: Connection, to: str) -> list[str]:
    """Go back to a revision, inside the caller's transaction; what is lost by it, in words.

    Raises:
        ConfigurationError: no such revision, or not an older one.
    """
    known, held = revisions(), current(connection)
    if held not in known:
        raise ConfigurationError(f"the database is at {held}, which this Cardume does not know")
    older = [*known[known.index(held) + 1 :], "base"]
    if to not in older:
        raise ConfigurationError(f"{to!r} is not older than {held}; there is {', '.join(older)}")
    before = _contents(connection)
    command.downgrade(config(connection), to)
    after = _contents(connection)
    return [
        f"table {table}, {rows} rows" if table not in after else f"{table}.{column}"
        for table, (rows, columns) in before.items()
        for column in ([""] if table not in after else sorted(columns - after[table][1]))
    ]


def _contents(connection: Connection) -> dict[str, tuple[int, set[str]]]:
    """How many rows each table has, and its columns."""
    found: dict[str, tuple[int, set[str]]] = {}
    inspector = inspect(connection)
    for name in inspector.get_table_names():
        rows = connection.scalar(select(func.count()).select_from(table(name))) or 0
        found[name] = (rows, {column["name"] for column in inspector.get_columns(name)})
    return found


def current(connection: Connection) -> str | None:
    """The revision that the database is at; None: nothing was made yet."""
    return MigrationContext.configure(connection).get_current_revision()


def scripts() -> ScriptDirectory:
    """All revisions that we know."""
    return ScriptDirectory.from_config(_settings())


def revisions() -> list[str]:
    """Every revision that we know, the newest first."""
    return [script.revision for script in scripts().walk_revisions()]


def _settings() -> Config:
    settings = Config()
    settings.set_main_option("script_location", _SCRIPTS.replace("%", "%%"))  # no interpolation
    return settings
