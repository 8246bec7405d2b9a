"""What is PostgreSQL's own: its URLs, its turns, how its connections are prepared.

One transaction at a time writes, in this process and in all others on the same database: each
takes an advisory lock first. Readers see one moment for as long as they read.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import BigInteger, Insert, NullPool, Text, bindparam, delete, event, select, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, DisconnectionError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from cardume.errors import ConfigurationError
from cardume.storage.backend import READERS, Fault
from cardume.storage.postgres_errors import (
    as_lost,
    connect,
    fault_of,
    first_cause,
    obstacle,
    reason_of,
)
from cardume.storage.statements import arrays_sql
from cardume.storage.tables import sequences

CONNECT_WITHIN = 10.0
LONGEST_CONNECT = 3600.0
ANSWER_WITHIN = 30.0
"""Seconds for one statement. A database that hangs must not hold the one writer for ever."""

LOCK_WITHIN = "5s"
IDLE_WITHIN = "20s"
"""For how long a process may hold the writer's turn and do nothing: one that was paused in the
middle of a transaction loses it, and its connection."""

SIGN_OFF_WITHIN = 2.0

OLDEST = 13
"""Major version."""

# Any number will do, if it is always the same; locks of other databases are others.
_LOCK = "pg_advisory_xact_lock(7237106932531096)"
_TURN = text(f"SELECT {_LOCK}")
_SIGNED_TURN = text(
    f"WITH turn AS MATERIALIZED (SELECT {_LOCK}) "
    "INSERT INTO sequences (name, value) SELECT :writer, :number FROM turn "
    "ON CONFLICT (name) DO UPDATE SET value = excluded.value"
).bindparams(bindparam("writer", type_=Text), bindparam("number", type_=BigInteger))
_SIGNED = select(sequences.c.value).where(sequences.c.name == bindparam("writer"))
_SIGN_OFF = delete(sequences).where(sequences.c.name == bindparam("writer"))

_TLS_FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl")
"""libpq's options that name a file."""

_NO_DRIVER = "CARDUME_DATABASE_URL: PostgreSQL needs asyncpg: pip install 'cardume[postgres]'"


