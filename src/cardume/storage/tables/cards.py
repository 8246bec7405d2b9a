"""Boards and their cards."""

from __future__ import annotations

from sqlalchemy import JSON, Column, Double, ForeignKey, Index, Integer, String, Table, Text

from cardume.storage.tables.base import metadata

boards = Table(
    "boards",
    metadata,
    Column("board_id", String(64), primary_key=True),
    Column("columns", JSON, nullable=False),
    Column("version", Integer, nullable=False),
    Column("updated_at", Double, nullable=False),
    Column("updated_by", String(255), nullable=False),
)

cards = Table(
    "cards",
    metadata,
    Column("card_id", String(64), primary_key=True),
    Column(
        "board_id", String(64), ForeignKey("boards.board_id", ondelete="CASCADE"), nullable=False
    ),
    Column("column_id", String(64), nullable=False),
    Column("title", String(300), nullable=False),
    Column("description", Text, nullable=False),
    Column("labels", JSON, nullable=False),
    Column("position", String(255), nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("created_by", String(255), nullable=False),
    Column("updated_at", Double, nullable=False),
    Column("updated_by", String(255), nullable=False),
    Index("ix_cards_column", "board_id", "column_id", "position", unique=True),
)
"""`position` orders a column by its bytes; no two cards of a column share one."""
