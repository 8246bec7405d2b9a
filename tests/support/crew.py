"""The agents app on a real hub and a real database, with time that moves by hand."""

from __future__ import annotations

from typing import Any, ClassVar

from fastapi import APIRouter

from cardume.apps.agents import Agents, AgentsOptions
from cardume.apps.agents import http as agents_http
from cardume.auth.identity import Identity, IdentityKind
from cardume.wire.events import ROOMS
from tests.support.life import Life
from tests.support.peers import Peer, declare

ADMIN: dict[str, Any] = {"who": "root", "role": "admin"}
Json = Any


class Crew(Life):
    """One life of the agents app."""

    prefix: ClassVar[str] = ""

    app: Agents

    def make(self, **options: Any) -> Agents:
        for room in ROOMS:
            if self.hub.namespaces.find(room) is None:
                declare(self.hub, room, history=500)
        self.app = Agents(self.hub, self.storage, AgentsOptions(**options))
        return self.app

    @staticmethod
    def router(app: Agents) -> APIRouter:
        return agents_http.router(app)

    async def agent(self, agent_type: str = "worker", **more: Any) -> str:
        """A new agent's id; root made it unless `who` and `role` say otherwise."""
        by: dict[str, Any] = {n: more.pop(n) for n in ("who", "role") if n in more}
        made = await self.ok("POST", "/agents", {"agent_type": agent_type, **more}, **(by or ADMIN))
        id: str = made["agent_id"]
        return id

    async def act(self, agent_id: str, action: str, **who: Any) -> Json:
        """Do it as root, or as `who`; the agent after it."""
        body = {"action": action}
        return await self.ok("POST", f"/agents/{agent_id}/actions", body, **(who or ADMIN))

    async def beat(self, agent_id: str) -> Json:
        """A heartbeat with the agent's own token."""
        return await self.act(agent_id, "heartbeat", who=agent_id, kind="agent")

    @staticmethod
    def identity(agent_id: str) -> Identity:
        """Who an agent is on its own connection."""
        return Identity(agent_id, kind=IdentityKind.AGENT)

    async def election(self) -> Json:
        return await self.ok("GET", "/coordination/election")

    async def listen(self) -> dict[str, Peer]:
        """A subscriber of each room that the app speaks in."""
        return {room: await self.subscribe(room) for room in ("agents", "tasks", "coordination")}


def said(peer: Peer) -> list[tuple[str, Json]]:
    """The events that a subscriber got: type and data."""
    return [(frame["type"], frame["data"]) for frame in peer.frames if "channel" in frame]