class Postgres:
    """A database of a PostgreSQL server."""

    name = "postgresql"
    one_machine = False

    def __init__(self, url: URL) -> None:
        if find_spec("asyncpg") is None:
            raise ConfigurationError(_NO_DRIVER)
        if not url.database:
            right = "postgresql://user:password@host/database"
            raise ConfigurationError(f"CARDUME_DATABASE_URL has to name a database: {right}")
        self.url = url.set(drivername="postgresql+asyncpg", query={})
        self.where = _shown(url)
        self._options = dict(url.query)
        self._connect_within = _seconds(self._options.pop("connect_timeout", None))
        self._writer = f"writer {secrets.token_hex(8)}"
        self._numbers = itertools.count(1)

    def writer(self) -> AsyncEngine:
        engine = self._engine(pool_size=1, max_overflow=0)
        event.listen(engine.sync_engine, "connect", _prepare_writer)
        return engine

    def migrator(self) -> AsyncEngine:
        engine = self._engine(poolclass=NullPool, patient=True)
        event.listen(engine.sync_engine, "connect", _prepare_writer)
        return engine

    def reader(self) -> AsyncEngine:
        engine = self._engine(pool_size=READERS, max_overflow=0, isolation_level="REPEATABLE READ")
        event.listen(engine.sync_engine, "connect", _prepare_reader)
        return engine

    def _engine(self, *, patient: bool = False, **more: Any) -> AsyncEngine:
        options = {"application_name": "cardume", **self._options}
        arguments: dict[str, Any] = {
            # asyncpg reads libpq's options there, and takes the rest for settings of the server.
            "dsn": f"postgresql:///?{urlencode(options, doseq=True)}",
            "timeout": self._connect_within or CONNECT_WITHIN,
            "command_timeout": None if patient else ANSWER_WITHIN,
        }
        engine = create_async_engine(self.url, hide_parameters=True, connect_args=arguments, **more)
        event.listen(engine.sync_engine, "do_connect", connect)
        event.listen(engine.sync_engine, "checkout", _refuse_a_closed_one)
        event.listen(engine.sync_engine, "handle_error", as_lost)
        return engine

    async def check(self) -> None:
        self._check_files()
        engine = self.reader()
        try:
            async with engine.connect() as connection:
                major = int(await connection.scalar(text("SHOW server_version_num")) or 0) // 10_000
                encoding = await connection.scalar(text("SHOW server_encoding"))
                schema = await connection.scalar(text("SELECT current_schema()"))
                path = await connection.scalar(text("SHOW search_path"))
        except (SQLAlchemyError, TypeError, ValueError) as error:
            why = obstacle(error, self.url.database)
            raise ConfigurationError(f"the database at {self.where} {why}") from error
        finally:
            await engine.dispose()
        if major < OLDEST:
            raise ConfigurationError(
                f"the database at {self.where} is PostgreSQL {major}; {OLDEST} is the oldest we use"
            )
        if encoding != "UTF8":
            raise ConfigurationError(
                f"the database at {self.where} keeps text as {encoding}; "
                "make it with ENCODING 'UTF8' TEMPLATE template0"
            )
        if schema is None:
            raise ConfigurationError(
                f"the database at {self.where} has no schema of its search_path ({path}): "
                "make one with CREATE SCHEMA, or set another search_path"
            )

    def _check_files(self) -> None:
        """The driver does not say which file it could not read."""
        for option in _TLS_FILES:
            given = self._options.get(option)
            if not isinstance(given, str) or not given:
                continue
            try:
                open(given, "rb").close()
            except OSError as error:
                raise ConfigurationError(
                    f"CARDUME_DATABASE_URL: {option}: cannot read {given} ({error.strerror})"
                ) from None

    async def take_turn(self, connection: AsyncConnection) -> None:
        await connection.begin()
        await connection.execute(_TURN)

    async def take_signed_turn(self, connection: AsyncConnection) -> int:
        """The number is kept with what it is the number of.

        `pg_xact_status` would cost less, but after a crash the id of a lost transaction may be
        given to another one.
        """
        number = next(self._numbers)
        try:
            await self._sign(connection, number)
        except DBAPIError as error:
            if not error.connection_invalidated or isinstance(first_cause(error), TimeoutError):
                raise
            # It had been dead in the pool, and we were the first to notice: the next one is new.
            await connection.rollback()
            await self._sign(connection, number)
        return number

    async def _sign(self, connection: AsyncConnection, number: int) -> None:
        await connection.begin()
        await connection.execute(_SIGNED_TURN, {"writer": self._writer, "number": number})

    async def was_kept(self, connection: AsyncConnection, number: int) -> bool:
        signed = await connection.scalar(_SIGNED, {"writer": self._writer})
        return signed is not None and signed >= number

    async def sign_off(self, writer: AsyncEngine) -> None:
        with suppress(SQLAlchemyError, TimeoutError):
            async with asyncio.timeout(SIGN_OFF_WITHIN), writer.begin() as connection:
                await connection.execute(_SIGN_OFF, {"writer": self._writer})

    async def execute_rows(
        self, connection: AsyncConnection, statement: Insert, rows: Sequence[tuple[Any, ...]]
    ) -> int:
        sql = arrays_sql(statement, connection.dialect)
        columns = tuple(map(list, zip(*rows, strict=True)))
        return (await connection.exec_driver_sql(sql, columns)).rowcount

    def fault(self, error: Exception) -> Fault:
        return fault_of(error)

    def reason(self, error: BaseException) -> str:
        return reason_of(error)


def _seconds(given: str | tuple[str, ...] | None) -> float | None:
    if given is None:
        return None
    try:
        seconds = float(str(given))
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= LONGEST_CONNECT:  # nor NaN
        raise ConfigurationError(
            "CARDUME_DATABASE_URL: connect_timeout is a number of seconds, "
            f"{LONGEST_CONNECT:.0f} at most"
        )
    return seconds


def _shown(url: URL) -> str:
    """Without the password and without options, which may hold one; a socket's folder stays."""
    host = url.host or url.query.get("host")
    socket = host if url.host is None and isinstance(host, str) else None
    shown = URL.create("postgresql", url.username, None, url.host, url.port, url.database)
    return shown.set(query={} if socket is None else {"host": socket}).render_as_string()


def _prepare_writer(connection: Any, _record: Any) -> None:
    # An acknowledged reading survives a power cut, whatever the server's default is.
    connection.run_async(
        lambda driver: driver.execute(
            f"SET lock_timeout = '{LOCK_WITHIN}'; "
            f"SET idle_in_transaction_session_timeout = '{IDLE_WITHIN}'; "
            "SELECT set_config('synchronous_commit', 'on', false) "
            "WHERE current_setting('synchronous_commit') = 'off'"
        )
    )


def _prepare_reader(connection: Any, _record: Any) -> None:
    connection.readonly = True


def _refuse_a_closed_one(connection: Any, _record: Any, _proxy: Any) -> None:
    """A connection that the server has ended is replaced; it costs no round trip to know."""
    if connection.driver_connection.is_closed():
        raise DisconnectionError
