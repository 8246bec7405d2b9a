"""One seam between truth and announcement: `write()` commits, then publishes what was emitted.

SQLite has one writer: a pool of one connection, BEGIN IMMEDIATE, checkpoints there. Readers are
query-only. WAL before SQLite 3.51.3 can corrupt itself when two connections write or checkpoint
(sqlite.org/wal.html, "the WAL-reset bug"); with one it cannot.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Protocol, Self

import msgspec
from sqlalchemy import Executable, event, make_url
from sqlalchemy.engine import CursorResult
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from cardume.errors import CardumeError, ConfigurationError, Unavailable
from cardume.storage.migrate import upgrade

logger = logging.getLogger("cardume.storage")

READERS = 4


class Publish(Protocol):
    """`Hub.publish`, as far as storage needs it."""

    def __call__(
        self, channel: str, type: str | None, data: Any, /, *, key: str | None
    ) -> Awaitable[object]: ...


class Emit(msgspec.Struct, frozen=True):
    """What to say on `channel` once the transaction is kept."""

    channel: str
    type: str
    data: Any
    key: str | None = None


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

    def emit(self, channel: str, type: str, data: Any, *, key: str | None = None) -> None:
        """Publish this if, and after, the transaction commits."""
        self.emits.append(Emit(channel, type, data, key))

    def on_commit(self, callback: Callable[[], object]) -> None:
        """Run `callback` right after the commit, before anything is published."""
        self.kept.append(callback)


class Storage:
    """The database behind the apps, by URL; an async context manager that may be entered again."""

    def __init__(self, url: str, publish: Publish) -> None:
        try:
            self._url = make_url(url)
        except ArgumentError:
            raise ConfigurationError(
                "CARDUME_DATABASE_URL is not a URL such as sqlite+aiosqlite:///cardume.db"
            ) from None
        if self._url.get_backend_name() != "sqlite":
            raise ConfigurationError(
                f"CARDUME_DATABASE_URL: no {self._url.get_backend_name()!r} yet; "
                "use sqlite+aiosqlite:///cardume.db"
            )
        self._publish = publish
        self._turn = asyncio.Lock()
        self._writer: AsyncEngine | None = None
        self._reader: AsyncEngine | None = None
        self._opened = 0
        self.healthy = True
        """Whether the last transaction was kept."""

    async def __aenter__(self) -> Self:
        self._opened += 1
        if self._opened == 1:
            await self.open()
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
        event.listen(self._writer.sync_engine, "connect", _prepare_writer)
        event.listen(self._writer.sync_engine, "begin", _begin_immediate)
        event.listen(self._reader.sync_engine, "connect", _prepare_reader)
        try:
            async with self._writer.begin() as connection:
                await connection.run_sync(upgrade)
        except DBAPIError as error:
            raise ConfigurationError(
                f"the database at {self._url.render_as_string()} cannot be used: {error.orig}"
            ) from error

    async def close(self) -> None:
        """Let go; the writer last, so that it is the one that checkpoints."""
        if self._reader is not None:
            await self._reader.dispose()
        if self._writer is not None:
            await self._writer.dispose()

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Write]:
        """A transaction of the one writer.

        Raises:
            Unavailable: nothing of it was kept: full or read-only disk, lost database.
            sqlalchemy.exc.IntegrityError: a constraint said no; nothing was kept either.
        """
        assert self._writer is not None, "Storage.open() comes first"
        async with self._turn:
            try:
                async with self._writer.connect() as connection:
                    await connection.begin()
                    write = Write(connection)
                    yield write
                    await _to_the_end(self._keep(connection, write))
            except IntegrityError:
                raise
            except SQLAlchemyError as error:
                self._failed(error)
                raise Unavailable("the database did not keep it") from error

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection that sees what is committed and can change nothing.

        Raises:
            Unavailable: the database is out of reach.
        """
        assert self._reader is not None, "Storage.open() comes first"
        try:
            async with self._reader.connect() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise Unavailable("the database did not answer") from error

    async def _keep(self, connection: AsyncConnection, write: Write) -> None:
        await connection.commit()
        self.healthy = True
        for callback in write.kept:
            callback()
        for emit in write.emits:
            try:
                await self._publish(emit.channel, emit.type, emit.data, key=emit.key)
            except CardumeError as error:
                # Kept is kept: subscribers learn of the gap by their positions.
                logger.error("a committed event was not published: %s", type(error).__name__)

    def _failed(self, error: SQLAlchemyError) -> None:
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
    task.result()
    if cancelled is not None:
        raise cancelled


def _prepare_writer(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # SQLAlchemy begins; the driver must not begin for it
    _pragmas(connection, "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON")


def _prepare_reader(connection: Any, _record: Any) -> None:
    _pragmas(connection, "query_only=ON")


def _pragmas(connection: Any, *pragmas: str) -> None:
    cursor = connection.cursor()
    for pragma in ("busy_timeout=5000", *pragmas):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_immediate(connection: Any) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
