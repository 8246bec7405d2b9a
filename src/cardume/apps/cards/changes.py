"""What people do to cards: the functions behind both the HTTP calls and the actions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Insert, Row, Update, delete, func, insert, select, update

from cardume.apps.cards.board import MAIN, check_column, columns_of
from cardume.apps.cards.bodies import CardDeletion, CardMove, CardPatch, NewCard
from cardume.apps.cards.places import at_the_end, behind
from cardume.apps.cards.views import CardView, announce, card_view
from cardume.auth.identity import Identity
from cardume.clock import Clock
from cardume.documents.sequences import next_number
from cardume.errors import Refused
from cardume.storage.database import Storage, Write
from cardume.storage.tables import cards
from cardume.wire import codes

MAX_CARDS = 10_000
"""Cards of a board; whoever connects is told of them."""

_FIELDS = {"title", "description", "labels", "column_id"}


class Changes:
    """Create, update, move and delete, each in one transaction that is announced.

    One writer at a time: what is decided inside `write()` is decided on what is stored.
    """

    def __init__(self, storage: Storage, clock: Clock, changed: Callable[[], object]) -> None:
        self._storage = storage
        self._clock = clock
        self._changed = changed

    async def create(self, identity: Identity, body: NewCard) -> CardView:
        """Raises `Refused`: 422 for an unknown column, 409 on a full board."""
        async with self._storage.write() as tx:
            columns = await columns_of(tx)
            column_id = columns[0] if body.column_id is None else body.column_id
            check_column(columns, column_id)
            count = await tx.execute(select(func.count()).where(cards.c.board_id == MAIN))
            if count.scalar_one() >= MAX_CARDS:
                raise Refused(codes.CONFLICT, f"a board has at most {MAX_CARDS} cards")
            now = self._clock.now()
            card_id = f"card-{await next_number(tx, 'card')}"
            statement = insert(cards).values(
                card_id=card_id,
                board_id=MAIN,
                column_id=column_id,
                title=body.title,
                description=body.description,
                labels=body.labels,
                position=await at_the_end(tx, column_id, identity.sub),
                version=1,
                created_at=now,
                created_by=identity.sub,
                updated_at=now,
                updated_by=identity.sub,
            )
            return await self._keep(tx, "card_created", statement, identity)

    async def update(self, identity: Identity, card_id: str, body: CardPatch) -> CardView:
        """Members that are sent and differ; where none does, nothing happens.

        Raises:
            Refused: 404, 409 with the current `card`, 422 for an unknown column.
        """
        async with self._storage.write() as tx:
            row = await _current(tx, card_id, body.version)
            given = body.model_dump(exclude_unset=True, include=_FIELDS)
            values = {name: value for name, value in given.items() if value != row._mapping[name]}
            if "column_id" in values:
                check_column(await columns_of(tx), body.column_id)
                values["position"] = await at_the_end(tx, body.column_id, identity.sub)
            if not values:
                return card_view(row)
            return await self._change(tx, "card_updated", row, values, identity)

    async def move(self, identity: Identity, card_id: str, body: CardMove) -> CardView:
        """A card that is there already stays as it is, and nothing is announced.

        Raises:
            Refused: 404; 409 with the current `card`, or where `after_id` is not in the column;
                422 for an unknown column, or a card behind itself.
        """
        if body.after_id == card_id:
            raise Refused(codes.INVALID_FIELDS, "after_id: a card is not behind itself")
        async with self._storage.write() as tx:
            row = await _current(tx, card_id, body.version)
            check_column(await columns_of(tx), body.column_id)
            position = await behind(tx, card_id, body.column_id, body.after_id, identity.sub)
            if position is None:
                return card_view(row)
            values = {"column_id": body.column_id, "position": position}
            return await self._change(tx, "card_moved", row, values, identity)

    async def delete(self, identity: Identity, card_id: str, body: CardDeletion) -> None:
        """What is announced is the card as it was, a version later: by whom it went, and when.

        Raises:
            Refused: 404, 409 with the current `card`.
        """
        async with self._storage.write() as tx:
            row = await _current(tx, card_id, body.version)
            await self._change(tx, "card_deleted", row, {}, identity)
            await tx.execute(delete(cards).where(cards.c.card_id == card_id))

    async def _change(
        self, tx: Write, type: str, row: Row[Any], values: dict[str, Any], identity: Identity
    ) -> CardView:
        values |= {
            "version": row.version + 1,
            "updated_at": self._clock.now(),
            "updated_by": identity.sub,
        }
        statement = update(cards).where(cards.c.card_id == row.card_id).values(**values)
        return await self._keep(tx, type, statement, identity)

    async def _keep(
        self, tx: Write, type: str, statement: Insert | Update, identity: Identity
    ) -> CardView:
        card = card_view((await tx.execute(statement.returning(cards))).one())
        announce(tx, type, card, identity.sub)
        tx.on_commit(self._changed)
        return card


async def _current(tx: Write, card_id: str, version: int) -> Row[Any]:
    """The card, if it is what the caller has seen.

    Raises:
        Refused: 404, 409 with the current `card`.
    """
    row = (await tx.execute(select(cards).where(cards.c.card_id == card_id))).first()
    if row is None:
        raise Refused(codes.NOT_FOUND, "no such card")
    if row.version != version:
        why = f"the card has version {row.version}, not {version}"
        raise Refused(codes.CONFLICT, why, card=card_view(row))
    return row
