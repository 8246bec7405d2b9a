"""The log of an execution: appended in batches, bounded, read from either end.

Lines are encoded when they come in; live viewers, pages and snapshots are sent those bytes. No
line is kept in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Raw
from sqlalchemy import Row, delete, func, insert, select
from typing_extensions import TypedDict

from cardume.apps.executions import batch, store
from cardume.apps.executions.batch import Batch
from cardume.apps.executions.lives import Lives
from cardume.apps.executions.views import RUNNING, channel_of, refuse_ended
from cardume.auth.identity import Identity
from cardume.storage.database import Reader, Storage, Write
from cardume.storage.tables import execution_logs

PUBLICATION = 128 * 1024
"""Bytes of lines in an event, and in a stored row."""
TRANSACTION = 256 * 1024
"""Bytes of lines that are announced in one go. An outbox has 1 MiB: between two transactions
connections write what they were given, so that one large request cuts nobody who keeps up."""
ROWS_DROPPED = 500
"""Rows that one transaction drops at most; others want to write, too."""

_COLUMNS = execution_logs.c


class Appended(TypedDict):
    """The answer to a batch."""

    last_seq: int
    status: str


class Lines(msgspec.Struct, frozen=True):
    """Consecutive lines, encoded. Without any, `first_seq` is one more than `last_seq`."""

    lines: Raw
    first_seq: int
    last_seq: int


class Log:
    """The logs of all executions, as their runners write them."""

    def __init__(self, storage: Storage, lives: Lives, keep_bytes: int) -> None:
        self._storage = storage
        self._lives = lives
        self._keep_bytes = keep_bytes

    async def append(self, who: Identity, execution_id: str, lines: Batch) -> Appended:
        """Keep and announce what is new of `lines`; none at all renew the lease.

        A large batch takes several transactions. One that fails leaves those before it kept:
        send the batch again.

        Raises:
            Refused: 404, 403, 409 with `expected` after a gap (then nothing is kept), 409 with
                `state` once it has ended.
        """
        self._lives.hear(who, execution_id)
        while True:
            async with self._storage.write() as tx:
                row = await store.find(tx, execution_id)
                store.check_writer(who, row)
                if row.status != RUNNING:
                    refuse_ended(row, "and takes no more lines")
                new = lines.after(row.last_seq)
                part = batch.chunks(new, TRANSACTION)[0] if new else new
                if part:
                    await self._keep(tx, row, part)
            if len(part) == len(new):
                return {"last_seq": row.last_seq + len(part), "status": row.status}

    async def _keep(self, tx: Write, row: Row[Any], lines: Sequence[bytes]) -> None:
        last_seq, size = row.last_seq, row.log_bytes
        rows: list[tuple[Any, ...]] = []
        for run in batch.chunks(lines, PUBLICATION):
            first_seq, last_seq = last_seq + 1, last_seq + len(run)
            encoded = batch.array(run)
            rows.append((row.number, last_seq, first_seq, encoded))
            size += len(encoded)
            event = Lines(Raw(encoded), first_seq, last_seq)
            tx.emit(channel_of(row.execution_id), "log", event)
        await tx.execute_rows(insert(execution_logs), rows)
        row = await store.change(tx, row.number, last_seq=last_seq, log_bytes=size)
        if size > self._keep_bytes:
            await drop_oldest(tx, row, size - self._keep_bytes)


async def drop_oldest(tx: Write, row: Row[Any], excess: int) -> Row[Any]:
    """Forget at least `excess` bytes of the oldest lines, or `ROWS_DROPPED` rows; the execution."""
    query = select(_COLUMNS.last_seq, func.length(_COLUMNS.lines))
    query = query.where(_COLUMNS.execution == row.number)
    oldest = await tx.execute(query.order_by(_COLUMNS.last_seq).limit(ROWS_DROPPED))
    dropped, last_dropped = 0, row.first_seq - 1
    for last_seq, size in map(tuple, oldest):
        dropped, last_dropped = dropped + size, last_seq
        if dropped >= excess:
            break
    where = (_COLUMNS.execution == row.number, _COLUMNS.last_seq <= last_dropped)
    await tx.execute(delete(execution_logs).where(*where))
    return await store.change(
        tx, row.number, first_seq=last_dropped + 1, log_bytes=row.log_bytes - dropped
    )


async def read(
    reader: Reader, number: int, start: int, stop: int, most: int, *, newest: bool = False
) -> Lines:
    """Lines from `start` up to, not including, `stop`, of rows with `most` bytes between them.

    What is too much is left out at the end, or with `newest` at the beginning; one row is never
    too much. What was dropped meanwhile is missing at the beginning.
    """
    # The key bounds the scan: no row holds more lines than a request.
    where = [_COLUMNS.execution == number, _COLUMNS.last_seq >= start]
    where += [_COLUMNS.last_seq < stop + batch.MAX_LINES, _COLUMNS.first_seq < stop]
    sizes = select(_COLUMNS.last_seq, func.length(_COLUMNS.lines)).where(*where)
    order = _COLUMNS.last_seq.desc() if newest else _COLUMNS.last_seq
    chosen = _that_fit([tuple(row) for row in await reader.execute(sizes.order_by(order))], most)
    if not chosen:
        return Lines(Raw(b"[]"), start, start - 1)
    rows = select(_COLUMNS.first_seq, _COLUMNS.last_seq, _COLUMNS.lines).where(
        _COLUMNS.execution == number, _COLUMNS.last_seq.between(min(chosen), max(chosen))
    )
    found = await reader.execute(rows.order_by(_COLUMNS.last_seq))
    return _joined([tuple(row) for row in found], start, stop)


def _that_fit(sizes: Iterable[tuple[Any, ...]], most: int) -> list[int]:
    chosen: list[int] = []
    total = 0
    for last_seq, size in sizes:
        total += size
        if chosen and total > most:
            break
        chosen.append(last_seq)
    return chosen


def _joined(rows: Iterable[tuple[Any, ...]], start: int, stop: int) -> Lines:
    """The lines of `rows` from `start` to `stop` as one array; whole rows are not decoded."""
    parts: list[bytes] = []
    seqs: list[int] = []
    for first, last, encoded in rows:
        since, until = max(first, start), min(last, stop - 1)
        whole = (since, until) == (first, last)
        lines = batch.split(encoded)[since - first : until - first + 1] if not whole else None
        parts.append(encoded[1:-1] if lines is None else b",".join(lines))
        seqs += (since, until)
    if not parts:
        return Lines(Raw(b"[]"), start, start - 1)
    return Lines(Raw(batch.array(parts)), seqs[0], seqs[-1])
