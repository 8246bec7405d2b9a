"""Statements that databases spell differently."""

from __future__ import annotations

from functools import lru_cache

from sqlalchemy import Dialect, Insert, Table
from sqlalchemy.dialects.sqlite import insert as sqlite_insert


def insert_new(table: Table) -> Insert:
    """Insert rows, and leave out those that a unique index knows already."""
    return sqlite_insert(table).on_conflict_do_nothing()


@lru_cache(maxsize=32)
def driver_sql(statement: Insert, dialect: Dialect) -> str:
    """An insert as the driver takes it: one parameter for each column, in the table's order."""
    return str(statement.compile(dialect=dialect))


def insert_or_replace(table: Table) -> Insert:
    """Insert a row, or put it in place of the one with the same primary key."""
    statement = sqlite_insert(table)
    keys = [column.name for column in table.primary_key]
    values = {c.name: statement.excluded[c.name] for c in table.columns if c.name not in keys}
    return statement.on_conflict_do_update(index_elements=keys, set_=values)
