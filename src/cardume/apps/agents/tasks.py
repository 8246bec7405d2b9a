"""Tasks: one owner at a time, by capability and load; given back when time is up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, insert, select, tuple_, update

from cardume.apps.agents.assignment import candidate
from cardume.apps.agents.events import announce
from cardume.apps.agents.permissions import check_writer
from cardume.apps.agents.task import (
    HELD,
    PRIORITIES,
    RETURNS,
    TASK,
    Assign,
    Cancel,
    Complete,
    Fail,
    NewTask,
    Start,
    Step,
    TaskView,
    task_number,
    task_view,
)
from cardume.auth.identity import Identity, IdentityKind
from cardume.errors import Refused
from cardume.hub.hub import Hub
from cardume.hub.schedule import LeaseTimer
from cardume.storage.database import Reader, Storage, Write
from cardume.storage.tables import tasks
from cardume.wire import codes
from cardume.wire.events import TASK_EVENTS

BATCH = 500
"""Tasks whose time is up that are given back in one transaction."""

Key = tuple[int, int]
"""A task's number and version: a deadline that a later step replaced finds nothing."""


class Tasks:
    """The tasks of one database, and their events on the channel ``tasks``."""

    def __init__(self, hub: Hub, storage: Storage) -> None:
        self._storage = storage
        self._clock = hub.clock
        self._deadlines: LeaseTimer[Key] = hub.leases(self._expired, "task deadlines")

    async def arm(self) -> None:
        """At start: whoever is too late already loses the task at once."""
        now = self._clock.now()
        query = select(tasks.c.number, tasks.c.version, tasks.c.deadline).where(
            tasks.c.status.in_(HELD), tasks.c.deadline.is_not(None)
        )
        async with self._storage.read() as connection:
            for number, version, deadline in await connection.execute(query):
                self._deadlines.touch_in((number, version), deadline - now)

    # -- reading ----------------------------------------------------------------------------

    async def get(self, id: str) -> TaskView:
        """Raises `Refused`: 404."""
        async with self._storage.read() as connection:
            return task_view(await _find(connection, id))

    async def find(
        self,
        where: Sequence[ColumnElement[bool]],
        after: tuple[int, int] | None,
        limit: int,
    ) -> list[TaskView]:
        """The most urgent first, then the oldest; those behind `after` (priority, number)."""
        place = tuple_(-tasks.c.priority, tasks.c.number)
        query = select(tasks).where(*where).order_by(tasks.c.priority.desc(), tasks.c.number)
        if after is not None:
            query = query.where(place > (-after[0], after[1]))
        async with self._storage.read() as connection:
            return [task_view(row) for row in await connection.execute(query.limit(limit))]

    # -- what people and agents do ----------------------------------------------------------

    async def create(self, who: Identity, body: NewTask) -> TaskView:
        """Raises `Refused`: 403."""
        check_writer(who)
        now = self._clock.now()
        values = body.model_dump()
        values["priority"] = PRIORITIES.get(str(body.priority), body.priority)
        values.update(status="created", attempts=0, version=1)
        values.update(created_at=now, created_by=who.sub, updated_at=now)
        async with self._storage.write() as tx:
            statement = insert(tasks).values(values).returning(tasks)
            row = (await tx.execute(statement)).one()
            return _emit(tx, row, None, None)

    async def assign(self, who: Identity, id: str, body: Assign) -> TaskView:
        """Give a created task to an agent: the one named, or the best one.

        An agent that names nobody takes it itself.

        Raises:
            Refused: 404, 403, 409.
        """
        wanted = body.agent_id
        if wanted is None and who.kind is IdentityKind.AGENT:
            wanted = who.sub
        async with self._storage.write() as tx:
            row = await _find(tx, id)
            check_writer(who, wanted)
            status = TASK.after("assign", row.status)
            agent_id = await candidate(tx, row.required_capability, wanted)
            now = self._clock.now()
            return await self._move(
                tx,
                row,
                status,
                now,
                agent_id=agent_id,
                attempts=row.attempts + 1,
                assigned_at=now,
                started_at=None,
                deadline=_deadline(row, now),
            )

    async def start(self, who: Identity, id: str, body: Start) -> TaskView:
        """Raises `Refused`: 404, 403, 409."""
        async with self._storage.write() as tx:
            row = await _find(tx, id)
            check_writer(who, row.agent_id)
            _check_owner(row, body)
            status = TASK.after("start", row.status)
            now = self._clock.now()
            deadline = _deadline(row, now)
            return await self._move(tx, row, status, now, started_at=now, deadline=deadline)

    async def complete(self, who: Identity, id: str, body: Complete) -> TaskView:
        """Raises `Refused`: 404, 403, 409."""
        async with self._storage.write() as tx:
            row = await _find(tx, id)
            check_writer(who, row.agent_id)
            _check_owner(row, body)
            status = TASK.after("complete", row.status)
            return await self._move(
                tx, row, status, self._clock.now(), result=body.result, error=None
            )

    async def fail(self, who: Identity, id: str, body: Fail) -> TaskView:
        """Final, unless `retry` is asked for and there are attempts left.

        Raises:
            Refused: 404, 403, 409.
        """
        async with self._storage.write() as tx:
            row = await _find(tx, id)
            check_writer(who, row.agent_id)
            _check_owner(row, body)
            status = TASK.after("fail", row.status)
            now = self._clock.now()
            if body.retry:
                return await self._give_back(tx, row, "retry", now, body.error)
            return await self._move(tx, row, status, now, error=body.error)

    async def cancel(self, who: Identity, id: str, body: Cancel) -> TaskView:
        """Raises `Refused`: 404, 403, 409."""
        async with self._storage.write() as tx:
            row = await _find(tx, id)
            check_writer(who)
            status = TASK.after("cancel", row.status)
            return await self._move(
                tx, row, status, self._clock.now(), body.reason, error=body.reason
            )

    # -- what follows -----------------------------------------------------------------------

    async def give_back(self, tx: Write, agent_id: str, reason: str, now: float) -> None:
        """Take from an agent all that it holds, with the events, in the transaction of `tx`."""
        query = select(tasks).where(tasks.c.agent_id == agent_id, tasks.c.status.in_(HELD))
        for row in (await tx.execute(query.order_by(tasks.c.number))).all():
            await self._give_back(tx, row, reason, now)

    async def _expired(self, keys: list[Key]) -> None:
        for start in range(0, len(keys), BATCH):
            late = dict(keys[start : start + BATCH])
            async with self._storage.write() as tx:
                now = self._clock.now()
                query = select(tasks).where(tasks.c.number.in_(late), tasks.c.status.in_(HELD))
                for row in (await tx.execute(query.order_by(tasks.c.number))).all():
                    if row.version == late[row.number]:
                        await self._give_back(tx, row, "timeout", now)

    async def _give_back(
        self, tx: Write, row: Row[Any], reason: str, now: float, error: str | None = None
    ) -> TaskView:
        move = "give back" if row.attempts < row.max_attempts else "give up"
        status = RETURNS.after(move, row.status)
        free = {"agent_id": None, "assigned_at": None, "started_at": None}
        left = free if status == "created" else {}
        return await self._move(tx, row, status, now, reason, error=error or reason, **left)

    async def _move(
        self,
        tx: Write,
        row: Row[Any],
        status: str,
        now: float,
        reason: str | None = None,
        **values: Any,
    ) -> TaskView:
        """Store the step from `row` to `status`, announce it, and watch the new deadline."""
        values = {"deadline": None, **values, "status": status, "updated_at": now}
        values["version"] = row.version + 1
        if TASK.is_final(status):
            values["finished_at"] = now
        statement = update(tasks).where(tasks.c.number == row.number).values(values)
        after = (await tx.execute(statement.returning(tasks))).one()
        tx.on_commit(lambda: self._watch(row, after))
        return _emit(tx, after, row.status, reason)

    def _watch(self, before: Row[Any], after: Row[Any]) -> None:
        self._deadlines.drop((before.number, before.version))
        if after.deadline is not None:
            left = after.deadline - self._clock.now()
            self._deadlines.touch_in((after.number, after.version), left)


