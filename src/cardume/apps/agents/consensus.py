"""Proposals and real votes: decided once, by a quorum of those who were there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Executable, Row, func, insert, literal, select, update

from cardume.apps.agents.events import announce
from cardume.apps.agents.permissions import check_speaks_for, check_writer
from cardume.apps.agents.proposal import (
    NewProposal,
    NewVote,
    ProposalView,
    proposal_id,
    proposal_number,
    proposal_view,
    rate,
)
from cardume.apps.agents.quorum import Decision, decide
from cardume.apps.agents.statuses import ACTIVE
from cardume.auth.identity import Identity, IdentityKind
from cardume.errors import Refused
from cardume.hub.hub import Hub
from cardume.hub.schedule import LeaseTimer
from cardume.storage.database import Reader, Storage, Write
from cardume.storage.tables import agents, proposals, votes
from cardume.wire import codes
from cardume.wire.events import EventType

BATCH = 500
"""Proposals whose time is up that are decided in one transaction."""

MAX_VOTERS = 2000
"""Of one proposal: whoever listens is told all their names, about 26 bytes each."""


class Count(NamedTuple):
    """How a vote stands."""

    voters: int
    approvals: int
    rejections: int


class Consensus:
    """The proposals of one database, and their events on the channel ``coordination``.

    Who votes is stored with the proposal. A voter that is deleted keeps its place among them and
    what it voted, so what a proposal needs never changes.
    """

    def __init__(self, hub: Hub, storage: Storage) -> None:
        self._storage = storage
        self._clock = hub.clock
        self._deadlines: LeaseTimer[int] = hub.leases(self._expired, "proposal deadlines")

    async def arm(self) -> None:
        """At start: what is overdue is decided at once."""
        now = self._clock.now()
        query = select(proposals.c.number, proposals.c.deadline).where(
            proposals.c.decision.is_(None)
        )
        async with self._storage.read() as connection:
            for number, deadline in await connection.execute(query):
                self._deadlines.touch_in(number, deadline - now)

    async def get(self, id: str) -> ProposalView:
        """Raises `Refused`: 404."""
        async with self._storage.read() as connection:
            return await _view(connection, await _find(connection, id))

    async def find(
        self, where: Sequence[ColumnElement[bool]], before: int | None, limit: int
    ) -> list[ProposalView]:
        """The newest first; those before the number `before`."""
        query = select(proposals).where(*where).order_by(proposals.c.number.desc()).limit(limit)
        if before is not None:
            query = query.where(proposals.c.number < before)
        async with self._storage.read() as connection:
            rows = (await connection.execute(query)).all()
            return await _views(connection, rows)

    async def propose(self, who: Identity, body: NewProposal) -> ProposalView:
        """Ask all agents that are active now.

        Raises:
            Refused: 403, 409 where that would be more than `MAX_VOTERS`.
        """
        async with self._storage.write() as tx:
            await _check_proposer(tx, who)
            now = self._clock.now()
            values = {
                "topic": body.topic,
                "value": body.value,
                "quorum": body.quorum,
                "proposed_by": who.sub,
                "created_at": now,
                "deadline": now + body.deadline_seconds,
            }
            statement = insert(proposals).values(values).returning(proposals)
            row = (await tx.execute(statement)).one()
            await tx.execute(_voters_of(row.number))
            count = await _count(tx, row.number)
            if count.voters > MAX_VOTERS:
                raise Refused(codes.CONFLICT, f"a proposal asks {MAX_VOTERS} agents at most")
            tx.on_commit(lambda: self._deadlines.touch_in(row.number, body.deadline_seconds))
            announce(tx, EventType.CONSENSUS_PROPOSED, await _view(tx, row))
            await self._judge(tx, row, count)
        return await self.get(proposal_id(row.number))

    async def vote(self, who: Identity, id: str, body: NewVote) -> ProposalView:
        """Count an agent's vote; it may decide.

        Raises:
            Refused: 404; 403 for a stranger; 409 the second time, and after the decision.
        """
        async with self._storage.write() as tx:
            in_time = await self._vote(tx, who, id, body)
        if not in_time:
            raise _over("rejected")
        return await self.get(id)  # with all the names, read while others write

    async def _vote(self, tx: Write, who: Identity, id: str, body: NewVote) -> bool:
        """False: it came after the deadline, before the timer did."""
        row = await _find(tx, id)
        await _check_voice(tx, who, body.agent_id)
        voter = await _voter(tx, row.number, body.agent_id)
        if voter is None:
            raise Refused(
                codes.PERMISSION_DENIED,
                f"{body.agent_id} is no voter: those active when it was proposed are",
            )
        if row.decision is not None:
            raise _over(row.decision)
        if voter.approve is not None:
            raise Refused(codes.CONFLICT, f"{body.agent_id} has voted")
        now = self._clock.now()
        if now >= row.deadline:
            await self._decide(tx, row, "rejected", await _count(tx, row.number))
            return False
        await tx.execute(
            update(votes)
            .where(votes.c.proposal == row.number, votes.c.agent_id == body.agent_id)
            .values(approve=body.approve, voted_at=now, voted_by=who.sub)
        )
        await self._judge(tx, row, await _count(tx, row.number))
        return True

    # -- deciding ---------------------------------------------------------------------------

    async def _expired(self, numbers: list[int]) -> None:
        for start in range(0, len(numbers), BATCH):
            due = proposals.c.number.in_(numbers[start : start + BATCH])
            async with self._storage.write() as tx:
                query = select(proposals).where(due, proposals.c.decision.is_(None))
                for row in (await tx.execute(query.order_by(proposals.c.number))).all():
                    await self._decide(tx, row, "rejected", await _count(tx, row.number))

    async def _judge(self, tx: Write, row: Row[Any], count: Count) -> None:
        """Decide if the votes do."""
        decision = decide(row.quorum, *count)
        if decision is not None:
            await self._decide(tx, row, decision, count)

    async def _decide(self, tx: Write, row: Row[Any], decision: Decision, count: Count) -> None:
        decided = {
            "decision": decision,
            "approval_rate": rate(count.approvals, count.voters),
        }
        statement = update(proposals).where(proposals.c.number == row.number)
        await tx.execute(statement.values(**decided, decided_at=self._clock.now()))
        data = {"proposal_id": proposal_id(row.number), **decided}
        announce(tx, EventType.CONSENSUS_DECIDED, data)
        tx.on_commit(lambda: self._deadlines.drop(row.number))


def _over(decision: str) -> Refused:
    return Refused(codes.CONFLICT, f"the vote is over: {decision}", decision=decision)


async def _count(tx: Write, number: int) -> Count:
    approvals = func.count().filter(votes.c.approve.is_(True))
    rejections = func.count().filter(votes.c.approve.is_(False))
    query = select(func.count(), approvals, rejections).where(votes.c.proposal == number)
    return Count._make((await tx.execute(query)).one())


def _voters_of(number: int) -> Executable:
    """Makes voters of the agents that are active."""
    active = select(literal(number), agents.c.agent_id).where(agents.c.status == ACTIVE)
    return insert(votes).from_select(["proposal", "agent_id"], active)


async def _check_proposer(tx: Write, who: Identity) -> None:
    check_writer(who, who.sub)
    if who.is_admin or who.is_service or who.kind is not IdentityKind.AGENT:
        return
    query = select(agents.c.status).where(agents.c.agent_id == who.sub)
    if (await tx.execute(query)).scalar() != ACTIVE:
        raise Refused(codes.PERMISSION_DENIED, "an agent proposes while it is active")


async def _check_voice(tx: Write, who: Identity, agent_id: str) -> None:
    query = select(agents.c.created_by).where(agents.c.agent_id == agent_id)
    created_by = (await tx.execute(query)).scalar()
    if created_by is None:
        raise Refused(codes.NOT_FOUND, "no such agent")
    check_speaks_for(who, agent_id, created_by)


async def _voter(tx: Write, number: int, agent_id: str) -> Row[Any] | None:
    query = select(votes).where(votes.c.proposal == number, votes.c.agent_id == agent_id)
    return (await tx.execute(query)).one_or_none()


async def _find(reader: Reader, id: str) -> Row[Any]:
    query = select(proposals).where(proposals.c.number == proposal_number(id))
    row = (await reader.execute(query)).one_or_none()
    if row is None:
        raise Refused(codes.NOT_FOUND, f"no proposal {id}")
    return row


async def _view(reader: Reader, row: Row[Any]) -> ProposalView:
    return (await _views(reader, [row]))[0]


async def _views(reader: Reader, rows: Sequence[Row[Any]]) -> list[ProposalView]:
    voters: defaultdict[int, list[Row[Any]]] = defaultdict(list)
    query = (
        select(votes)
        .where(votes.c.proposal.in_([row.number for row in rows]))
        .order_by(votes.c.voted_at, votes.c.agent_id)
    )
    for voter in await reader.execute(query):
        voters[voter.proposal].append(voter)
    return [proposal_view(row, voters[row.number]) for row in rows]
