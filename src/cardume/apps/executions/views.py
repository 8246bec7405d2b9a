"""How an execution looks outside, and which status may follow which."""

from __future__ import annotations

from typing import Any, NoReturn

from sqlalchemy import Row
from typing_extensions import TypedDict

from cardume.documents.transitions import Transitions
from cardume.errors import Refused
from cardume.wire import codes
from cardume.wire.messages import rfc3339, stamp

RUNNING = "running"
LOST = "lost"
"""The reason of a failure that nobody reported: the runner fell silent."""

EXECUTION = Transitions(
    "execution",
    {
        "complete": {RUNNING: "completed"},
        "fail": {RUNNING: "failed"},
        "cancel": {RUNNING: "cancelled"},
    },
)


class Progress(TypedDict):
    """How far it is; `done` may exceed an estimated `total`."""

    done: float
    total: float
    message: str | None


class ExecutionView(TypedDict):
    """An execution. `status` is running, completed, failed or cancelled.

    `first_seq` and `last_seq` are the oldest and the newest line that is kept (1 and 0: none),
    `log_bytes` what they take. `version` counts changes of status and progress, not lines.
    """

    execution_id: str
    name: str
    command: str | None
    card_id: str | None
    status: str
    reason: str | None
    message: str | None
    exit_code: int | None
    progress: Progress | None
    first_seq: int
    last_seq: int
    log_bytes: int
    url: str
    websocket: str
    version: int
    created_by: str
    started_at: str
    finished_at: str | None


class BegunView(ExecutionView):
    """An execution as its runner sees it when it begins: `runner_key` is shown this once."""

    runner_key: str


def view(row: Row[Any]) -> ExecutionView:
    id = row.execution_id
    return {
        "execution_id": id,
        "name": row.name,
        "command": row.command,
        "card_id": row.card_id,
        "status": row.status,
        "reason": row.reason,
        "message": row.message,
        "exit_code": row.exit_code,
        "progress": row.progress,
        "first_seq": row.first_seq,
        "last_seq": row.last_seq,
        "log_bytes": row.log_bytes,
        "url": f"/#/executions/{id}",
        "websocket": f"/ws/execution/{id}",
        "version": row.version,
        "created_by": row.created_by,
        "started_at": rfc3339(row.started_at),
        "finished_at": stamp(row.finished_at),
    }


def channel_of(execution_id: str) -> str:
    """Where everything about an execution is announced."""
    return f"execution:{execution_id}"


def refuse_ended(row: Row[Any], what: str) -> NoReturn:
    """Say no to what an execution that has ended does not take.

    Raises:
        Refused: 409 with its `state`, the `reason` and the `legal` moves.
    """
    how = row.status if row.reason != LOST else f"{row.status} (its runner was lost)"
    raise Refused(
        codes.CONFLICT,
        f"the execution is {how} {what}",
        state=row.status,
        reason=row.reason,
        legal=EXECUTION.legal(row.status),
    )
