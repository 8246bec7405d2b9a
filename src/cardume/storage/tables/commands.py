"""What people ask of devices, and what became of it."""

from __future__ import annotations

from sqlalchemy import JSON, Column, Double, ForeignKey, Index, Table, UniqueConstraint

from cardume.storage.tables.base import metadata
from cardume.storage.types import Number, chars

device_commands = Table(
    "device_commands",
    metadata,
    Column("number", Number, primary_key=True),
    Column(
        "device_id",
        chars(64),
        ForeignKey("devices.device_id", ondelete="CASCADE"),
        nullable=False,
    ),
    Column("id", chars(64), nullable=False),
    Column("command", chars(64), nullable=False),
    Column("params", JSON, nullable=False),
    Column("status", chars(16), nullable=False),
    Column("result", chars(16)),
    Column("answer", JSON(none_as_null=True)),
    Column("version", Number, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("created_by", chars(255), nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("sent_at", Double),
    Column("finished_at", Double),
    UniqueConstraint("device_id", "id"),
    Index("ix_device_commands_device_id_number", "device_id", "number"),
    Index("ix_device_commands_status", "status"),
    sqlite_autoincrement=True,
)
"""`id` is what sender and device call it, unique for the device; `number` is ours, in order."""
