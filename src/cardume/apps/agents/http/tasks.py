"""Tasks: asked for, taken, done."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from cardume.apps.agents.app import CurrentAgents
from cardume.apps.agents.task import (
    Assign,
    Cancel,
    Complete,
    Fail,
    NewTask,
    Start,
    TaskStatus,
    TaskView,
    task_number,
)
from cardume.storage.tables import tasks
from cardume.transports.fastapi import CurrentIdentity
from cardume.transports.paging import Cursor, Limit, Page, foreign_cursor, page, position
from cardume.transports.problems import ProblemRoute

router = APIRouter(prefix="/coordination/tasks", route_class=ProblemRoute, tags=["tasks"])

Filter = Annotated[str | None, Query(max_length=100)]


@router.post("", status_code=201)
async def create_task(body: NewTask, app: CurrentAgents, who: CurrentIdentity) -> TaskView:
    """For admins and services. It waits, `created`, until somebody assigns it."""
    return await app.tasks.create(who, body)


@router.get("")
async def list_tasks(
    app: CurrentAgents,
    who: CurrentIdentity,
    status: Annotated[TaskStatus | None, Query()] = None,
    agent_id: Filter = None,
    task_type: Filter = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[TaskView]:
    """The most urgent first, and of those the oldest."""
    given = {tasks.c.status: status, tasks.c.agent_id: agent_id, tasks.c.task_type: task_type}
    where = [column == wanted for column, wanted in given.items() if wanted is not None]
    found = await app.tasks.find(where, _place(cursor), limit + 1)
    return page(found, limit, lambda task: [task["priority"], task_number(task["task_id"])])


@router.get("/{task_id}")
async def get_task(task_id: str, app: CurrentAgents, who: CurrentIdentity) -> TaskView:
    return await app.tasks.get(task_id)


@router.post("/{task_id}/assign")
async def assign_task(
    task_id: str, app: CurrentAgents, who: CurrentIdentity, body: Assign | None = None
) -> TaskView:
    """Give it to `agent_id`, or to the active agent that can do it and has the fewest in hand.

    With an agent's own token it takes the task for itself. 409: somebody has it already
    (`legal` names the moves), or nobody can have it (`reason`).
    """
    return await app.tasks.assign(who, task_id, body or Assign(agent_id=None))


@router.post("/{task_id}/start")
async def start_task(
    task_id: str, app: CurrentAgents, who: CurrentIdentity, body: Start | None = None
) -> TaskView:
    """The owner begins; with `lease_seconds` the time for the next step begins too.

    409 where `agent_id` or `attempt` are sent and the task is somebody else's by now.
    """
    return await app.tasks.start(who, task_id, body or Start(agent_id=None))


@router.post("/{task_id}/complete")
async def complete_task(
    task_id: str, app: CurrentAgents, who: CurrentIdentity, body: Complete | None = None
) -> TaskView:
    """The owner is done."""
    return await app.tasks.complete(who, task_id, body or Complete(agent_id=None))


@router.post("/{task_id}/fail")
async def fail_task(
    task_id: str, app: CurrentAgents, who: CurrentIdentity, body: Fail | None = None
) -> TaskView:
    """The owner gives up: for good, or with `retry` for another attempt if any are left."""
    return await app.tasks.fail(who, task_id, body or Fail(agent_id=None, error=None))


@router.post("/{task_id}/cancel")
async def cancel_task(
    task_id: str, app: CurrentAgents, who: CurrentIdentity, body: Cancel | None = None
) -> TaskView:
    """Nobody needs it any more."""
    return await app.tasks.cancel(who, task_id, body or Cancel(reason=None))


def _place(cursor: str | None) -> tuple[int, int] | None:
    match position(cursor, list):
        case None:
            return None
        case [int(priority), int(number)]:
            return priority, number
    raise foreign_cursor()
