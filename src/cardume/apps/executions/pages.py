"""What readers are given of an execution: pages of its log, and the state to begin with."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw
from sqlalchemy import Row

from cardume.apps.executions import store
from cardume.apps.executions.log import Lines, read
from cardume.apps.executions.views import ExecutionView, view
from cardume.storage.database import Storage

PAGE_BYTES = 1024 * 1024
"""Bytes of lines on a page at most, however many were asked for."""
SNAPSHOT_LINES = 500
SNAPSHOT_BYTES = 256 * 1024
"""Of an outbox of 1 MiB: what comes live has to fit beside it."""


class LogPage(msgspec.Struct, frozen=True):
    """Lines, the oldest first. `next` goes into ``?after=``, `previous` into ``?before=``.

    Null says that there are no more. `status` is older than the lines: where it is final and
    `next` is null, this is the end of the log.
    """

    lines: Raw
    first_seq: int
    last_seq: int
    previous: int | None
    next: int | None
    status: str


class Snapshot(msgspec.Struct, frozen=True):
    """The execution and its last lines, with the `seq` of the first and the last of those."""

    execution: ExecutionView
    lines: Raw
    first_seq: int
    last_seq: int


class Pages:
    """Reads what `Log` wrote."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    async def after(self, execution_id: str, seq: int, limit: int) -> LogPage:
        """The lines that follow `seq`. Raises `Refused`: 404."""
        async with self._storage.read() as connection:
            row = await store.find(connection, execution_id)
            start = max(seq + 1, row.first_seq)
            stop = min(start + limit, row.last_seq + 1)
            if start >= stop:
                return _page(row, Lines(Raw(b"[]"), row.last_seq + 1, row.last_seq))
            return _page(row, await read(connection, row.number, start, stop, PAGE_BYTES))

    async def before(self, execution_id: str, seq: int, limit: int) -> LogPage:
        """The lines that precede `seq`. Raises `Refused`: 404."""
        async with self._storage.read() as connection:
            row = await store.find(connection, execution_id)
            stop = min(seq, row.last_seq + 1)
            start = max(stop - limit, row.first_seq)
            if start >= stop:
                return _page(row, Lines(Raw(b"[]"), row.first_seq, row.first_seq - 1))
            lines = await read(connection, row.number, start, stop, PAGE_BYTES, newest=True)
            return _page(row, lines)

    async def snapshot(self, execution_id: str) -> Snapshot:
        """What a fresh subscriber is told. Raises `Refused`: 404."""
        async with self._storage.read() as connection:
            row = await store.find(connection, execution_id)
            stop = row.last_seq + 1
            start = max(stop - SNAPSHOT_LINES, row.first_seq)
            lines = await read(connection, row.number, start, stop, SNAPSHOT_BYTES, newest=True)
        return Snapshot(view(row), lines.lines, lines.first_seq, lines.last_seq)


def _page(row: Row[Any], lines: Lines) -> LogPage:
    return LogPage(
        lines.lines,
        lines.first_seq,
        lines.last_seq,
        previous=lines.first_seq if lines.first_seq > row.first_seq else None,
        next=lines.last_seq if lines.last_seq < row.last_seq else None,
        status=row.status,
    )
