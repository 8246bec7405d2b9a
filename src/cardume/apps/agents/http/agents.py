"""Agents: made, listed, changed, told what to do."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from cardume.apps.agents.agent import AgentAction, AgentPatch, AgentStatus, AgentView, NewAgent
from cardume.apps.agents.app import CurrentAgents
from cardume.transports.fastapi import CurrentIdentity
from cardume.transports.paging import Cursor, Limit, Page, page, position
from cardume.transports.problems import ProblemRoute

router = APIRouter(prefix="/agents", route_class=ProblemRoute, tags=["agents"])


@router.get("")
async def list_agents(
    app: CurrentAgents,
    who: CurrentIdentity,
    agent_type: Annotated[str | None, Query(max_length=64)] = None,
    status: Annotated[AgentStatus | None, Query()] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[AgentView]:
    """All agents, by their ids."""
    after = position(cursor, str) or ""
    found = await app.agents.find(agent_type, status, after, limit + 1)
    return page(found, limit, lambda agent: agent["agent_id"])


@router.post("", status_code=201)
async def create_agent(body: NewAgent, app: CurrentAgents, who: CurrentIdentity) -> AgentView:
    """A new agent, active. Where nobody leads yet, it does."""
    return await app.agents.create(who, body)


@router.get("/{agent_id}")
async def get_agent(agent_id: str, app: CurrentAgents, who: CurrentIdentity) -> AgentView:
    return await app.agents.get(agent_id)


@router.patch("/{agent_id}")
async def update_agent(
    agent_id: str, body: AgentPatch, app: CurrentAgents, who: CurrentIdentity
) -> AgentView:
    return await app.agents.patch(who, agent_id, body)


@router.delete("/{agent_id}", status_code=204)
async def delete_agent(agent_id: str, app: CurrentAgents, who: CurrentIdentity) -> None:
    """Its tasks are given back; where it led, another one does."""
    await app.agents.delete(who, agent_id)


@router.post("/{agent_id}/actions")
async def act(
    agent_id: str, body: AgentAction, app: CurrentAgents, who: CurrentIdentity
) -> AgentView:
    """What is legal depends on the status; a 409 names it. `heartbeat` renews the lease."""
    return await app.agents.act(who, agent_id, body.action)
