"""The board: which columns there are, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from cardume.apps.cards.bodies import BoardBody
from cardume.apps.cards.views import CHANNEL, BoardView, board_view
from cardume.auth.identity import Identity
from cardume.clock import Clock
from cardume.errors import Refused
from cardume.storage.database import Storage, Write
from cardume.storage.tables import boards, cards
from cardume.wire import codes

MAIN = "main"
"""The one board there is, at first."""

DEFAULT_COLUMNS = ("backlog", "plan", "implement", "test", "review", "done")

_BOARD = select(boards).where(boards.c.board_id == MAIN)


async def read_board(connection: AsyncConnection) -> BoardView:
    return board_view((await connection.execute(_BOARD)).one())


async def columns_of(tx: Write) -> list[str]:
    """The columns of the board, from left to right."""
    columns: list[str] = (await tx.execute(_BOARD)).one().columns
    return columns


def check_column(columns: Sequence[str], column_id: str) -> None:
    """Let through a column that the board has.

    Raises:
        Refused: 422, with the `columns` there are.
    """
    if column_id not in columns:
        raise Refused(
            codes.INVALID_FIELDS,
            f"column_id: no column {column_id!r}; there is: {', '.join(columns)}",
            columns=list(columns),
        )


class Boards:
    """The board's own changes. Whoever may see it may change it."""

    def __init__(self, storage: Storage, clock: Clock, changed: Callable[[], object]) -> None:
        self._storage = storage
        self._clock = clock
        self._changed = changed

    async def prepare(self) -> None:
        """See to it that there is a board."""
        async with self._storage.write() as tx:
            if (await tx.execute(_BOARD)).first() is None:
                values = {"columns": list(DEFAULT_COLUMNS), "version": 1, "updated_by": "system"}
                now = self._clock.now()
                await tx.execute(insert(boards).values(board_id=MAIN, updated_at=now, **values))

    async def replace(self, identity: Identity, body: BoardBody) -> BoardView:
        """Idempotent: the columns that it has already change and announce nothing.

        Raises:
            Refused: 409 for a column that holds cards and would go, with the `columns` that do,
                and for a stale version, with the current `board`.
        """
        async with self._storage.write() as tx:
            row = (await tx.execute(_BOARD)).one()
            if body.version not in (None, row.version):
                why = f"the board has version {row.version}, not {body.version}"
                raise Refused(codes.CONFLICT, why, board=board_view(row))
            if row.columns == body.columns:
                return board_view(row)
            await self._check_empty(tx, set(row.columns) - set(body.columns))
            values = {
                "columns": body.columns,
                "version": row.version + 1,
                "updated_at": self._clock.now(),
                "updated_by": identity.sub,
            }
            statement = update(boards).where(boards.c.board_id == MAIN).values(**values)
            board = board_view((await tx.execute(statement.returning(boards))).one())
            tx.on_commit(self._changed)
            tx.emit(CHANNEL, "board_updated", board, source=identity.sub)
            return board

    @staticmethod
    async def _check_empty(tx: Write, going: set[str]) -> None:
        query = (
            select(cards.c.column_id, func.count().label("held"))
            .where(cards.c.board_id == MAIN, cards.c.column_id.in_(going))
            .group_by(cards.c.column_id)
            .order_by(cards.c.column_id)
        )
        held = {row.column_id: row.held for row in await tx.execute(query)}
        if held:
            named = ", ".join(f"{column_id} ({count})" for column_id, count in held.items())
            why = f"columns that hold cards cannot go: {named}; move or delete those first"
            raise Refused(codes.CONFLICT, why, columns=list(held))
