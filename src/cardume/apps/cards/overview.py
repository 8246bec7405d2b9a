"""What a fresh viewer is told: the board and its cards, as far as they fit a connection."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Row, case, func, select
from sqlalchemy.ext.asyncio import AsyncConnection
from typing_extensions import TypedDict

from cardume.apps.cards.board import MAIN, read_board
from cardume.apps.cards.views import BoardView, card_view
from cardume.storage.database import Storage
from cardume.storage.tables import cards
from cardume.wire import json

SMALLEST = 200
"""Bytes of a card without a description at least: so many cards are not even read."""

_LEAN = [column for column in cards.c if column.name != "description"]


class Latest:
    """The overview as it was encoded last, while nothing has changed.

    When a server comes back, all its viewers do: reading and encoding 500 cards for each of 600
    took 9 ms of every connection, of which this leaves 3.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._changes = 0
        self._encoded: msgspec.Raw | None = None
        self._reading = asyncio.Lock()

    def changed(self) -> None:
        """What was encoded is not the board any more."""
        self._changes += 1
        self._encoded = None

    async def read(self, limit: int) -> msgspec.Raw:
        """The overview in at most about `limit` bytes."""
        async with self._reading:
            if self._encoded is not None:
                return self._encoded
            before = self._changes
            async with self._storage.read() as connection:
                encoded = msgspec.Raw(json.encode(await read_overview(connection, limit)))
            if self._changes == before:
                self._encoded = encoded
            return encoded


class Overview(TypedDict):
    """Cards by column, from left to right, and in a column by position.

    `truncated`: more than fits. Descriptions are left out then, and so are the last cards if that
    is not enough; `total` says how many there are.
    """

    board: BoardView
    cards: list[msgspec.Raw]
    total: int
    truncated: bool


async def read_overview(connection: AsyncConnection, limit: int) -> Overview:
    """The board in at most about `limit` bytes of JSON."""
    board = await read_board(connection)
    total, length = (await connection.execute(_SIZE)).one()
    rows = await _lean(connection, board["columns"], limit // SMALLEST + 1)
    if len(rows) == total and length <= limit:
        texts = {id: text for id, text in await connection.execute(_DESCRIPTIONS)}
        found, whole = _fitting([_whole(row, texts.get(row.card_id, "")) for row in rows], limit)
        if whole:
            return {"board": board, "cards": found, "total": total, "truncated": False}
    found, _ = _fitting([_without_description(row) for row in rows], limit)
    return {"board": board, "cards": found, "total": total, "truncated": True}


_SIZE = select(func.count(), func.coalesce(func.sum(func.length(cards.c.description)), 0)).where(
    cards.c.board_id == MAIN
)
_DESCRIPTIONS = select(cards.c.card_id, cards.c.description).where(
    cards.c.board_id == MAIN, cards.c.description != ""
)


async def _lean(
    connection: AsyncConnection, columns: Sequence[str], count: int
) -> Sequence[Row[Any]]:
    """The first `count` cards without their descriptions."""
    places = {column_id: place for place, column_id in enumerate(columns)}
    query = (
        select(*_LEAN)
        .where(cards.c.board_id == MAIN)
        .order_by(case(places, value=cards.c.column_id), cards.c.position)
        .limit(count)
    )
    return (await connection.execute(query)).all()


def _whole(row: Row[Any], description: str) -> bytes:
    return json.encode(card_view(row, description))


def _without_description(row: Row[Any]) -> bytes:
    card = {name: value for name, value in card_view(row, "").items() if name != "description"}
    return json.encode(card)


def _fitting(encoded: Sequence[bytes], limit: int) -> tuple[list[msgspec.Raw], bool]:
    """As many as fit, and whether those are all."""
    found: list[msgspec.Raw] = []
    for card in encoded:
        limit -= len(card) + 1
        if limit < 0:
            return found, False
        found.append(msgspec.Raw(card))
    return found, True
