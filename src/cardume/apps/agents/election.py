"""Who leads: one leader a term, and a term for as long as its leader is active.

The winner is the first of the active agents by (created_at, agent_id). Whoever changes an agent's
status calls `follow` in the same transaction, so that no commit leaves active agents without a
leader, or a leader that is not active.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from sqlalchemy import Row, case, func, insert, select, update
from typing_extensions import TypedDict

from cardume.apps.agents.events import announce
from cardume.apps.agents.permissions import check_writer
from cardume.apps.agents.statuses import ACTIVE, INACTIVE
from cardume.auth.identity import Identity
from cardume.clock import Clock
from cardume.errors import Refused
from cardume.storage.database import Reader, Storage, Write
from cardume.storage.tables import agents, terms
from cardume.wire import codes
from cardume.wire.events import EventType
from cardume.wire.messages import stamp

LEADER: Final = (
    select(case((terms.c.vacated_at.is_(None), terms.c.leader_id)))
    .order_by(terms.c.term.desc())
    .limit(1)
    .scalar_subquery()
)
"""The agent that leads now; null where none does."""


class ElectionView(TypedDict):
    """`leader_id` is null while nobody leads; `term` 0 before the first election.

    `reason` says why the last election was held: `first_agent`, `no_leader`, `leader_lapsed`,
    `leader_left`, `requested`. `candidates` is the number of active agents.
    """

    leader_id: str | None
    term: int
    elected_at: str | None
    reason: str | None
    candidates: int


class Term(msgspec.Struct, frozen=True):
    """A term that has just begun."""

    term: int
    leader_id: str
    reason: str


class Election:
    """Terms and their leaders."""

    def __init__(self, storage: Storage, clock: Clock) -> None:
        self._storage = storage
        self._clock = clock

    async def get(self) -> ElectionView:
        """The last term, and who stands for the next one."""
        async with self._storage.read() as connection:
            return await _view(connection)

    async def trigger(self, who: Identity) -> ElectionView:
        """Hold an election now, also where the same agent wins again.

        Raises:
            Refused: 403; 409 `no_candidates`.
        """
        check_writer(who)
        async with self._storage.write() as tx:
            term = await self._elect(tx, await _last(tx), "requested", self._clock.now())
            if term is None:
                raise Refused(codes.NO_CANDIDATES)
            self.announce(tx, term)
            return await _view(tx)

    async def follow(self, tx: Write, now: float) -> Term | None:
        """Hold an election if one is due; the term that began. To be announced by `announce`."""
        last = await _last(tx)
        reason = reason_for(last)
        if reason is None:
            return None
        return await self._elect(tx, last, reason, now)

    def announce(self, tx: Write, term: Term | None) -> None:
        """Say that a term began, if one did."""
        if term is None:
            return
        triggered = {"term": term.term, "reason": term.reason}
        announce(tx, EventType.ELECTION_TRIGGERED, triggered)
        elected = {"leader_id": term.leader_id, "term": term.term}
        announce(tx, EventType.LEADER_ELECTED, elected)

    async def _elect(
        self, tx: Write, last: Row[Any] | None, reason: str, now: float
    ) -> Term | None:
        """End the last term, and begin the next one if anybody can lead it."""
        if last is not None and last.vacated_at is None:
            ended = update(terms).where(terms.c.term == last.term)
            await tx.execute(ended.values(vacated_at=now))
        winner: str | None = (await tx.execute(_FIRST)).scalar()
        if winner is None:
            return None
        term = Term(1 if last is None else last.term + 1, winner, reason)
        values = msgspec.structs.asdict(term)
        await tx.execute(insert(terms).values(**values, elected_at=now))
        return term


def reason_for(last: Row[Any] | None) -> str | None:
    """Why an election is due after the last term; None: its leader leads. Pure."""
    if last is None:
        return "first_agent"
    if last.vacated_at is not None:
        return "no_leader"
    if last.leader_status == ACTIVE:
        return None
    return "leader_lapsed" if last.leader_status == INACTIVE else "leader_left"


_LAST = (
    select(terms, agents.c.status.label("leader_status"))
    .outerjoin(agents, agents.c.agent_id == terms.c.leader_id)
    .order_by(terms.c.term.desc())
    .limit(1)
)

_FIRST = (
    select(agents.c.agent_id)
    .where(agents.c.status == ACTIVE)
    .order_by(agents.c.created_at, agents.c.agent_id)
    .limit(1)
)

_CANDIDATES = select(func.count()).select_from(agents).where(agents.c.status == ACTIVE)


async def _last(tx: Write) -> Row[Any] | None:
    return (await tx.execute(_LAST)).first()


async def _view(reader: Reader) -> ElectionView:
    # One statement, or a commit between two could show a leader without any candidate.
    last = _LAST.subquery()
    count = select(_CANDIDATES.scalar_subquery().label("candidates")).subquery()
    query = select(count, last).select_from(count).outerjoin(last, last.c.term.is_not(None))
    row = (await reader.execute(query)).one()
    return {
        "leader_id": row.leader_id if row.term is not None and row.vacated_at is None else None,
        "term": row.term or 0,
        "elected_at": stamp(row.elected_at),
        "reason": row.reason,
        "candidates": row.candidates,
    }
