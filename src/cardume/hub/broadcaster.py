"""Saying what happened to agents, tasks, terms and the system, in one call each.

The events and their data are those of the built-in rooms (`cardume.wire.events`). What is stored
and announced goes through `storage.write()` instead; this is for applications without it.
"""

from __future__ import annotations

from typing import Any

from cardume.errors import Invalid
from cardume.hub.hub import Hub
from cardume.wire import json
from cardume.wire.events import EVERYONE, TASK_EVENTS, EventType


class Broadcaster:
    """Announces on `hub`; every call returns how many connections of this node got the event.

    Agents, tasks, proposals and details are anything whose JSON form is an object. Every call
    raises what `Hub.publish` raises: `Refused` without `Rooms(hub)`, which declares the rooms.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def broadcast_agent_created(self, agent: Any) -> int:
        return await self._say(EventType.AGENT_CREATED, _object(agent))

    async def broadcast_agent_updated(self, agent: Any) -> int:
        return await self._say(EventType.AGENT_UPDATED, _object(agent))

    async def broadcast_agent_deleted(self, agent_id: str) -> int:
        return await self._say(EventType.AGENT_DELETED, {"agent_id": agent_id})

    async def broadcast_agent_status_changed(
        self, agent_id: str, old_status: str | None, new_status: str
    ) -> int:
        data = {"agent_id": agent_id, "old_status": old_status, "new_status": new_status}
        return await self._say(EventType.AGENT_STATUS_CHANGED, data)

    async def broadcast_agent_action(self, agent_id: str, action: str, result: Any = None) -> int:
        data = {"agent_id": agent_id, "action": action, "result": result}
        return await self._say(EventType.AGENT_ACTION, data)

    async def broadcast_task_created(self, task: Any) -> int:
        """The event says that the status moved from none to the task's own."""
        data = _object(task)
        moved = {"old_status": None, "new_status": data.get("status", "created")}
        return await self._say(EventType.TASK_CREATED, {**moved, **data})

    async def broadcast_task_status_changed(
        self, task_id: str, old_status: str | None, new_status: str
    ) -> int:
        """The event follows from `new_status`: `task_started`, `task_failed`…

        Raises:
            Invalid: no status of a task.
        """
        event = TASK_EVENTS.get(new_status)
        if event is None:
            raise Invalid(f"new_status is one of: {', '.join(TASK_EVENTS)}")
        data = {"task_id": task_id, "old_status": old_status, "new_status": new_status}
        return await self._say(event, data)

    async def broadcast_election_triggered(
        self, term: int | None = None, reason: str | None = None
    ) -> int:
        return await self._say(EventType.ELECTION_TRIGGERED, {"term": term, "reason": reason})

    async def broadcast_leader_elected(self, leader_id: str, term: int) -> int:
        return await self._say(EventType.LEADER_ELECTED, {"leader_id": leader_id, "term": term})

    async def broadcast_consensus_proposed(self, proposal: Any) -> int:
        return await self._say(EventType.CONSENSUS_PROPOSED, _object(proposal))

    async def broadcast_consensus_decided(
        self, proposal_id: str, decision: str, approval_rate: float
    ) -> int:
        """`decision` is `approved` or `rejected`; `approval_rate` approvals / voters, 0 to 1.

        Raises:
            Invalid: another decision.
        """
        if decision not in ("approved", "rejected"):
            raise Invalid("decision is approved or rejected")
        data = {"proposal_id": proposal_id, "decision": decision, "approval_rate": approval_rate}
        return await self._say(EventType.CONSENSUS_DECIDED, data)

    async def broadcast_health_changed(self, status: str, details: Any = None) -> int:
        data = {"status": status, "details": _object(details)}
        return await self._say(EventType.HEALTH_CHANGED, data)

    async def broadcast_metrics_updated(self, metrics: Any) -> int:
        return await self._say(EventType.METRICS_UPDATED, _object(metrics))

    async def broadcast_alert_triggered(self, level: str, message: str, details: Any = None) -> int:
        data = {"level": level, "message": message, "details": _object(details)}
        return await self._say(EventType.ALERT_TRIGGERED, data)

    async def broadcast_custom_event(
        self,
        event_type: str,
        data: Any = None,
        room: str | None = None,
        source: str | None = None,
    ) -> int:
        """Any event in any room; without a room, to everyone on a page of rooms.

        Raises:
            Invalid: neither a built-in event nor one of `Rooms(events=…)`.
            Refused: nobody declared the room.
        """
        check_event(self._hub, event_type)
        announced = await self._hub.announce(
            EVERYONE if room is None else room, event_type, _object(data), source=source
        )
        return announced.delivered_to

    async def _say(self, event: EventType, data: dict[str, Any]) -> int:
        assert event.room is not None
        return (await self._hub.announce(event.room, event.value, data)).delivered_to


def check_event(hub: Hub, name: str) -> str:
    """The name of an event that `hub` knows.

    Raises:
        Invalid: it knows none of that name.
    """
    if name not in hub.event_names:
        raise Invalid(f"event_type is one of: {', '.join(sorted(hub.event_names))}")
    return name


def _object(value: Any) -> dict[str, Any]:
    """The JSON form of `value`, for which None is an empty object."""
    form = json.parse(json.encode({} if value is None else value))
    if not isinstance(form, dict):
        raise Invalid("the data of an event is an object")
    return form
