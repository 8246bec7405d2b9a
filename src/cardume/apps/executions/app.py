"""The executions app: what it declares on a hub, and what it is made of."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from sqlalchemy import select

from cardume.apps.executions import store
from cardume.apps.executions.lives import Lives, Runner
from cardume.apps.executions.log import Log
from cardume.apps.executions.pages import Pages
from cardume.apps.executions.reports import CancelAction, Reports
from cardume.apps.executions.views import RUNNING, ExecutionView
from cardume.auth.identity import Identity
from cardume.storage.database import Storage
from cardume.storage.tables import executions
from cardume.transports.apps import current
from cardume.transports.fastapi import Hub

HISTORY_BYTES = 512 * 1024
"""Bytes of publications kept to resume from: a replay is half an outbox at most."""


@dataclass(frozen=True, slots=True)
class ExecutionsOptions:
    """`lease` in seconds; `keep_bytes` of encoded lines for each execution."""

    lease: float = 60.0
    keep_bytes: int = 256 * 1024 * 1024


class Executions:
    """Commands that run elsewhere, their logs and their ends, on one hub and one database.

    `cardume.apps.executions.http.router` gives it addresses and starts it with your application.
    """

    def __init__(
        self, hub: Hub, storage: Storage, options: ExecutionsOptions | None = None
    ) -> None:
        self.hub = hub
        self.storage = storage
        self.options = options or ExecutionsOptions()
        self.lives = Lives(hub, self.options.lease, self._silent)
        self.log = Log(storage, self.lives, self.options.keep_bytes)
        self.pages = Pages(storage)
        self.reports = Reports(hub, storage, self.lives)
        self._declare()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Started: every execution that runs has a whole lease, for it was us who were away."""
        async with self.storage, self.hub:
            columns = executions.c
            query = select(columns.execution_id, columns.created_by, columns.key_hash)
            async with self.storage.read() as connection:
                found = await connection.execute(query.where(columns.status == RUNNING))
                for execution_id, created_by, key_hash in found:
                    self.lives.begin(execution_id, Runner(created_by, key_hash))
            try:
                yield
            finally:
                self.lives.stop()

    async def _silent(self, execution_ids: list[str]) -> None:
        await self.reports.lose(execution_ids)

    def _declare(self) -> None:
        @self.hub.channel(
            "execution:{execution_id}",
            path="/ws/execution/{execution_id}",
            history=1000,
            history_ttl=3600.0,
            history_bytes=HISTORY_BYTES,
            snapshot=self.pages.snapshot,
        )
        async def execution(execution_id: str, identity: Identity) -> None:
            # Anybody who is somebody; but one that was deleted has its history for a while.
            async with self.storage.read() as connection:
                await store.find(connection, execution_id)

        @self.hub.action("cancel_execution")
        async def cancel_execution(identity: Identity, body: CancelAction) -> ExecutionView:
            return await self.reports.cancel(identity, body.execution_id)


CurrentExecutions = Annotated[Executions, Depends(current(Executions))]
