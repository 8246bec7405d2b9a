"""The events of the built-in rooms: which there are, where they belong, who says them."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final

EVENT_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)

EVERYONE: Final = "rooms"
"""The channel of events without a room: each connection of the dialect holds it from connect."""


class EventType(StrEnum):
    """The 21 built-in events."""

    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    ERROR = "error"
    AGENT_CREATED = "agent_created"
    AGENT_UPDATED = "agent_updated"
    AGENT_DELETED = "agent_deleted"
    AGENT_STATUS_CHANGED = "agent_status_changed"
    AGENT_ACTION = "agent_action"
    TASK_CREATED = "task_created"
    TASK_ASSIGNED = "task_assigned"
    TASK_STARTED = "task_started"
    TASK_COMPLETED = "task_completed"
    TASK_FAILED = "task_failed"
    TASK_CANCELLED = "task_cancelled"
    ELECTION_TRIGGERED = "election_triggered"
    LEADER_ELECTED = "leader_elected"
    CONSENSUS_PROPOSED = "consensus_proposed"
    CONSENSUS_DECIDED = "consensus_decided"
    HEALTH_CHANGED = "health_changed"
    METRICS_UPDATED = "metrics_updated"
    ALERT_TRIGGERED = "alert_triggered"

    @property
    def room(self) -> str | None:
        """The room it belongs to; None: it is said to one connection."""
        return _ROOM_OF.get(self.value.partition("_")[0])


_ROOM_OF: Final = {
    "agent": "agents",
    "task": "tasks",
    "election": "coordination",
    "leader": "coordination",
    "consensus": "coordination",
    "health": "system",
    "metrics": "system",
    "alert": "system",
}

ROOMS: Final = ("agents", "tasks", "coordination", "system")

_SOURCES: Final = {
    "agents": "agent_service",
    "tasks": "coordination_service",
    "coordination": "coordination_service",
}
HUB_SOURCE: Final = "hub"


def source_of(room: str) -> str:
    """Who speaks in `room` where nobody else is named."""
    return _SOURCES.get(room, HUB_SOURCE)


TASK_EVENTS: Final = {
    "created": EventType.TASK_CREATED,
    "assigned": EventType.TASK_ASSIGNED,
    "started": EventType.TASK_STARTED,
    "running": EventType.TASK_STARTED,
    "in_progress": EventType.TASK_STARTED,
    "completed": EventType.TASK_COMPLETED,
    "failed": EventType.TASK_FAILED,
    "cancelled": EventType.TASK_CANCELLED,
}
"""The event of a task that came into a status; running and in_progress are other words for
started."""
