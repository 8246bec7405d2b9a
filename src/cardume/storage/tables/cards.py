"""Boards and their cards."""

from __future__ import annotations

from sqlalchemy import JSON, Column, Double, ForeignKey, Index, Table, Text

from cardume.storage.tables.base import metadata
from cardume.storage.types import Number, chars

boards = Table(
    "boards",
    metadata,
    Column("board_id", chars(64), primary_key=True),
    Column("columns", JSON, nullable=False),
    Column("version", Number, nullable=False),
    Column("updated_at", Double, nullable=False),
    Column("updated_by", chars(255), nullable=False),
)

cards = Table(
    "cards",
    metadata,
    Column("card_id", chars(64), primary_key=True),
    Column(
        "board_id", chars(64), ForeignKey("boards.board_id", ondelete="CASCADE"), nullable=False
    ),
    Column("column_id", chars(64), nullable=False),
    Column("title", chars(300), nullable=False),
    Column("description", Text, nullable=False),
    Column("labels", JSON, nullable=False),
    Column("position", chars(255), nullable=False),
    Column("version", Number, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("created_by", chars(255), nullable=False),
    Column("updated_at", Double, nullable=False),
    Column("updated_by", chars(255), nullable=False),
    Index("ix_cards_column", "board_id", "column_id", "position", unique=True),
)
"""`position` orders a column by its bytes; no two cards of a column share one."""
