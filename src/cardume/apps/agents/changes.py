"""One transaction that changes agents, and what follows from it.

Whatever moves an agent's status does at once what follows: tasks go back, a leader that left is
replaced, and the events say so in that order.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Row, select, update

from cardume.apps.agents.agent import AgentView, agent_view
from cardume.apps.agents.election import LEADER, Election, Term
from cardume.apps.agents.events import announce
from cardume.apps.agents.leases import AgentLeases
from cardume.apps.agents.statuses import GIVES_BACK, INACTIVE, STOPPED
from cardume.apps.agents.tasks import Tasks
from cardume.errors import Refused
from cardume.storage.database import Reader, Write
from cardume.storage.tables import agents
from cardume.wire import codes
from cardume.wire.events import EventType

AGENTS: Final = select(agents, LEADER.label("leader_id"))
"""Agents, each with who leads: one statement, so that both are of the same commit."""

_WHY = {INACTIVE: "agent_lapsed", STOPPED: "agent_stopped"}
"""Why tasks go back, by the status of whoever had them."""


class Changes:
    """An open transaction of this app. `now` is read in it, so that times rise with commits."""

    def __init__(
        self, tx: Write, now: float, leases: AgentLeases, election: Election, tasks: Tasks
    ) -> None:
        self.tx = tx
        self.now = now
        self._leases = leases
        self._election = election
        self._tasks = tasks
        self._term: Term | None = None
        """The one that began here, if any."""

    async def store(self, before: Row[Any], values: dict[str, Any]) -> Row[Any]:
        """Change an agent; what it is then. `follow` says so."""
        changed = {**values, "version": before.version + 1, "updated_at": self.now}
        same = agents.c.agent_id == before.agent_id
        await self.tx.execute(update(agents).where(same).values(**changed))
        if values.get("status", before.status) != before.status:
            await self.elect()
        return await find(self.tx, before.agent_id)

    async def move(self, before: Row[Any], status: str) -> Row[Any]:
        """As `store`; nothing where the agent has that status."""
        if status == before.status:
            return await find(self.tx, before.agent_id)
        return await self.store(before, {"status": status})

    async def elect(self) -> None:
        """Hold an election if one is due. Before the events, for agents show who leads."""
        self._term = await self._election.follow(self.tx, self.now) or self._term

    async def follow(
        self, before: Row[Any], after: Row[Any], *, heard: bool = False, busy: bool = True
    ) -> None:
        """Announce a new status, and settle tasks and lease.

        `heard`: it sent a heartbeat. Not `busy`: it is known to have no tasks.
        """
        if after.status != before.status:
            moved = {
                "agent_id": after.agent_id,
                "old_status": before.status,
                "new_status": after.status,
                "version": after.version,
            }
            announce(self.tx, EventType.AGENT_STATUS_CHANGED, moved)
            if busy and after.status in GIVES_BACK:
                await self.give_back(after.agent_id, _WHY[after.status])
        self.tx.on_commit(lambda: self._leases.follow(after, heard=heard))

    async def give_back(self, agent_id: str, reason: str) -> None:
        """Whatever the agent has to do is somebody else's now."""
        await self._tasks.give_back(self.tx, agent_id, reason, self.now)

    def finish(self) -> None:
        """Say who leads, where that is news: last of all."""
        self._election.announce(self.tx, self._term)


async def find(reader: Reader, agent_id: str) -> Row[Any]:
    """An agent's row. Raises `Refused`: 404."""
    row = (await reader.execute(AGENTS.where(agents.c.agent_id == agent_id))).first()
    if row is None:
        raise unknown(agent_id)
    return row


def unknown(agent_id: str) -> Refused:
    """What whoever asks for it is told."""
    return Refused(codes.NOT_FOUND, f"no agent {agent_id!a}")


def view(row: Row[Any], leases: AgentLeases) -> AgentView:
    """An agent as it is stored, and as its lease stands."""
    return agent_view(row, leases.seconds(row), leases.heartbeat_at(row), leases.expires_at(row))
