"""Column types that mean the same on every database; for tables and for migrations."""

from __future__ import annotations

from sqlalchemy import BigInteger, Integer, String

Number = BigInteger().with_variant(Integer, "sqlite")
"""A whole number of 64 bits. INTEGER is that on SQLite, and as a key its own row id; a BIGINT key
would be an index of its own."""


def chars(length: int) -> String:
    """Text of at most `length` characters, ordered by its bytes.

    PostgreSQL orders by the words of a language otherwise, and whose that is depends on where the
    database was made.
    """
    return String(length).with_variant(String(length, collation="C"), "postgresql")
