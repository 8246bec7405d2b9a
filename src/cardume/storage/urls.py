"""From CARDUME_DATABASE_URL to the database behind it."""

from __future__ import annotations

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from cardume.errors import ConfigurationError
from cardume.storage.backend import Backend
from cardume.storage.postgres import Postgres
from cardume.storage.sqlite import Sqlite

_RIGHT = "sqlite+aiosqlite:///cardume.db or postgresql://user:password@host/database"


def backend_for(given: str) -> Backend:
    """The database of a URL; nothing is opened yet.

    Raises:
        ConfigurationError: it is not one that we can use.
    """
    try:
        url = make_url(given)
    except (ArgumentError, ValueError):  # a port that is no number
        raise ConfigurationError(f"CARDUME_DATABASE_URL is not a URL such as {_RIGHT}") from None
    match url.drivername:
        case "sqlite" | "sqlite+aiosqlite":
            return Sqlite(url)
        case "postgresql" | "postgres" | "postgresql+asyncpg" | "postgres+asyncpg":
            return Postgres(url)
    raise ConfigurationError(f"CARDUME_DATABASE_URL: no {url.drivername!r} here; use {_RIGHT}")
