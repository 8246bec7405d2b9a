"""What is SQLite's own: its URLs, its faults, how its connections are prepared."""

from __future__ import annotations

import sqlite3
from typing import Any

from sqlalchemy import Dialect, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    OperationalError,
    ProgrammingError,
    TimeoutError,
)

from cardume.errors import ConfigurationError

OUT_OF_REACH = (DBAPIError, TimeoutError)
"""What may be the database's fault; `is_ours` takes out what is a bug of a statement."""

_OURS = frozenset({sqlite3.SQLITE_ERROR, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH})
"""Codes of statements that fail on any disk: no such table, too big, the wrong type."""


def checked_url(given: str) -> URL:
    """The URL of a database that we can use.

    Raises:
        ConfigurationError: it is not one.
    """
    right = "sqlite+aiosqlite:///cardume.db"
    try:
        url = make_url(given)
    except ArgumentError:
        raise ConfigurationError(f"CARDUME_DATABASE_URL is not a URL such as {right}") from None
    if url.drivername not in ("sqlite", "sqlite+aiosqlite"):
        raise ConfigurationError(f"CARDUME_DATABASE_URL: no {url.drivername!r} yet; use {right}")
    if url.database in (None, "", ":memory:") or "mode=memory" in given:
        # Writer and readers are connections of their own, and would each have its own.
        raise ConfigurationError(f"CARDUME_DATABASE_URL has to name a file; use {right}")
    return url.set(drivername="sqlite+aiosqlite")


def probe(url: URL, dialect: Dialect) -> None:
    """Open the file once with the bare driver. Blocks; for a thread.

    aiosqlite leaves the thread of a connection that cannot be opened to end by itself, and that
    may be after the loop.

    Raises:
        sqlite3.Error: it cannot be opened.
    """
    [path], options = dialect.create_connect_args(url)
    sqlite3.connect(path, uri=bool(options.get("uri"))).close()


def is_ours(error: Exception) -> bool:
    """Whether the statement is at fault and not the disk: trying again would not help."""
    if isinstance(error, IntegrityError | ProgrammingError | DataError):
        return True
    code = getattr(getattr(error, "orig", None), "sqlite_errorcode", 0)
    return isinstance(error, OperationalError) and code & 0xFF in _OURS


def prepare_writer(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # SQLAlchemy begins; the driver must not begin for it
    _pragmas(connection, "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON")


def prepare_reader(connection: Any, _record: Any) -> None:
    _pragmas(connection, "query_only=ON")


def _pragmas(connection: Any, *pragmas: str) -> None:
    cursor = connection.cursor()
    try:
        for pragma in ("busy_timeout=5000", *pragmas):
            cursor.execute(f"PRAGMA {pragma}")
    except sqlite3.Error:
        connection.close()  # the pool does not know it yet, and its thread would live on
        raise
    cursor.close()


def begin_immediate(connection: Any) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
