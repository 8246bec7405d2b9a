"""One seam between truth and announcement: `write()` commits, then publishes what was emitted.

There is one writer: transactions run one after the other, those of other processes on the same
database included. What a database is like, SQLite or PostgreSQL, is behind `Backend`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, NoReturn, Protocol, Self

from sqlalchemy import Executable, Insert
from sqlalchemy.engine import CursorResult
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from cardume.errors import Invalid, Unavailable
from cardume.storage.announcer import Announcer, Emit, Lose, Publish
from cardume.storage.backend import OUT_OF_REACH, Backend, Fault
from cardume.storage.migrate import bring_up_to_date
from cardume.storage.statements import Spellings
from cardume.storage.urls import backend_for

logger = logging.getLogger("cardume.storage")

SETTLED_WITHIN = 10.0
"""Seconds that we ask what became of a commit without an answer, before `Unavailable`."""


class Reader(Protocol):
    """A connection that reads, or an open transaction."""

    async def execute(self, statement: Executable, /) -> CursorResult[Any]: ...


class Write:
    """An open transaction. What it emits is published after the commit, in commit order."""

    def __init__(self, connection: AsyncConnection, backend: Backend, number: int | None) -> None:
        self._connection = connection
        self._backend = backend
        self.number = number
        """By which the database can be asked later what became of it."""
        self.emits: list[Emit] = []
        self.kept: list[Callable[[], object]] = []

    async def execute(
        self, statement: Executable | Spellings, parameters: Any = None
    ) -> CursorResult[Any]:
        """Run a statement; a list of parameter sets runs it for each."""
        result: CursorResult[Any] = await self._connection.execute(
            self._spelled(statement), parameters
        )
        return result

    async def execute_rows(
        self, statement: Insert | Spellings, rows: Sequence[tuple[Any, ...]]
    ) -> int:
        """Insert rows whose values are in the order of the table's columns; how many there are new.

        They go to the driver as they are, past SQLAlchemy's work for each row and its types.
        """
        insert = self._spelled(statement)
        return await self._backend.execute_rows(self._connection, insert, rows)

    def _spelled(self, statement: Any) -> Any:
        return statement if isinstance(statement, Executable) else statement[self._backend.name]

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
    """The database behind the apps, by URL; an async context manager that may be entered again.

    `lose` is called with the channel of an event that is committed and could not be published.
    """

    def __init__(self, url: str, publish: Publish, lose: Lose | None = None) -> None:
        self._backend = backend_for(url)
        self._announcer = Announcer(publish, lose)
        self._turn = asyncio.Lock()
        self._writer: AsyncEngine | None = None
        self._reader: AsyncEngine | None = None
        self._in_doubt: Write | None = None
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
        await bring_up_to_date(self._backend)
        self._writer = self._backend.writer()
        self._reader = self._backend.reader()

    async def close(self) -> None:
        """Let go; the writer last, so that it is the one that checkpoints."""
        reader, self._reader = self._reader, None
        writer, self._writer = self._writer, None
        if reader is not None:
            await reader.dispose()
        if writer is not None:
            await self._backend.sign_off(writer)
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
                    if self._in_doubt is not None:
                        await self._settle(connection, self._in_doubt)
                    number = await self._backend.take_signed_turn(connection)
                    write = Write(connection, self._backend, number)
                    yield write
                    await _to_the_end(self._keep(connection, write))
            except OverflowError:
                raise Invalid("a number has more than 64 bits") from None
            except OUT_OF_REACH as error:
                self._raise(error, "the database did not keep it", wrote=True)

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
            self._raise(error, "the database did not answer")

    async def _keep(self, connection: AsyncConnection, write: Write) -> None:
        try:
            await connection.commit()
        except DBAPIError as error:
            lost = self._backend.fault(error) is Fault.AWAY
            if write.number is None or not lost or not await self._was_kept_after_all(write):
                raise
        if not self.healthy:
            logger.info("transactions are kept again")
        self.healthy = True
        await self._announcer.follow(write.kept, write.emits)

    async def _was_kept_after_all(self, write: Write) -> bool:
        """What became of a transaction when the connection was lost in the middle of its commit.

        If nobody can say in time, whoever writes next will know first (`_settle`).
        """
        self._in_doubt = write
        engine = self._backend.migrator()  # our one connection is still in use
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLED_WITHIN):
                while True:
                    try:
                        async with engine.connect() as connection:
                            return await self._became(connection, write)
                    except OUT_OF_REACH:
                        await asyncio.sleep(0.1)
        return False

    async def _became(self, connection: AsyncConnection, write: Write) -> bool:
        assert write.number is not None
        await self._backend.take_turn(connection)
        kept = await self._backend.was_kept(connection, write.number)
        await connection.rollback()
        self._in_doubt = None
        return kept

    async def _settle(self, connection: AsyncConnection, write: Write) -> None:
        """Announce what turns out to be kept, before anything that is decided after it."""
        if await self._became(connection, write):
            await _to_the_end(self._announcer.follow(write.kept, write.emits))

    def _raise(self, error: Exception, says: str, *, wrote: bool = False) -> NoReturn:
        match self._backend.fault(error):
            case Fault.OURS:
                raise error
            case Fault.VALUE:
                raise Invalid(f"a value fits no row: {self._backend.reason(error)}") from None
        if wrote:
            if self.healthy:
                cause = ascii(self._backend.reason(error))[:200]
                logger.error("a transaction was not kept: %s", cause)
            self.healthy = False
        raise Unavailable(says) from error


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
