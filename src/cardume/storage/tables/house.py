"""What no app owns: the owner, users who log in, and the numbers that names are made of."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, Integer, Table

from cardume.storage.tables.base import metadata
from cardume.storage.types import chars

users = Table(
    "users",
    metadata,
    Column("name", chars(255), primary_key=True),
    Column("password_hash", chars(255), nullable=False),
    Column("role", chars(32)),
    Column("created_at", Double, nullable=False),
)

sequences = Table(
    "sequences",
    metadata,
    Column("name", chars(100), primary_key=True),
    Column("value", BigInteger, nullable=False),
)
"""The last number given by name, so that the id of what was deleted never comes back."""

ownership = Table(
    "ownership",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("token", chars(32), nullable=False),
    Column("host", chars(255), nullable=False),
    Column("pid", BigInteger, nullable=False),
    Column("boot", chars(64), nullable=False),
    Column("space", chars(64), nullable=False),
    Column("started", chars(32), nullable=False),
    Column("since", Double, nullable=False),
    Column("beat", BigInteger, nullable=False),
    Column("beat_at", Double, nullable=False),
    Column("lease", Double, nullable=False),
    Column("address", chars(255)),
)
"""At most one row, with the id 1: the process that may write. Its times are the database's own."""
