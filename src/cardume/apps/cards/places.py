"""Where a card goes in its column. What two people ask for at once happens one after the other.

Every function belongs to the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Row, bindparam, select, update

from cardume.apps.cards.board import MAIN
from cardume.apps.cards.ranks import HEAD, MAX_LENGTH, between, spread
from cardume.apps.cards.views import announce, card_view
from cardume.errors import Refused
from cardume.storage.database import Write
from cardume.storage.tables import cards
from cardume.wire import codes

NARROW = 32
"""Cards around a full gap that are given new positions, if those fit at normal length."""

WIDE = 256
"""Beyond normal length rather than more cards than these: for that long, 20 ms, nobody writes."""

_PUT = update(cards).where(cards.c.card_id == bindparam("id")).values(position=bindparam("place"))


async def at_the_end(tx: Write, column_id: str, who: str) -> str:
    """The position behind all cards of a column."""
    query = select(cards.c.position).where(*_in(column_id)).order_by(cards.c.position.desc())
    last: str | None = (await tx.execute(query.limit(1))).scalar()
    position = between(last, None)
    if position is None:
        await _make_room(tx, column_id, last, who)
        return await at_the_end(tx, column_id, who)
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
        await _make_room(tx, column_id, before, who)
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


class _Step(NamedTuple):
    card_id: str
    old: str
    new: str


async def _make_room(tx: Write, column_id: str, before: str | None, who: str) -> None:
    """Give the cards around the gap behind `before` new positions in the same order.

    Their versions stay: nobody's next write is stale because others made the gap narrow.
    """
    steps = await _spread_around(tx, column_id, before)
    # Whoever goes up waits for those above, whoever goes down for those below. The order stays
    # what it was, so no two share a position at any moment: the index would refuse it.
    up = [step for step in reversed(steps) if step.new > step.old]
    down = [step for step in steps if step.new < step.old]
    await tx.execute(_PUT, [{"id": step.card_id, "place": step.new} for step in up + down])
    moved = {step.card_id for step in up + down}
    query = select(cards).where(*_in(column_id))
    query = query.where(cards.c.position.between(steps[0].new, steps[-1].new))
    for row in await tx.execute(query.order_by(cards.c.position)):
        if row.card_id in moved:
            announce(tx, "card_moved", card_view(row), who)


async def _spread_around(tx: Write, column_id: str, before: str | None) -> list[_Step]:
    """As few cards around the gap as it takes, in order."""
    width = NARROW
    while True:
        rows, start, end = await _window(tx, column_id, before, width // 2)
        keys = spread(len(rows), start, end, HEAD if width < WIDE else MAX_LENGTH)
        if keys is not None:
            pairs = zip(rows, keys, strict=True)
            return [_Step(row.card_id, row.position, key) for row, key in pairs]
        width *= 2


async def _window(
    tx: Write, column_id: str, before: str | None, half: int
) -> tuple[list[Row[Any]], str | None, str | None]:
    """Up to `half` cards on either side of a gap, and the positions beyond: None at an end."""
    query = select(cards.c.card_id, cards.c.position).where(*_in(column_id)).limit(half + 1)
    above: Sequence[Row[Any]] = ()
    if before is not None:
        upwards = query.where(cards.c.position <= before).order_by(cards.c.position.desc())
        above = (await tx.execute(upwards)).all()
        query = query.where(cards.c.position > before)
    below = (await tx.execute(query.order_by(cards.c.position))).all()
    rows = [*reversed(above[:half]), *below[:half]]
    return rows, _beyond(above, half), _beyond(below, half)


def _beyond(rows: Sequence[Row[Any]], half: int) -> str | None:
    return rows[half].position if len(rows) > half else None


def _in(column_id: str) -> tuple[Any, Any]:
    return cards.c.board_id == MAIN, cards.c.column_id == column_id
