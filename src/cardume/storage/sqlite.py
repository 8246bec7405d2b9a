"""What is SQLite's own: its URLs, its faults, how its connections are prepared.

It has one writer: a pool of one connection, BEGIN IMMEDIATE, checkpoints there. Readers are
query-only. WAL before SQLite 3.51.3 can corrupt itself when two connections write or checkpoint
(sqlite.org/wal.html, "the WAL-reset bug"); with one it cannot.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from typing import Any

import aiosqlite
from sqlalchemy import Insert, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DataError, IntegrityError, OperationalError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from cardume.errors import ConfigurationError
from cardume.storage.backend import READERS, Fault
from cardume.storage.statements import driver_sql

_OURS = frozenset({sqlite3.SQLITE_ERROR, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH})
"""Codes of statements that fail on any disk: no such table, too big, the wrong type."""


class Sqlite:
    """A file."""

    name = "sqlite"
    one_machine = True  # WAL keeps its index in shared memory

    def __init__(self, url: URL) -> None:
        right = "sqlite+aiosqlite:///cardume.db"
        if url.database in (None, "", ":memory:") or "mode=memory" in str(url):
            # Writer and readers are connections of their own, and would each have its own.
            raise ConfigurationError(f"CARDUME_DATABASE_URL has to name a file; use {right}")
        self.url = url.set(drivername="sqlite+aiosqlite")
        self.where = self.url.render_as_string()

    def writer(self) -> AsyncEngine:
        engine = self._engine(size=1)
        event.listen(engine.sync_engine, "connect", _prepare_writer)
        event.listen(engine.sync_engine, "begin", _begin_immediate)
        return engine

    def migrator(self) -> AsyncEngine:
        return self.writer()

    def reader(self) -> AsyncEngine:
        engine = self._engine(size=READERS)
        event.listen(engine.sync_engine, "connect", _prepare_reader)
        return engine

    def _engine(self, size: int) -> AsyncEngine:
        engine = create_async_engine(self.url, pool_size=size, max_overflow=0, hide_parameters=True)
        event.listen(engine.sync_engine, "do_connect", _open_whole)
        return engine

    async def check(self) -> None:
        """Open the file once with the bare driver.

        aiosqlite leaves the thread of a connection that cannot be opened to end by itself, and
        that may be after the loop.
        """
        [path], options = self._engine(size=1).dialect.create_connect_args(self.url)
        try:
            await asyncio.to_thread(_open_once, path, uri=bool(options.get("uri")))
        except sqlite3.Error as error:
            message = f"the database at {self.where} cannot be used: {error}"
            raise ConfigurationError(message) from error

    async def take_turn(self, connection: AsyncConnection) -> None:
        await connection.begin()

    async def take_signed_turn(self, connection: AsyncConnection) -> None:
        await connection.begin()

    async def was_kept(self, connection: AsyncConnection, number: int) -> bool:
        raise NotImplementedError("every commit is answered")

    async def sign_off(self, writer: AsyncEngine) -> None:
        """There are no numbers."""

    async def execute_rows(
        self, connection: AsyncConnection, statement: Insert, rows: Sequence[tuple[Any, ...]]
    ) -> int:
        sql = driver_sql(statement, connection.dialect)
        return (await connection.exec_driver_sql(sql, list(rows))).rowcount

    def fault(self, error: Exception) -> Fault:
        if isinstance(error, IntegrityError | ProgrammingError | DataError):
            return Fault.OURS
        code = getattr(getattr(error, "orig", None), "sqlite_errorcode", 0)
        ours = isinstance(error, OperationalError) and code & 0xFF in _OURS
        return Fault.OURS if ours else Fault.AWAY

    def reason(self, error: BaseException) -> str:
        return str(getattr(error, "orig", None) or type(error).__name__)


def _open_whole(_dialect: Any, _record: Any, arguments: list[Any], options: Any) -> None:
    """Have the file opened to the end, whoever is cancelled meanwhile.

    aiosqlite's thread would tell a loop that may be closed by then, and keep the file open.
    """
    options["async_creator_fn"] = _opened


async def _opened(*arguments: Any, **options: Any) -> aiosqlite.Connection:
    connection = aiosqlite.connect(*arguments, **options)
    connection._thread.daemon = True  # as SQLAlchemy makes it where it opens it
    opening = asyncio.ensure_future(connection)
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        await (await opening).close()
        raise


def _open_once(path: str, *, uri: bool) -> None:
    sqlite3.connect(path, uri=uri).close()


def _prepare_writer(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # SQLAlchemy begins; the driver must not begin for it
    _pragmas(connection, "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON")


def _prepare_reader(connection: Any, _record: Any) -> None:
    _pragmas(connection, "query_only=ON")


def _pragmas(connection: Any, *pragmas: str) -> None:
    cursor = connection.cursor()
    try:
        for pragma in ("busy_timeout=5000", *pragmas):
            cursor.execute(f"PRAGMA {pragma}")
    except BaseException:  # also if we are cancelled
        connection.close()  # the pool does not know it yet, and its thread would live on
        raise
    cursor.close()


def _begin_immediate(connection: Any) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
