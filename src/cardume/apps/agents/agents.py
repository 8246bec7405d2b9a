"""Agents: made, listed, changed, told what to do."""

from __future__ import annotations

from sqlalchemy import delete, insert

from cardume.apps.agents.agent import Action, AgentPatch, AgentStatus, AgentView, NewAgent
from cardume.apps.agents.changes import AGENTS, find, view
from cardume.apps.agents.events import announce
from cardume.apps.agents.permissions import check_writer
from cardume.apps.agents.statuses import ACTIVE, AGENT
from cardume.apps.agents.watch import Watch
from cardume.auth.identity import Identity
from cardume.documents.sequences import next_number
from cardume.storage.database import Storage
from cardume.storage.tables import agents
from cardume.wire.events import EventType


class AgentRecords:
    """All agents of one database, and their events in the room ``agents``."""

    def __init__(self, storage: Storage, watch: Watch) -> None:
        self._storage = storage
        self._watch = watch
        self._leases = watch.leases

    async def get(self, agent_id: str) -> AgentView:
        """Raises `Refused`: 404."""
        async with self._storage.read() as connection:
            return view(await find(connection, agent_id), self._leases)

    async def find(
        self, agent_type: str | None, status: AgentStatus | None, after: str, limit: int
    ) -> list[AgentView]:
        """Agents by their ids, behind `after`."""
        query = AGENTS.where(agents.c.agent_id > after)
        if agent_type is not None:
            query = query.where(agents.c.agent_type == agent_type)
        if status is not None:
            query = query.where(agents.c.status == status)
        async with self._storage.read() as connection:
            found = await connection.execute(query.order_by(agents.c.agent_id).limit(limit))
            return [view(row, self._leases) for row in found]

    async def create(self, who: Identity, body: NewAgent) -> AgentView:
        """A new agent, active. Raises `Refused`: 403."""
        check_writer(who)
        async with self._storage.write() as tx:
            changes = self._watch.changes(tx)
            number = await next_number(tx, f"agent:{body.agent_type}")
            agent_id = f"agent_{body.agent_type}_{number:03d}"
            values = {
                **body.model_dump(),
                "agent_id": agent_id,
                "status": ACTIVE,
                "version": 1,
                "created_at": changes.now,
                "created_by": who.sub,
                "updated_at": changes.now,
            }
            await tx.execute(insert(agents).values(**values))
            await changes.elect()
            made = await find(tx, agent_id)
            shown = view(made, self._leases)
            announce(tx, EventType.AGENT_CREATED, shown)
            await changes.follow(made, made)
            changes.finish()
            return shown

    async def patch(self, who: Identity, agent_id: str, body: AgentPatch) -> AgentView:
        """Members that are sent and differ; where none does, nothing happens.

        Raises:
            Refused: 403, 404, 409 for a status that does not follow.
        """
        check_writer(who, agent_id)
        sent = body.model_dump(exclude_unset=True)
        async with self._storage.write() as tx:
            changes, before = self._watch.changes(tx), await find(tx, agent_id)
            values = {name: value for name, value in sent.items() if value != before._mapping[name]}
            if not values:
                return view(before, self._leases)
            status = values.get("status", before.status)
            if status != before.status:
                AGENT.check(before.status, status)
            after = await changes.store(before, values)
            shown = view(after, self._leases)
            announce(tx, EventType.AGENT_UPDATED, shown)
            await changes.follow(before, after)
            changes.finish()
            return shown

    async def act(self, who: Identity, agent_id: str, action: Action) -> AgentView:
        """Raises `Refused`: 403, 404, 409 where the action is not legal."""
        if action == "heartbeat":
            await self._watch.heartbeat(who, agent_id)
            return await self.get(agent_id)
        check_writer(who, agent_id)
        async with self._storage.write() as tx:
            changes, before = self._watch.changes(tx), await find(tx, agent_id)
            after = await changes.move(before, AGENT.after(action, before.status))
            result = {"status": after.status, "version": after.version}
            done = {"agent_id": agent_id, "action": action, "result": result}
            announce(tx, EventType.AGENT_ACTION, done)
            await changes.follow(before, after)
            changes.finish()
            return view(after, self._leases)

    async def delete(self, who: Identity, agent_id: str) -> None:
        """Its id is never given again. Raises `Refused`: 403, 404."""
        check_writer(who, agent_id)
        async with self._storage.write() as tx:
            changes = self._watch.changes(tx)
            await find(tx, agent_id)
            await tx.execute(delete(agents).where(agents.c.agent_id == agent_id))
            announce(tx, EventType.AGENT_DELETED, {"agent_id": agent_id})
            await changes.give_back(agent_id, "agent_deleted")
            await changes.elect()
            changes.finish()
            tx.on_commit(lambda: self._leases.forget(agent_id))
