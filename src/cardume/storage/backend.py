"""What a database has to do for `Storage`; SQLite and PostgreSQL do it each in its own way.

Apps never ask which one it is; `statements` spells for both.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto
from typing import Any, Protocol

from sqlalchemy import Insert
from sqlalchemy.exc import DBAPIError, TimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

OUT_OF_REACH = (DBAPIError, TimeoutError)
"""What may be the database's fault; `Backend.fault` says whether it is."""

READERS = 4


class Fault(Enum):
    """Whose fault an error is."""

    AWAY = auto()
    """The database's: lost, full, read-only, locked. Trying again may help."""
    VALUE = auto()
    """A value from outside that no row can hold."""
    OURS = auto()
    """A constraint, or a bug of a statement: trying again does not help."""


class Backend(Protocol):
    """A database by URL. Its engines are the caller's to dispose of."""

    name: str
    """SQLAlchemy's name of the dialect."""
    where: str
    """The place as people are told it: no password, no options."""
    one_machine: bool
    """Whether only processes of one machine can share it."""

    def writer(self) -> AsyncEngine:
        """An engine with the one connection that writes."""

    def migrator(self) -> AsyncEngine:
        """An engine for changes of the schema, which may take their time."""

    def reader(self) -> AsyncEngine:
        """An engine whose connections can change nothing."""

    async def check(self) -> None:
        """Connect once.

        Raises:
            ConfigurationError: it cannot be used; the message says why.
        """

    async def take_turn(self, connection: AsyncConnection) -> None:
        """Begin a transaction that alone writes, other processes included."""

    async def take_signed_turn(self, connection: AsyncConnection) -> int | None:
        """As `take_turn`; the number by which `was_kept` knows this transaction.

        They rise. None where a commit is always answered.
        """

    async def was_kept(self, connection: AsyncConnection, number: int) -> bool:
        """What became of a transaction of ours. Whoever asks has the turn."""

    async def sign_off(self, writer: AsyncEngine) -> None:
        """Forget the numbers, if that is easily done; there will be no more."""

    async def execute_rows(
        self, connection: AsyncConnection, statement: Insert, rows: Sequence[tuple[Any, ...]]
    ) -> int:
        """Insert rows in the order of the table's columns; how many there are new."""

    def fault(self, error: Exception) -> Fault:
        """Whose fault one of `OUT_OF_REACH` is."""

    def reason(self, error: BaseException) -> str:
        """What the database said, in one line without the statement and its parameters."""
