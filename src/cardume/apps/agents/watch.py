"""Hearing agents, and noticing their silence."""

from __future__ import annotations

import logging

from sqlalchemy import select, update

from cardume.apps.agents.agent import Renewed
from cardume.apps.agents.changes import AGENTS, Changes, find, unknown
from cardume.apps.agents.election import Election
from cardume.apps.agents.leases import BATCH, AgentLeases
from cardume.apps.agents.permissions import check_speaks_for
from cardume.apps.agents.statuses import AGENT, INACTIVE, LEASED, STOPPED
from cardume.apps.agents.task import HELD
from cardume.apps.agents.tasks import Tasks
from cardume.auth.identity import Identity, IdentityKind
from cardume.errors import Refused, Unavailable
from cardume.hub.hub import Hub
from cardume.storage.database import Storage, Write
from cardume.storage.tables import agents, tasks
from cardume.wire.messages import stamp

logger = logging.getLogger("cardume.agents")


class Watch:
    """Heartbeats, and what comes of their absence."""

    def __init__(
        self, hub: Hub, storage: Storage, election: Election, tasks: Tasks, lease: float
    ) -> None:
        self.leases = AgentLeases(hub, storage, lease, self._lapsed)
        self._hub = hub
        self._storage = storage
        self._election = election
        self._tasks = tasks
        self._waking: set[str] = set()

    def changes(self, tx: Write) -> Changes:
        """What a transaction is about to change."""
        return Changes(tx, self._hub.clock.now(), self.leases, self._election, self._tasks)

    # -- hearing ----------------------------------------------------------------------------

    async def heartbeat(self, who: Identity, agent_id: str) -> Renewed:
        """Renew the lease; the first one begins it, and an agent that lapsed is active again.

        Raises:
            Refused: 403, 404, 409 for an agent that was stopped.
        """
        held = self.leases.get(agent_id)
        if held is None:
            raise unknown(agent_id)
        check_speaks_for(who, agent_id, held.created_by)
        if not self.leases.renew(agent_id):
            return await self._begin(agent_id)
        expires_at = stamp(self._hub.clock.now() + held.seconds)
        return {"agent_id": agent_id, "status": held.status, "lease_expires_at": expires_at}

    def spoke(self, identity: Identity) -> None:
        """A connection said something: an agent's own renews its lease."""
        agent_id = identity.sub
        if identity.kind is not IdentityKind.AGENT or self.leases.renew(agent_id):
            return
        held = self.leases.get(agent_id)
        if held is None or held.status == STOPPED or agent_id in self._waking:
            return
        self._waking.add(agent_id)
        self._hub.tasks.spawn(self._wake(agent_id), "agent speaks")

    async def _wake(self, agent_id: str) -> None:
        try:
            await self._begin(agent_id)
        except (Refused, Unavailable) as error:  # it will speak again
            logger.debug("%s spoke in vain: %s", ascii(agent_id), error)
        finally:
            self._waking.discard(agent_id)

    async def _begin(self, agent_id: str) -> Renewed:
        async with self._storage.write() as tx:
            changes, before = self.changes(tx), await find(tx, agent_id)
            status = AGENT.after("heartbeat", before.status)
            heard = update(agents).where(agents.c.agent_id == agent_id)
            await tx.execute(heard.values(heartbeat_at=changes.now))
            after = await changes.move(before, status)
            await changes.follow(before, after, heard=True)
            changes.finish()
            expires_at = stamp(self.leases.expires_at(after, heard=True))
            return {"agent_id": agent_id, "status": status, "lease_expires_at": expires_at}

    # -- silence ----------------------------------------------------------------------------

    async def _lapsed(self, agent_ids: list[str]) -> None:
        for start in range(0, len(agent_ids), BATCH):
            batch = agent_ids[start : start + BATCH]
            try:
                await self._give_up(batch)
            finally:
                self.leases.let_go(batch)

    async def _give_up(self, agent_ids: list[str]) -> None:
        """Those of them that are silent still become inactive."""
        async with self._storage.write() as tx:
            changes, due = self.changes(tx), self.leases.take_due(agent_ids)
            if not due:
                return
            silent = agents.c.agent_id.in_(due) & agents.c.status.in_(LEASED)
            befores = {row.agent_id: row for row in await tx.execute(AGENTS.where(silent))}
            lapse = {"version": agents.c.version + 1, "updated_at": changes.now}
            await tx.execute(update(agents).where(silent).values(status=INACTIVE, **lapse))
            await changes.elect()
            lapsed = AGENTS.where(agents.c.agent_id.in_(befores))
            afters = {row.agent_id: row for row in await tx.execute(lapsed)}
            # Asked once: most of a crowd has no tasks, and asking each takes nine tenths of it all.
            holding = select(tasks.c.agent_id).where(
                tasks.c.agent_id.in_(due), tasks.c.status.in_(HELD)
            )
            busy = {row.agent_id for row in await tx.execute(holding)}
            for agent_id in due:  # in the order of their deadlines
                if agent_id in afters:
                    before, after = befores[agent_id], afters[agent_id]
                    await changes.follow(before, after, busy=agent_id in busy)
            changes.finish()