def _emit(tx: Write, row: Row[Any], old_status: str | None, reason: str | None) -> TaskView:
    view = task_view(row)
    data: dict[str, Any] = {**view, "old_status": old_status, "new_status": row.status}
    if reason is not None:
        data["reason"] = reason
    announce(tx, TASK_EVENTS[row.status], data)
    return view


async def _find(reader: Reader, id: str) -> Row[Any]:
    query = select(tasks).where(tasks.c.number == task_number(id))
    row = (await reader.execute(query)).one_or_none()
    if row is None:
        raise Refused(codes.NOT_FOUND, f"no task {id}")
    return row


def _check_owner(row: Row[Any], step: Step) -> None:
    """Let through who has the task, or does not say whose it is.

    Raises:
        Refused: 409, with the `agent_id` that has it and its `attempt`.
    """
    same_agent = step.agent_id in (None, row.agent_id)
    if not (same_agent and step.attempt in (None, row.attempts)):
        raise Refused(
            codes.CONFLICT,
            f"the task is {row.agent_id or 'nobody'}'s now, attempt {row.attempts}",
            agent_id=row.agent_id,
            attempt=row.attempts,
        )


def _deadline(row: Row[Any], now: float) -> float | None:
    return None if row.lease_seconds is None else now + row.lease_seconds
