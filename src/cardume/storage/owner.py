"""Who owns a database: one row, renewed by heartbeats, and what it tells those who come later.

Clocks of two machines differ, so nobody is declared dead by a time of day: whoever wants the
database watches the heartbeats count. The age of the last one, by the database's own clock, only
says how long to watch.
"""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Double, Select, create_engine, inspect, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.pool import NullPool
from sqlalchemy.sql.functions import FunctionElement

from cardume.errors import ConfigurationError
from cardume.storage.backend import Backend
from cardume.storage.process import Process, is_running
from cardume.storage.sqlite import Sqlite
from cardume.storage.tables import ownership
from cardume.wire.messages import rfc3339

LEASE: Final = 20.0
"""Seconds without a heartbeat after which an owner is dead."""


def beat_every(lease: float) -> float:
    """Seconds between two heartbeats."""
    return lease / 4


def watch_at_least(lease: float) -> float:
    """Seconds for which a heartbeat has to stay away, however old the last one looks.

    Longer than between two of them: clocks are set, and laptops sleep, while nobody dies.
    """
    return 1.5 * beat_every(lease)


class database_now(FunctionElement[float]):  # noqa: N801 - a function of SQL
    """Unix seconds by the database's clock."""

    type = Double()
    inherit_cache = True


@compiles(database_now)
def _standard(*_: Any, **__: Any) -> str:
    return "CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS DOUBLE PRECISION)"


@compiles(database_now, "sqlite")
def _sqlite(*_: Any, **__: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


class Owner(msgspec.Struct, frozen=True, kw_only=True):
    """The row, as somebody found it."""

    token: str
    """Of one life of one process: a second life is another owner."""
    process: Process
    since: float
    beat: int
    age: float
    """Seconds since its last heartbeat, by the database's clock."""
    lease: float
    address: str | None
    """Where its HTTP API is, as seen from its own machine."""

    def __str__(self) -> str:
        where = f"host {self.process.host}, pid {self.process.pid}"
        if self.address is not None:
            where += f", {self.address}"
        return f"{where}, since {rfc3339(self.since)[:19]}Z, last heartbeat {self.age:.0f} s ago"


class Owned(ConfigurationError):  # noqa: N818 - a state, named as one
    """The database has an owner, and that is not us."""

    def __init__(self, owner: Owner, advice: str | None = None) -> None:
        self.owner = owner
        advice = advice or "stop that one, or name another database with CARDUME_DATABASE_URL"
        super().__init__(f"this database is in use by another server ({owner}): {advice}")


def select_owner() -> Select[Any]:
    """The row, if there is one."""
    age = (database_now() - ownership.c.beat_at).label("age")
    return select(ownership, age).where(ownership.c.id == 1)


def owner_from(row: Any) -> Owner | None:
    """The owner out of a row of `select_owner`."""
    if row is None:
        return None
    values = dict(row._mapping)
    process = Process(*(values[name] for name in Process.__struct_fields__))
    rest = {name: values[name] for name in Owner.__struct_fields__ if name in values}
    return Owner(process=process, **rest)


async def look(backend: Backend) -> Owner | None:
    """Who owns the database now, without changing a byte of it.

    None as well where there is no database yet, or one that is not ours: to say so is for whoever
    opens it.
    """
    if isinstance(backend, Sqlite):
        return await asyncio.to_thread(_look_at_file, backend)
    engine = backend.reader()
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(_read)
    except (SQLAlchemyError, OSError, TypeError, ValueError):
        return None
    finally:
        await engine.dispose()


def _look_at_file(backend: Sqlite) -> Owner | None:
    """By a connection that can neither make the file nor write a checkpoint when it closes."""
    path = Path(str(backend.url.database).removeprefix("file:"))
    if not path.exists():
        return None
    address = f"{path.absolute().as_uri()}?mode=ro"
    engine = create_engine(
        "sqlite://", creator=lambda: sqlite3.connect(address, uri=True), poolclass=NullPool
    )
    try:
        with engine.connect() as connection:
            return _read(connection)
    except (SQLAlchemyError, sqlite3.Error):
        return None
    finally:
        engine.dispose()


def _read(connection: Connection) -> Owner | None:
    if not inspect(connection).has_table(ownership.name):
        return None
    return owner_from(connection.execute(select_owner()).first())


def patience(owner: Owner, here: Process, *, one_machine: bool) -> float | None:
    """Seconds to watch an owner before it is taken for dead; 0: it is. None: it is alive.

    `one_machine`: only processes of one machine can share the database; then the host's other boot
    was before this one.
    """
    process = owner.process
    if one_machine and process.host == here.host and process.boot != here.boot:
        return 0.0
    if process.shares_pids_with(here):
        if not is_running(process):
            return 0.0
        if 0 <= owner.age < owner.lease / 2:
            return None
    rest = owner.lease - owner.age if owner.age >= 0 else owner.lease
    return max(watch_at_least(owner.lease), min(rest, owner.lease))


def is_alive(owner: Owner, here: Process, *, one_machine: bool) -> bool:
    """Whether it is better to believe that it runs, without watching it."""
    wait = patience(owner, here, one_machine=one_machine)
    return wait is None or (wait > 0 and owner.age < owner.lease)
