"""Proposals and votes."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from sqlalchemy import ColumnElement

from cardume.apps.agents.app import CurrentAgents
from cardume.apps.agents.proposal import NewProposal, NewVote, ProposalView, proposal_number
from cardume.storage.tables import proposals
from cardume.transports.fastapi import CurrentIdentity
from cardume.transports.paging import Cursor, Limit, Page, page, position
from cardume.transports.problems import ProblemRoute

router = APIRouter(prefix="/coordination/consensus", route_class=ProblemRoute, tags=["consensus"])

DecisionFilter = Literal["open", "approved", "rejected"]


@router.post("/propose", status_code=201)
async def propose(body: NewProposal, app: CurrentAgents, who: CurrentIdentity) -> ProposalView:
    """Ask the agents that are active now; with none of them it is rejected at once."""
    return await app.consensus.propose(who, body)


@router.get("")
async def list_proposals(
    app: CurrentAgents,
    who: CurrentIdentity,
    decision: Annotated[DecisionFilter | None, Query()] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[ProposalView]:
    """The newest first."""
    where: list[ColumnElement[bool]] = []
    if decision == "open":
        where.append(proposals.c.decision.is_(None))
    elif decision is not None:
        where.append(proposals.c.decision == decision)
    found = await app.consensus.find(where, position(cursor, int), limit + 1)
    return page(found, limit, lambda proposal: proposal_number(proposal["proposal_id"]))


@router.get("/{proposal_id}")
async def get_proposal(proposal_id: str, app: CurrentAgents, who: CurrentIdentity) -> ProposalView:
    return await app.consensus.get(proposal_id)


@router.post("/{proposal_id}/votes")
async def vote(
    proposal_id: str, body: NewVote, app: CurrentAgents, who: CurrentIdentity
) -> ProposalView:
    """One vote for each voter, by the agent, its creator or an admin.

    403: no voter, or not yours. 409: it has voted, or the proposal is decided.
    """
    return await app.consensus.vote(who, proposal_id, body)
