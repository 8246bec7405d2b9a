"""A task: which status follows which, how it is asked for, how it is shown."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field
from sqlalchemy import Row
from typing_extensions import TypedDict

from cardume.apps.agents.values import JsonObject, JsonValue, Label, Seconds
from cardume.documents.ids import NumberedIds
from cardume.documents.transitions import Transitions
from cardume.transports.bodies import Body
from cardume.wire.messages import rfc3339, stamp

TASK: Final = Transitions(
    "task",
    {
        "assign": {"created": "assigned"},
        "start": {"assigned": "started"},
        "complete": {"started": "completed"},
        "fail": {"assigned": "failed", "started": "failed"},
        "cancel": {"created": "cancelled", "assigned": "cancelled", "started": "cancelled"},
    },
)
"""What people and agents do."""

RETURNS: Final = Transitions(
    "task",
    {
        "give back": {"assigned": "created", "started": "created"},
        "give up": {"assigned": "failed", "started": "failed"},
    },
)
"""What the hub does for an owner that left, or was too slow."""

HELD: Final = ("assigned", "started")
"""While a task has an owner."""

PRIORITIES: Final = {"low": 25, "normal": 50, "high": 75, "critical": 100}

TaskStatus = Literal["created", "assigned", "started", "completed", "failed", "cancelled"]
Priority = (
    Annotated[int, Field(strict=True, ge=0, le=100)] | Literal["low", "normal", "high", "critical"]
)
Why = Annotated[str, Field(min_length=1, max_length=4000)]

_IDS: Final = NumberedIds("task")
task_id: Final = _IDS.of
task_number: Final = _IDS.number


class NewTask(Body):
    """`priority` is a number up to 100 or one of four words.

    `lease_seconds` is the time from one step to the next: past it the task is given back, and
    after `max_attempts` assignments it fails.
    """

    task_type: Label
    priority: Priority = 50
    payload: JsonObject = Field(default_factory=dict)
    required_capability: Label | None = None
    lease_seconds: Seconds | None = None
    max_attempts: Annotated[int, Field(strict=True, ge=1, le=100)] = 3


class Assign(Body):
    """Without `agent_id` the hub chooses."""

    agent_id: str | None = Field(None, max_length=100)


class Step(Body):
    """A worker that says whose task it has is refused once the task is somebody else's.

    `attempt` is the task's `attempts` as it was when the worker was given it.
    """

    agent_id: str | None = Field(None, max_length=100)
    attempt: int | None = None


class Start(Step):
    """The owner begins."""


class Complete(Step):
    result: JsonValue = None


class Fail(Step):
    """With `retry` the task is given back while it has attempts left."""

    error: Why | None = None
    retry: Annotated[bool, Field(strict=True)] = False


class Cancel(Body):
    reason: Why | None = None


class TaskView(TypedDict):
    """`agent_id` is the owner; of a task that has ended the last one, of a created one null."""

    task_id: str
    task_type: str
    priority: int
    payload: dict[str, Any]
    required_capability: str | None
    lease_seconds: float | None
    status: str
    agent_id: str | None
    attempts: int
    max_attempts: int
    deadline: str | None
    result: Any
    error: str | None
    version: int
    created_at: str
    created_by: str
    updated_at: str
    assigned_at: str | None
    started_at: str | None
    finished_at: str | None


def task_view(row: Row[Any]) -> TaskView:
    return {
        "task_id": task_id(row.number),
        "task_type": row.task_type,
        "priority": row.priority,
        "payload": row.payload,
        "required_capability": row.required_capability,
        "lease_seconds": row.lease_seconds,
        "status": row.status,
        "agent_id": row.agent_id,
        "attempts": row.attempts,
        "max_attempts": row.max_attempts,
        "deadline": stamp(row.deadline),
        "result": row.result,
        "error": row.error,
        "version": row.version,
        "created_at": rfc3339(row.created_at),
        "created_by": row.created_by,
        "updated_at": rfc3339(row.updated_at),
        "assigned_at": stamp(row.assigned_at),
        "started_at": stamp(row.started_at),
        "finished_at": stamp(row.finished_at),
    }
