"""What no app owns: users who log in, and the numbers that names are made of."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, String, Table

from cardume.storage.tables.base import metadata

users = Table(
    "users",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("password_hash", String(255), nullable=False),
    Column("role", String(32)),
    Column("created_at", Double, nullable=False),
)

sequences = Table(
    "sequences",
    metadata,
    Column("name", String(100), primary_key=True),
    Column("value", BigInteger, nullable=False),
)
"""The last number given by name, so that the id of what was deleted never comes back."""
