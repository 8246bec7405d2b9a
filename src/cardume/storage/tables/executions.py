"""Executions and their logs."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Double,
    ForeignKey,
    Index,
    LargeBinary,
    Table,
    Text,
)

from cardume.storage.tables.base import metadata
from cardume.storage.types import Number, chars

executions = Table(
    "executions",
    metadata,
    Column("number", Number, primary_key=True),
    Column("execution_id", chars(32), nullable=False),
    Column("name", chars(200), nullable=False),
    Column("command", Text),
    Column("card_id", chars(64)),
    Column("status", chars(16), nullable=False),
    Column("reason", chars(32)),
    Column("message", Text),
    Column("exit_code", Number),
    Column("progress", JSON),
    Column("first_seq", BigInteger, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
    Column("log_bytes", BigInteger, nullable=False),
    Column("version", Number, nullable=False),
    Column("created_by", chars(255), nullable=False),
    Column("key_hash", chars(64), nullable=False),
    Column("started_at", Double, nullable=False),
    Column("finished_at", Double),
    Index("ix_executions_execution_id", "execution_id", unique=True),
    Index("ix_executions_card_id", "card_id", "number"),
    Index("ix_executions_status", "status", "number"),
    sqlite_autoincrement=True,
)
"""`number` is the order in which they were made; `execution_id` is what people are given.

`key_hash` is that of its runner's key.

`first_seq` is the oldest line that is kept, `last_seq` the newest; 1 and 0 for an empty log."""

execution_logs = Table(
    "execution_logs",
    metadata,
    Column(
        "execution",
        Number,
        ForeignKey("executions.number", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    Column(
        "last_seq",
        Number,
        primary_key=True,
        autoincrement=False,
    ),
    Column("first_seq", BigInteger, nullable=False),
    Column("lines", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)
"""A batch of lines in a row, as the JSON array that every reader is sent.

By its last line, so that what follows a line is one range of the key."""
