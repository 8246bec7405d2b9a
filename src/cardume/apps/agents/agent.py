"""An agent: how it is asked for, how it is shown."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field
from sqlalchemy import Row
from typing_extensions import TypedDict

from cardume.apps.agents.values import WEEK, JsonObject, Label
from cardume.transports.bodies import Body, Name, Number, Patch
from cardume.wire.messages import rfc3339, stamp

AgentStatus = Literal["active", "paused", "inactive", "stopped"]
Action = Literal["start", "pause", "resume", "stop", "restart", "heartbeat"]


def _distinct(names: list[str]) -> list[str]:
    return list(dict.fromkeys(names))


AgentType = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
"""A lower-case word: it is part of the id."""

Capabilities = Annotated[list[Label], Field(max_length=64), AfterValidator(_distinct)]

LeaseSeconds = Annotated[Number, Field(ge=1, le=WEEK)]
"""After so much silence the agent is inactive. Renew it three times as often."""


class NewAgent(Body):
    """`lease_seconds` null: the server's default."""

    agent_type: AgentType
    name: Name | None = None
    capabilities: Capabilities = Field(default_factory=list)
    config: JsonObject = Field(default_factory=dict)
    lease_seconds: LeaseSeconds | None = None


class AgentPatch(Patch):
    """What is left out stays as it is. A `status` has to be one that some action leads to."""

    name: Name | None = None
    capabilities: Capabilities = Field(default_factory=list)
    config: JsonObject = Field(default_factory=dict)
    lease_seconds: LeaseSeconds | None = None
    status: AgentStatus = "active"


class AgentAction(Body):
    action: Action


class Heartbeat(Body):
    """The body of a heartbeat as a WebSocket action, which has no path to name the agent."""

    agent_id: str = Field(min_length=1, max_length=100)


class Renewed(TypedDict):
    """What a heartbeat brought."""

    agent_id: str
    status: str
    lease_expires_at: str | None


class AgentView(TypedDict):
    """`lease_expires_at` is null until the first heartbeat, and while no lease runs."""

    agent_id: str
    agent_type: str
    name: str | None
    status: str
    capabilities: list[str]
    config: dict[str, Any]
    lease_seconds: float
    lease_expires_at: str | None
    last_heartbeat_at: str | None
    is_leader: bool
    version: int
    created_at: str
    created_by: str
    updated_at: str


def agent_view(
    row: Row[Any], seconds: float, heartbeat_at: float | None, expires_at: float | None
) -> AgentView:
    """A row that was read with its term's `leader_id`, and what is known of its lease."""
    return {
        "agent_id": row.agent_id,
        "agent_type": row.agent_type,
        "name": row.name,
        "status": row.status,
        "capabilities": row.capabilities,
        "config": row.config,
        "lease_seconds": seconds,
        "lease_expires_at": stamp(expires_at),
        "last_heartbeat_at": stamp(heartbeat_at),
        "is_leader": row.leader_id == row.agent_id,
        "version": row.version,
        "created_at": rfc3339(row.created_at),
        "created_by": row.created_by,
        "updated_at": rfc3339(row.updated_at),
    }
