"""How many agents and tasks there are in which status, who leads, what is open: one look."""

from __future__ import annotations

from sqlalchemy import func, literal, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection
from typing_extensions import TypedDict

from cardume.apps.agents.statuses import AGENT
from cardume.apps.agents.task import TASK
from cardume.storage.tables import agents, proposals, tasks, terms


class CoordinationView(TypedDict):
    """Counts by status; every status is there, also with 0."""

    agents: dict[str, int]
    tasks: dict[str, int]
    leader_id: str | None
    term: int
    open_proposals: int


_last = select(terms).order_by(terms.c.term.desc()).limit(1).subquery()

# One statement sees one commit.
_COUNTS = union_all(
    select(literal("agent").label("what"), agents.c.status.label("word"), func.count().label("n"))
    .group_by(agents.c.status),
    select(literal("task"), tasks.c.status, func.count()).group_by(tasks.c.status),
    select(literal("open"), literal(""), func.count())
    .select_from(proposals).where(proposals.c.decision.is_(None)),
    select(literal("term"), literal(""), _last.c.term),
    select(literal("leader"), _last.c.leader_id, _last.c.term)
    .where(_last.c.vacated_at.is_(None)),
)  # fmt: skip


async def read_coordination(connection: AsyncConnection) -> CoordinationView:
    """What `GET /coordination/status` answers."""
    found: dict[str, dict[str, int]] = {}
    for what, word, n in await connection.execute(_COUNTS):
        found.setdefault(what, {})[word] = n
    return {
        "agents": {
            status: found.get("agent", {}).get(status, 0) for status in sorted(AGENT.statuses)
        },
        "tasks": {status: found.get("task", {}).get(status, 0) for status in sorted(TASK.statuses)},
        "leader_id": next(iter(found.get("leader", {})), None),
        "term": found.get("term", {}).get("", 0),
        "open_proposals": found["open"][""],
    }
