"""Statements that databases spell differently."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, TypeVar

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    ColumnElement,
    Dialect,
    Insert,
    String,
    Table,
    Text,
    bindparam,
    func,
    literal,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

Spellings = Mapping[str, Insert]
"""An insert by the name of the dialect; `Write` takes the one it needs."""

_Upsert = TypeVar("_Upsert", sqlite.Insert, postgresql.Insert)


def insert_new(table: Table) -> Spellings:
    """Insert rows, and leave out those that a unique index knows already."""
    return {
        "sqlite": sqlite.insert(table).on_conflict_do_nothing(),
        "postgresql": postgresql.insert(table).on_conflict_do_nothing(),
    }


def insert_or_replace(table: Table) -> Spellings:
    """Insert a row, or put it in place of the one with the same primary key."""
    return {
        "sqlite": _replacing(sqlite.insert(table), table),
        "postgresql": _replacing(postgresql.insert(table), table),
    }


def _replacing(statement: _Upsert, table: Table) -> _Upsert:
    keys = [column.name for column in table.primary_key]
    values = {c.name: statement.excluded[c.name] for c in table.columns if c.name not in keys}
    return statement.on_conflict_do_update(index_elements=keys, set_=values)


@lru_cache(maxsize=32)
def driver_sql(statement: Insert, dialect: Dialect) -> str:
    """An insert as the driver takes it: one parameter for each column, in the table's order."""
    return str(statement.compile(dialect=dialect))


@lru_cache(maxsize=32)
def arrays_sql(statement: Insert, dialect: Dialect) -> str:
    """An insert of many rows as PostgreSQL's driver takes it: for each column an array."""
    columns = list(statement.table.c)
    # A cast to VARCHAR(n) would cut what is longer, and say nothing.
    types = [Text() if isinstance(column.type, String) else column.type for column in columns]
    arrays = [
        bindparam(column.name, type_=ARRAY(type))
        for column, type in zip(columns, types, strict=True)
    ]
    names = [column.name for column in columns]
    source = func.unnest(*arrays).table_valued(*names, name="new").render_derived()
    return str(statement.from_select(names, select(source)).compile(dialect=dialect))


class array_holds(FunctionElement[bool]):  # noqa: N801 - reads as the function that it is
    """Whether a JSON array has this text among its elements."""

    type = Boolean()
    inherit_cache = True

    def __init__(self, array: ColumnElement[Any], text: str) -> None:
        super().__init__(array, literal(text, Text))


@compiles(array_holds, "sqlite")
def _on_sqlite(element: array_holds, compiler: SQLCompiler, **how: Any) -> str:
    array, text = (compiler.process(clause, **how) for clause in element.clauses)
    return f"EXISTS (SELECT 1 FROM json_each({array}) AS held WHERE held.value = {text})"


@compiles(array_holds, "postgresql")
def _on_postgresql(element: array_holds, compiler: SQLCompiler, **how: Any) -> str:
    array, text = (compiler.process(clause, **how) for clause in element.clauses)
    held = f"json_array_elements_text({array}) AS held(value)"
    return f"EXISTS (SELECT 1 FROM {held} WHERE held.value = {text})"


class whole(FunctionElement[int]):  # noqa: N801
    """A number without its fraction. A bare CAST cuts on SQLite and rounds on PostgreSQL."""

    type = BigInteger()
    inherit_cache = True

    def __init__(self, number: ColumnElement[Any]) -> None:
        super().__init__(number)


@compiles(whole, "sqlite")
def _cut_by_cast(element: whole, compiler: SQLCompiler, **how: Any) -> str:
    return f"CAST({compiler.process(element.clauses, **how)} AS INTEGER)"


@compiles(whole, "postgresql")
def _cut_first(element: whole, compiler: SQLCompiler, **how: Any) -> str:
    return f"CAST(trunc({compiler.process(element.clauses, **how)}) AS BIGINT)"
