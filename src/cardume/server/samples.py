"""What lies on the board of a demo when it is opened for the first time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from sqlalchemy import select

from cardume.apps.cards import Cards
from cardume.apps.cards.board import read_board
from cardume.apps.cards.bodies import NewCard
from cardume.auth.identity import Identity
from cardume.server.visitor import USER
from cardume.storage.tables import sequences

CARDS = (
    ("backlog", "Quarantine tank for the new tangs", ("fish",)),
    ("backlog", "Replace the old dosing pump", ("hardware",)),
    ("plan", "Change a fifth of the water", ("routine",)),
    ("implement", "Calibrate the pH probe", ("hardware",)),
    ("review", "New light schedule for the corals", ("light",)),
    ("done", "Feed the fish", ("routine",)),
)


def sample_cards(app: Cards) -> Callable[[Any], AbstractAsyncContextManager[None]]:
    """A lifespan that puts `CARDS` on a board that nobody has touched yet."""

    @asynccontextmanager
    async def lifespan(_app: Any) -> AsyncIterator[None]:
        if await _is_untouched(app):
            for column_id, title, labels in CARDS:
                card = NewCard(title=title, column_id=column_id, labels=list(labels))
                await app.changes.create(Identity(USER), card)
        yield

    return lifespan


async def _is_untouched(app: Cards) -> bool:
    """Whether there never was a card, and the columns are those that a board begins with."""
    async with app.storage.read() as connection:
        given = await connection.scalar(select(sequences.c.value).where(sequences.c.name == "card"))
        return given is None and (await read_board(connection))["version"] == 1
