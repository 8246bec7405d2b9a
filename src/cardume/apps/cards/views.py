"""How a board and its cards look outside: one shape for events, answers and snapshots."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row
from typing_extensions import TypedDict

from cardume.storage.database import Write
from cardume.wire.messages import rfc3339

CHANNEL = "cards"
"""Where everything about the board and its cards is announced."""


class BoardView(TypedDict):
    board_id: str
    columns: list[str]
    version: int
    updated_at: str
    updated_by: str


class CardView(TypedDict):
    id: str
    board_id: str
    column_id: str
    title: str
    description: str
    labels: list[str]
    position: str
    version: int
    created_at: str
    updated_at: str
    updated_by: str


def board_view(row: Row[Any]) -> BoardView:
    return {
        "board_id": row.board_id,
        "columns": row.columns,
        "version": row.version,
        "updated_at": rfc3339(row.updated_at),
        "updated_by": row.updated_by,
    }


def card_view(row: Row[Any], description: str | None = None) -> CardView:
    """A card out of its row; `description` where the row holds none."""
    return {
        "id": row.card_id,
        "board_id": row.board_id,
        "column_id": row.column_id,
        "title": row.title,
        "description": row.description if description is None else description,
        "labels": row.labels,
        "position": row.position,
        "version": row.version,
        "created_at": rfc3339(row.created_at),
        "updated_at": rfc3339(row.updated_at),
        "updated_by": row.updated_by,
    }


def announce(tx: Write, type: str, card: CardView, who: str) -> None:
    """Tell the viewers of the board and those of the card."""
    for channel in (CHANNEL, f"card:{card['id']}"):
        tx.emit(channel, type, card, source=who)
