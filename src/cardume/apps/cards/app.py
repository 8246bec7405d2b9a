"""The cards app: what it declares on a hub, and what it is made of."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import msgspec
from fastapi import Depends
from sqlalchemy import select

from cardume.apps.cards.board import Boards
from cardume.apps.cards.bodies import DeleteAction, MoveAction, NewCard, UpdateAction
from cardume.apps.cards.changes import Changes
from cardume.apps.cards.overview import Latest
from cardume.apps.cards.views import CHANNEL, CardView, card_view
from cardume.auth.identity import Identity
from cardume.errors import Refused
from cardume.storage.database import Storage
from cardume.storage.tables import cards
from cardume.transports.apps import current
from cardume.transports.fastapi import Hub
from cardume.wire import codes

CARD_HISTORY = 50
CARD_HISTORY_BYTES = 64 * 1024
"""Of the publications about one card: a board has 10,000 of them, and each may have a stream."""


class Cards:
    """One board of cards on one hub and one database; any user reads and writes.

    `cardume.apps.cards.router` gives it addresses and starts it with your application.
    """

    def __init__(self, hub: Hub, storage: Storage) -> None:
        self.hub = hub
        self.storage = storage
        self._latest = Latest(storage)
        self.boards = Boards(storage, hub.clock, self._latest.changed)
        self.changes = Changes(storage, hub.clock, self._latest.changed)
        self._declare_channels()
        self._declare_actions()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Started: there is a board."""
        async with self.storage, self.hub:
            await self.boards.prepare()
            yield

    async def overview(self) -> msgspec.Raw:
        """What a fresh viewer of the board is told; half the outbox is left to what follows."""
        return await self._latest.read(self.hub.options.outbox_limit // 2)

    async def card(self, card_id: str) -> CardView:
        """What a fresh viewer of a card is told.

        Raises:
            Refused: 404.
        """
        async with self.storage.read() as connection:
            query = select(cards).where(cards.c.card_id == card_id)
            row = (await connection.execute(query)).first()
        if row is None:
            raise Refused(codes.NOT_FOUND, "no such card")
        return card_view(row)

    def _declare_channels(self) -> None:
        @self.hub.channel(
            CHANNEL, path="/ws/cards", history=1000, history_ttl=3600.0, snapshot=self.overview
        )
        async def board(identity: Identity) -> None:
            """Any authenticated user."""

        @self.hub.channel(
            "card:{card_id}",
            path="/ws/cards/{card_id}",
            history=CARD_HISTORY,
            history_ttl=3600.0,
            history_bytes=CARD_HISTORY_BYTES,
            snapshot=self.card,
        )
        async def card(card_id: str, identity: Identity) -> None:
            # Anybody who is somebody; but a card that is not there gets no channel and no stream.
            await self.card(card_id)

    def _declare_actions(self) -> None:
        @self.hub.action("create_card")
        async def create_card(identity: Identity, body: NewCard) -> CardView:
            return await self.changes.create(identity, body)

        @self.hub.action("update_card")
        async def update_card(identity: Identity, body: UpdateAction) -> CardView:
            return await self.changes.update(identity, body.card_id, body)

        @self.hub.action("move_card")
        async def move_card(identity: Identity, body: MoveAction) -> CardView:
            return await self.changes.move(identity, body.card_id, body)

        @self.hub.action("delete_card")
        async def delete_card(identity: Identity, body: DeleteAction) -> None:
            await self.changes.delete(identity, body.card_id, body)


CurrentCards = Annotated[Cards, Depends(current(Cards))]
