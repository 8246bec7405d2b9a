"""Where a card goes in its column. What two people ask for at once happens one after the other.

Every function belongs to the caller's transaction.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, literal, select, update

from cardume.apps.cards.board import MAIN
from cardume.apps.cards.ranks import between, spread
from cardume.apps.cards.views import CardView, announce, card_view
from cardume.errors import Refused
from cardume.storage.database import Write
from cardume.storage.tables import cards
from cardume.wire import codes


async def at_the_end(tx: Write, column_id: str, who: str) -> str:
    """The position behind all cards of a column."""
    query = select(cards.c.position).where(*_in(column_id)).order_by(cards.c.position.desc())
    last: str | None = (await tx.execute(query.limit(1))).scalar()
    position = between(last, None)
    if position is None:
        position = between(await _spread(tx, column_id, who), None)
    assert position is not None
    return position


async def behind(
    tx: Write, card_id: str, column_id: str, after_id: str | None, who: str
) -> str | None:
    """The position of a card behind another, or at the top; None if it is there already.

    Raises:
        Refused: 409, the other card is not in that column (any more).
    """
    before = await _position(tx, column_id, after_id)
    follows = await _next(tx, column_id, before)
    if follows is not None and follows.card_id == card_id:
        return None
    position = between(before, None if follows is None else follows.position)
    if position is None:
        await _spread(tx, column_id, who)
        return await behind(tx, card_id, column_id, after_id, who)
    return position


async def _position(tx: Write, column_id: str, card_id: str | None) -> str | None:
    if card_id is None:
        return None
    query = select(cards.c.column_id, cards.c.position).where(cards.c.card_id == card_id)
    row = (await tx.execute(query)).first()
    if row is None or row.column_id != column_id:
        where = "is gone" if row is None else f"is in column {row.column_id}"
        raise Refused(
            codes.CONFLICT,
            f"after_id: that card {where}, not in {column_id}",
            after_id=card_id,
            column_id=None if row is None else row.column_id,
        )
    position: str = row.position
    return position


async def _next(tx: Write, column_id: str, before: str | None) -> Row[Any] | None:
    """The card right behind a position; None before all: the first."""
    query = select(cards.c.card_id, cards.c.position).where(*_in(column_id))
    if before is not None:
        query = query.where(cards.c.position > before)
    return (await tx.execute(query.order_by(cards.c.position).limit(1))).first()


async def _spread(tx: Write, column_id: str, who: str) -> str | None:
    """Give every card of a column a new, short position in the same order; the last one.

    Their versions stay: nobody's next write is stale because others made the gaps narrow.
    """
    query = select(cards).where(*_in(column_id)).order_by(cards.c.position)
    rows = (await tx.execute(query)).all()
    # No two cards share a position, and an old one may be another's new: out of the way first.
    aside = literal("~") + cards.c.card_id
    await tx.execute(update(cards).where(*_in(column_id)).values(position=aside))
    position: str | None = None
    for row, position in zip(rows, spread(len(rows)), strict=True):
        where = cards.c.card_id == row.card_id
        await tx.execute(update(cards).where(where).values(position=position))
        moved: CardView = {**card_view(row), "position": position}
        announce(tx, "card_moved", moved, who)
    return position


def _in(column_id: str) -> tuple[Any, Any]:
    return cards.c.board_id == MAIN, cards.c.column_id == column_id
