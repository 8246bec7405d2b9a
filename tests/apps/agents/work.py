"""Tasks and proposals, asked for as people and agents ask."""

from __future__ import annotations

from typing import Any

from tests.support.crew import ADMIN, Crew

Json = Any


def as_agent(agent_id: str) -> dict[str, str]:
    """An agent's own token."""
    return {"who": agent_id, "kind": "agent"}


async def task(crew: Crew, **body: Json) -> str:
    made = await crew.ok("POST", "/coordination/tasks", {"task_type": "sweep", **body}, **ADMIN)
    id: str = made["task_id"]
    return id


async def move(crew: Crew, id: str, name: str, body: Json = None, **who: Any) -> Json:
    """Do it as root, or as `who`; the task after it."""
    return await crew.ok("POST", f"/coordination/tasks/{id}/{name}", body, **(who or ADMIN))


async def refused(crew: Crew, id: str, name: str, body: Json = None, **who: Any) -> Json:
    """The problem document of a move that is not made; the task is as it was."""
    before = await shown(crew, id)
    path = f"/coordination/tasks/{id}/{name}"
    response = await crew.call("POST", path, body, **(who or ADMIN))
    assert response.status_code >= 400, response.text
    assert await shown(crew, id) == before
    return response.json()


async def shown(crew: Crew, id: str) -> Json:
    response = await crew.call("GET", f"/coordination/tasks/{id}")
    return response.json() if response.status_code == 200 else None


async def proposal(crew: Crew, **body: Json) -> Json:
    path = "/coordination/consensus/propose"
    return await crew.ok("POST", path, {"topic": "move on", **body}, **ADMIN)


async def vote(crew: Crew, id: str, agent_id: str, approve: bool = True, **who: Any) -> Json:
    """Vote with the agent's own token, or as `who`: the status, and the answer."""
    path = f"/coordination/consensus/{id}/votes"
    body = {"agent_id": agent_id, "approve": approve}
    response = await crew.call("POST", path, body, **(who or as_agent(agent_id)))
    return response.status_code, response.json()


async def found(crew: Crew, id: str) -> Json:
    return await crew.ok("GET", f"/coordination/consensus/{id}")
