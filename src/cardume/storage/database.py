"""One seam between truth and announcement: `write()` commits, then publishes what was emitted.

SQLite has one writer: a pool of one connection, BEGIN IMMEDIATE, checkpoints there. Readers are
query-only. WAL before SQLite 3.51.3 can corrupt itself when two connections write or checkpoint
(sqlite.org/wal.html, "the WAL-reset bug"); with one it cannot.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol, Self

import msgspec
from sqlalchemy import Executable, Insert, event, text
from sqlalchemy.engine import CursorResult
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from cardume.errors import CardumeError, ConfigurationError, Invalid, Unavailable
from cardume.storage.migrate import upgrade
from cardume.storage.sqlite import (
    OUT_OF_REACH,
    begin_immediate,
    checked_url,
    is_ours,
    prepare_reader,
    prepare_writer,
    probe,
)
from cardume.storage.statements import driver_sql

logger = logging.getLogger("cardume.storage")

READERS = 4

EMITS_PER_TURN = 32
"""Publications after which the loop has a turn: connections write what they were given, and a large
batch does not look to them as if they had fallen behind."""


class Publish(Protocol):
    """`Hub.publish`, as far as storage needs it."""

    def __call__(
        self, channel: str, type: str | None, data: Any, /, *, key: str | None, source: str | None
    ) -> Awaitable[object]: ...


class Emit(msgspec.Struct, frozen=True):
    """What to say on `channel` once the transaction is kept."""

    channel: str
    type: str
    data: Any
    key: str | None = None
    source: str | None = None


class Write:
    """An open transaction. What it emits is published after the commit, in commit order."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self.emits: list[Emit] = []
        self.kept: list[Callable[[], object]] = []

    async def execute(self, statement: Executable, parameters: Any = None) -> CursorResult[Any]:
        """Run a statement; a list of parameter sets runs it for each."""
        result: CursorResult[Any] = await self._connection.execute(statement, parameters)
        return result

    async def execute_rows(self, statement: Insert, rows: Sequence[tuple[Any, ...]]) -> int:
        """Insert rows whose values are in the order of the table's columns; how many there are new.

        They go to the driver as they are, past SQLAlchemy's work for each row and its types.
        """
        sql = driver_sql(statement, self._connection.dialect)
        result = await self._connection.exec_driver_sql(sql, list(rows))
        return result.rowcount

    def emit(
        self,
        channel: str,
        type: str,
        data: Any,
        *,
        key: str | None = None,
        source: str | None = None,
    ) -> None:
        """Publish this if, and after, the transaction commits."""
        self.emits.append(Emit(channel, type, data, key, source))

    def on_commit(self, callback: Callable[[], object]) -> None:
        """Run `callback` right after the commit, before anything is published."""
        self.kept.append(callback)


class Storage:
    """The database behind the apps, by URL; an async context manager that may be entered again."""

    def __init__(self, url: str, publish: Publish) -> None:
        self._url = checked_url(url)
        self._publish = publish
        self._turn = asyncio.Lock()
        self._writer: AsyncEngine | None = None
        self._reader: AsyncEngine | None = None
        self._opened = 0
        self.healthy = True
        """Whether the last transaction was kept."""

    async def __aenter__(self) -> Self:
        if self._opened == 0:
            await self.open()
        self._opened += 1
        return self

    async def __aexit__(self, *_: object) -> None:
        self._opened -= 1
        if self._opened == 0:
            await self.close()

    async def open(self) -> None:
        """Connect, and bring the schema up to date.

        Raises:
            ConfigurationError: there is no database to be had at this URL.
        """
        self._writer = create_async_engine(self._url, pool_size=1, max_overflow=0)
        self._reader = create_async_engine(self._url, pool_size=READERS, max_overflow=0)
        event.listen(self._writer.sync_engine, "connect", prepare_writer)
        event.listen(self._writer.sync_engine, "begin", begin_immediate)
        event.listen(self._reader.sync_engine, "connect", prepare_reader)
        try:
            await asyncio.to_thread(probe, self._url, self._writer.dialect)
            async with self._writer.begin() as connection:
                await connection.run_sync(upgrade)
                # Changes nothing, but says now and not at the first reading if nothing can be.
                await connection.execute(text("UPDATE alembic_version SET version_num=version_num"))
        except BaseException as error:
            await self.close()  # a connection left open keeps its thread, and that the process
            if not isinstance(error, DBAPIError | sqlite3.Error):
                raise
            where, why = self._url.render_as_string(), getattr(error, "orig", error)
            raise ConfigurationError(f"the database at {where} cannot be used: {why}") from error

    async def close(self) -> None:
        """Let go; the writer last, so that it is the one that checkpoints."""
        reader, self._reader = self._reader, None
        writer, self._writer = self._writer, None
        if reader is not None:
            await reader.dispose()
        if writer is not None:
            await writer.dispose()

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Write]:
        """A transaction of the one writer.

        Raises:
            Unavailable: nothing of it was kept: full or read-only disk, lost database.
            Invalid: a number from outside is larger than any that a row holds.
            sqlalchemy.exc.IntegrityError: a constraint said no; nothing was kept either.

        Anything else that the database refuses is a bug in a statement, and raised as it is.
        """
        async with self._turn:
            if self._writer is None:
                raise Unavailable("the database is closed")
            try:
                async with self._writer.connect() as connection:
                    await connection.begin()
                    write = Write(connection)
                    yield write
                    await _to_the_end(self._keep(connection, write))
            except OverflowError:
                raise Invalid("a number has more than 64 bits") from None
            except OUT_OF_REACH as error:
                if is_ours(error):
                    raise
                self._failed(error)
                raise Unavailable("the database did not keep it") from error

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection that sees what is committed and can change nothing.

        Raises:
            Unavailable: the database is out of reach.
            Invalid: a number from outside is larger than any that a row holds.
        """
        if self._reader is None:
            raise Unavailable("the database is closed")
        try:
            async with self._reader.connect() as connection:
                yield connection
        except OverflowError:
            raise Invalid("a number has more than 64 bits") from None
        except OUT_OF_REACH as error:
            if is_ours(error):
                raise
            raise Unavailable("the database did not answer") from error

    async def _keep(self, connection: AsyncConnection, write: Write) -> None:
        await connection.commit()
        self.healthy = True
        for callback in write.kept:
            try:
                callback()
            except Exception:  # as below: kept is kept
                logger.exception("what follows a commit failed")
        for number, emit in enumerate(write.emits, 1):
            if number % EMITS_PER_TURN == 0:
                await asyncio.sleep(0)
            try:
                await self._publish(
                    emit.channel, emit.type, emit.data, key=emit.key, source=emit.source
                )
            except Exception as error:
                # Kept is kept: subscribers learn of the gap by their positions. And whoever
                # wrote must not take it for lost and write it again.
                bug = None if isinstance(error, CardumeError) else error
                name = type(error).__name__
                logger.error("a committed event was not published: %s", name, exc_info=bug)

    def _failed(self, error: Exception) -> None:
        if self.healthy:
            cause = getattr(error, "orig", None) or type(error).__name__
            logger.error("a transaction was not kept: %s", ascii(str(cause))[:200])
        self.healthy = False


async def _to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Await `work` even if we are cancelled meanwhile: no commit may stay unannounced."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    failure = task.exception()
    # Whoever cancelled us waits for that; that nothing was kept would make callers try again.
    if cancelled is not None:
        raise cancelled from failure
    if failure is not None:
        raise failure
