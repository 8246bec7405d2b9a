"""What runners and viewers do to an execution: the functions behind HTTP calls and actions."""

from __future__ import annotations

import secrets
from typing import Annotated, Any

from pydantic import AfterValidator, AliasChoices, Field
from sqlalchemy import Row, delete, insert

from cardume.apps.executions import store
from cardume.apps.executions.lives import Lives, Runner
from cardume.apps.executions.log import drop_oldest
from cardume.apps.executions.views import (
    EXECUTION,
    LOST,
    RUNNING,
    BegunView,
    ExecutionView,
    channel_of,
    refuse_ended,
    view,
)
from cardume.auth.identity import Identity
from cardume.auth.secrets import hash_key, new_key
from cardume.errors import Refused
from cardume.hub.hub import Hub
from cardume.storage.database import Storage, Write
from cardume.storage.tables import executions
from cardume.transports.bodies import Body, Name, Number
from cardume.wire import codes

ExitCode = Annotated[int, Field(strict=True, ge=-(2**31), lt=2**31)]
Message = Annotated[str | None, Field(max_length=4000)]
Amount = Annotated[Number, Field(ge=0)]


def _not_zero(exit_code: int) -> int:
    if exit_code == 0:
        raise ValueError("0 is no failure; leave it out and say in the message what went wrong")
    return exit_code


class NewExecution(Body):
    name: Name
    command: str | None = Field(None, max_length=16_384)
    card_id: str | None = Field(None, min_length=1, max_length=64)


class ProgressReport(Body):
    done: Amount
    total: Amount
    message: Message = None


class Completion(Body):
    """Without an `exit_code` it is 0; another one may be success, too, as of `grep`."""

    exit_code: ExitCode | None = None


class Failure(Body):
    exit_code: Annotated[ExitCode, AfterValidator(_not_zero)] | None = None
    message: Message = None


class CancelAction(Body):
    """As a WebSocket action, which has no path to name the execution."""

    execution_id: str = Field(validation_alias=AliasChoices("execution_id", "id"))


class Reports:
    """Begin, report progress, end, cancel, delete."""

    def __init__(self, hub: Hub, storage: Storage, lives: Lives) -> None:
        self._hub = hub
        self._storage = storage
        self._lives = lives

    async def begin(self, who: Identity, body: NewExecution) -> BegunView:
        """Announce an execution; `who` and whoever has its key may report about it from now on."""
        key = new_key()
        values = {
            **body.model_dump(),
            "execution_id": secrets.token_hex(8),
            "status": RUNNING,
            "first_seq": 1,
            "last_seq": 0,
            "log_bytes": 0,
            "version": 1,
            "created_by": who.sub,
            "key_hash": hash_key(key),
            "started_at": self._hub.clock.now(),
        }
        async with self._storage.write() as tx:
            query = insert(executions).values(**values).returning(executions)
            row = (await tx.execute(query)).one()
            runner = Runner(row.created_by, row.key_hash)
            tx.on_commit(lambda: self._lives.begin(row.execution_id, runner))
            return {**_announce(tx, "execution_started", row), "runner_key": key}

    async def progress(
        self, who: Identity, execution_id: str, body: ProgressReport
    ) -> ExecutionView:
        """How far it is. Raises `Refused`: 404, 403, 409 once it has ended."""
        self._lives.hear(who, execution_id)
        async with self._storage.write() as tx:
            row = await store.find(tx, execution_id)
            store.check_writer(who, row)
            if row.status != RUNNING:
                refuse_ended(row, "and makes no progress")
            progress = body.model_dump()
            if progress == row.progress:
                return view(row)
            row = await store.change(tx, row.number, progress=progress, version=row.version + 1)
            return _announce(tx, "progress", row, key="progress")

    async def complete(self, who: Identity, execution_id: str, body: Completion) -> ExecutionView:
        """It did what it should. Raises `Refused`: 404, 403, 409 for another end."""
        code = body.exit_code
        return await self._end(who, execution_id, "complete", said=code, exit_code=code or 0)

    async def fail(self, who: Identity, execution_id: str, body: Failure) -> ExecutionView:
        """It did not. Raises `Refused`: 404, 403, 409 for another end."""
        how = {"reason": "failed", **body.model_dump()}
        return await self._end(who, execution_id, "fail", said=body.exit_code, **how)

    async def cancel(self, who: Identity, execution_id: str) -> ExecutionView:
        """Its runner ends the command when it hears of it, at its next call.

        Raises `Refused`: 404, 403, 409 for another end.
        """
        return await self._end(who, execution_id, "cancel")

    async def lose(self, execution_ids: list[str]) -> None:
        """Fail those whose runner is still silent: one that spoke meanwhile has moved on."""
        async with self._storage.write() as tx:
            for execution_id in execution_ids:
                if self._lives.is_silent(execution_id):
                    await self._lose(tx, execution_id)

    async def delete(self, who: Identity, execution_id: str) -> None:
        """An execution that has ended, with its log; its viewers are sent away.

        Raises `Refused`: 404, 403, 409 while it is running.
        """
        while True:
            async with self._storage.write() as tx:
                row = await store.find(tx, execution_id)
                if who.sub != row.created_by and not who.is_admin:
                    raise Refused(
                        codes.PERMISSION_DENIED, "its creator and admins delete it, nobody else"
                    )
                if row.status == RUNNING:
                    EXECUTION.refuse("cannot be deleted", row.status)
                # A long log goes bit by bit, so that no other writer waits for it.
                row = await drop_oldest(tx, row, row.log_bytes)
                if row.log_bytes == 0:
                    await tx.execute(delete(executions).where(executions.c.number == row.number))
                    tx.on_commit(lambda: self._deleted(execution_id))
                    return

    async def _end(
        self,
        who: Identity,
        execution_id: str,
        move: str,
        *,
        said: int | None = None,
        **how: Any,
    ) -> ExecutionView:
        """`said` is the exit code that the report names, `how` what is kept of it."""
        self._lives.hear(who, execution_id)
        async with self._storage.write() as tx:
            row = await store.find(tx, execution_id)
            store.check_writer(who, row)
            status = EXECUTION.moves[move][RUNNING]
            same = row.status == status and row.reason != LOST
            if same and said in (None, row.exit_code):
                return view(row)  # again: its answer was lost
            if row.status != RUNNING:
                refuse_ended(row, f"{_with_code(row)}and ends in no other way")
            return await self._ended(tx, row, status, **how)

    async def _lose(self, tx: Write, execution_id: str) -> None:
        try:
            row = await store.find(tx, execution_id)
        except Refused:
            return
        if row.status == RUNNING:
            message = "its runner fell silent"
            await self._ended(tx, row, "failed", reason=LOST, message=message)

    async def _ended(self, tx: Write, row: Row[Any], status: str, **how: Any) -> ExecutionView:
        how.update(status=status, finished_at=self._hub.clock.now(), version=row.version + 1)
        row = await store.change(tx, row.number, **how)
        tx.on_commit(lambda: self._lives.end(row.execution_id))
        return _announce(tx, f"execution_{status}", row)

    def _deleted(self, execution_id: str) -> None:
        self._lives.end(execution_id)
        self._hub.close_channel(channel_of(execution_id), codes.NOT_AVAILABLE_CLOSE)


def _with_code(row: Row[Any]) -> str:
    return "" if row.exit_code is None else f"with exit code {row.exit_code} "


def _announce(tx: Write, type: str, row: Row[Any], key: str | None = None) -> ExecutionView:
    shown = view(row)
    tx.emit(channel_of(row.execution_id), type, shown, key=key, source=row.created_by)
    return shown
