"""The agents app: what it declares on a hub, and what it is made of."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends

from cardume.apps.agents.agent import Heartbeat, Renewed
from cardume.apps.agents.agents import AgentRecords
from cardume.apps.agents.consensus import Consensus
from cardume.apps.agents.coordination import CoordinationView, read_coordination
from cardume.apps.agents.election import Election
from cardume.apps.agents.leases import STORE_EVERY
from cardume.apps.agents.tasks import Tasks
from cardume.apps.agents.watch import Watch
from cardume.auth.identity import Identity
from cardume.errors import Unavailable
from cardume.hub.hub import Hub
from cardume.storage.database import Storage
from cardume.transports.apps import current

logger = logging.getLogger("cardume.agents")


@dataclass(frozen=True, slots=True)
class AgentsOptions:
    """`lease` in seconds: of agents that ask for no other."""

    lease: float = 30.0


class Agents:
    """Agents, their tasks, their leader and their votes on one hub and one database.

    `cardume.apps.agents.http.router` gives it addresses and starts it with your application. What
    happens is said in the rooms `agents`, `tasks` and `coordination`, which the hub has to know.
    """

    def __init__(self, hub: Hub, storage: Storage, options: AgentsOptions | None = None) -> None:
        self.hub = hub
        self.storage = storage
        self.options = options or AgentsOptions()
        self.tasks = Tasks(hub, storage)
        self.consensus = Consensus(hub, storage)
        self.election = Election(storage, hub.clock)
        self.watch = Watch(hub, storage, self.election, self.tasks, self.options.lease)
        self.agents = AgentRecords(storage, self.watch)
        self._declare()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Started: leases whole, deadlines armed, somebody leads."""
        async with self.storage, self.hub:
            await self.watch.leases.load()
            await self.tasks.arm()
            await self.consensus.arm()
            await self._lead()
            storing = self.hub.tasks.every(STORE_EVERY, self.watch.leases.store, "heartbeats")
            try:
                yield
            finally:
                await self.hub.tasks.cancel(storing)
                self.watch.leases.stop()
                await self._store_last()

    async def coordination(self) -> CoordinationView:
        """Counts, leader, term."""
        async with self.storage.read() as connection:
            return await read_coordination(connection)

    async def _lead(self) -> None:
        """Elect where an older life left active agents without a leader."""
        async with self.storage.write() as tx:
            self.election.announce(tx, await self.election.follow(tx, self.hub.clock.now()))

    async def _store_last(self) -> None:
        try:
            await self.watch.leases.store()
        except Unavailable as error:
            logger.warning("the last heartbeats were not stored: %s", error)

    def _declare(self) -> None:
        self.hub.on_speech(self.watch.spoke)

        @self.hub.action("heartbeat")
        async def heartbeat(identity: Identity, body: Heartbeat) -> Renewed:
            return await self.watch.heartbeat(identity, body.agent_id)


CurrentAgents = Annotated[Agents, Depends(current(Agents))]
