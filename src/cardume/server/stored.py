"""What `cardume doctor` finds of the database, and of who has it. It makes and migrates nothing."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from cardume.errors import ConfigurationError
from cardume.server.finding import Finding
from cardume.settings import Settings
from cardume.storage import migrate
from cardume.storage.backend import Backend
from cardume.storage.owner import is_alive, look
from cardume.storage.process import this_process
from cardume.storage.sqlite import Sqlite
from cardume.storage.urls import backend_for


def examine(settings: Settings) -> Iterator[Finding]:
    """The database, and its owner; nobody knows that of one that cannot be asked."""
    try:
        backend = backend_for(settings.database_url)
        database = _file(backend) if isinstance(backend, Sqlite) else _server(backend)
    except ConfigurationError as error:
        database = _bad(str(error))
    yield database
    if database.ok:
        yield _owner(backend)


def _server(backend: Backend) -> Finding:
    """Of a server's: it has to be there.

    Raises:
        ConfigurationError: it is not.
    """
    held, empty = asyncio.run(migrate.state(backend))
    return _schema(backend.where, held, empty)


def _file(backend: Sqlite) -> Finding:
    path = Path(str(backend.url.database).removeprefix("file:"))
    if not path.exists():
        return _creatable(path)
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            found = _schema(str(path), *_state(database))
    except sqlite3.Error as error:
        return _bad(f"{path} cannot be used: {error}")
    if found.ok and not os.access(path, os.W_OK):
        return _bad(f"{path} cannot be written")
    return found


def _state(database: sqlite3.Connection) -> tuple[str | None, bool]:
    """As `migrate.state`, through a connection that could not write."""
    names = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
    row = None
    if "alembic_version" in names:
        row = database.execute("SELECT version_num FROM alembic_version").fetchone()
    return None if row is None else row[0], not names


def _schema(where: str, held: str | None, empty: bool) -> Finding:
    known = migrate.revisions()
    if held is None and not empty:
        return _bad(f"{where} is the database of something else")
    if held is not None and held not in known:
        return _bad(f"{where} was made by a newer Cardume")
    if held != known[0]:
        return _good(f"{where} is brought up to date at the next start")
    return _good(f"{where}, schema up to date")


def _creatable(path: Path) -> Finding:
    folder = path.absolute().parent
    if not folder.is_dir():
        return _bad(f"no folder {folder}: make it first")
    try:
        probe = folder / f".{path.name}.probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        return _bad(f"cannot write in {folder}: {error.strerror}")
    return _good(f"{path} is made at the first start")


def _owner(backend: Backend) -> Finding:
    """Whether a server has the database, and lives; as far as can be said without watching it."""
    owner = asyncio.run(look(backend))
    if owner is None:
        return Finding("owner", ok=True, says="no server has the database")
    if is_alive(owner, this_process(), one_machine=backend.one_machine):
        says = f"in use ({owner}): a second server will not start"
        return Finding("owner", ok=False, says=says)
    return Finding("owner", ok=True, says=f"gone ({owner}): the next server takes over")


def _good(says: str) -> Finding:
    return Finding("database", ok=True, says=says)


def _bad(says: str) -> Finding:
    return Finding("database", ok=False, says=says)
