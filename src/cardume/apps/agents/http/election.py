"""Who leads, and how everything stands."""

from __future__ import annotations

from fastapi import APIRouter

from cardume.apps.agents.app import CurrentAgents
from cardume.apps.agents.coordination import CoordinationView
from cardume.apps.agents.election import ElectionView
from cardume.transports.fastapi import CurrentIdentity
from cardume.transports.problems import ProblemRoute

router = APIRouter(prefix="/coordination", route_class=ProblemRoute, tags=["coordination"])


@router.get("/election")
async def get_election(app: CurrentAgents, who: CurrentIdentity) -> ElectionView:
    return await app.election.get()


@router.post("/election/trigger")
async def trigger_election(app: CurrentAgents, who: CurrentIdentity) -> ElectionView:
    """The next term begins, even if the same agent leads it."""
    return await app.election.trigger(who)


@router.get("/status")
async def get_status(app: CurrentAgents, who: CurrentIdentity) -> CoordinationView:
    """Agents and tasks by status, the leader, how many proposals are open."""
    return await app.coordination()
