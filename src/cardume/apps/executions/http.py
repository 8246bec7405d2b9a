"""The app's HTTP API below ``/api/v1/executions``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy import select

from cardume.apps.executions import batch, store
from cardume.apps.executions.app import CurrentExecutions, Executions
from cardume.apps.executions.credentials import ReportingIdentity
from cardume.apps.executions.log import Appended
from cardume.apps.executions.reports import Completion, Failure, NewExecution, ProgressReport
from cardume.apps.executions.views import BegunView, ExecutionView, view
from cardume.errors import Invalid
from cardume.storage.tables import executions
from cardume.transports.apps import router_of
from cardume.transports.fastapi import CurrentIdentity
from cardume.transports.paging import Cursor, Limit, Page, page, position
from cardume.transports.problems import ProblemRoute
from cardume.transports.requests import read_body
from cardume.wire import json

routes = APIRouter(prefix="/executions", route_class=ProblemRoute, tags=["executions"])

Status = Literal["running", "completed", "failed", "cancelled"]
Seq = Annotated[int | None, Query(ge=0, le=2**53)]
Lines = Annotated[int, Query(ge=1, le=5000, description="how many lines at most")]

_LINE = {
    "type": "object",
    "required": ["seq", "stream", "text", "at"],
    "additionalProperties": False,
    "properties": {
        "seq": {"type": "integer", "minimum": 1},
        "stream": {"enum": ["stdout", "stderr"]},
        "text": {"type": "string"},
        "at": {"type": "string", "format": "date-time"},
        "truncated": {"type": "boolean", "default": False},
    },
}
_LINES = {"type": "array", "items": _LINE, "maxItems": batch.MAX_LINES}
_LOG_BODY = {
    "type": "object",
    "required": ["lines"],
    "additionalProperties": False,
    "properties": {"lines": _LINES},
}
_LOG_PAGE = {
    "type": "object",
    "properties": {
        "lines": {"type": "array", "items": _LINE},
        "first_seq": {"type": "integer"},
        "last_seq": {"type": "integer"},
        "previous": {"type": ["integer", "null"]},
        "next": {"type": ["integer", "null"]},
        "status": {"type": "string"},
    },
}


def _content(schema: dict[str, Any]) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": schema}}}


def router(app: Executions) -> APIRouter:
    """Addresses for `app`; including the router starts the app with the application."""
    return router_of(app, routes, prefix="/api/v1")


@routes.get("")
async def list_executions(
    app: CurrentExecutions,
    _who: CurrentIdentity,
    card_id: Annotated[str | None, Query(max_length=64)] = None,
    status: Annotated[Status | None, Query()] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[ExecutionView]:
    """All executions, the newest first."""
    query = select(executions).order_by(executions.c.number.desc()).limit(limit + 1)
    if card_id is not None:
        query = query.where(executions.c.card_id == card_id)
    if status is not None:
        query = query.where(executions.c.status == status)
    before = position(cursor, int)
    if before is not None:
        query = query.where(executions.c.number < before)
    async with app.storage.read() as connection:
        rows = (await connection.execute(query)).all()
    found = page(rows, limit, lambda row: row.number)
    return {"items": [view(row) for row in found["items"]], "next": found["next"]}


@routes.post("", status_code=201)
async def begin(body: NewExecution, app: CurrentExecutions, who: CurrentIdentity) -> BegunView:
    """Announce a command that you run. Speak again within the lease (60 s), or it is lost.

    `runner_key` reports about it in place of a token, as `X-Runner-Key`; it is shown this once.
    """
    return await app.reports.begin(who, body)


@routes.get("/{execution_id}")
async def get_execution(
    execution_id: str, app: CurrentExecutions, _who: ReportingIdentity
) -> ExecutionView:
    async with app.storage.read() as connection:
        return view(await store.find(connection, execution_id))


@routes.delete("/{execution_id}", status_code=204)
async def delete_execution(execution_id: str, app: CurrentExecutions, who: CurrentIdentity) -> None:
    """With its log, once it has ended."""
    await app.reports.delete(who, execution_id)


@routes.get("/{execution_id}/log", response_class=Response, responses={200: _content(_LOG_PAGE)})
async def read_log(
    execution_id: str,
    app: CurrentExecutions,
    _who: CurrentIdentity,
    after: Seq = None,
    before: Seq = None,
    limit: Lines = 1000,
) -> Response:
    """Lines after a `seq` (default 0: from the oldest), or before one; oldest first, 1 MiB at most.

    Lines that were dropped to bound the log are skipped: `first_seq` says where the page begins.
    """
    if before is None:
        found = await app.pages.after(execution_id, after or 0, limit)
    elif after is None:
        found = await app.pages.before(execution_id, before, limit)
    else:
        raise Invalid("after or before, not both")
    return Response(json.encode(found), media_type="application/json")


@routes.post("/{execution_id}/log", openapi_extra={"requestBody": _content(_LOG_BODY)})
async def append_log(
    execution_id: str, request: Request, app: CurrentExecutions, who: ReportingIdentity
) -> Appended:
    """Lines in the order of their `seq`; those already held are ignored. None renew the lease.

    At most 2,000 lines and 1 MiB. After a gap: 409, and `expected` says from where to send again.
    """
    body = await read_body(request, batch.MAX_BODY)
    return await app.log.append(who, execution_id, batch.parse(body))


@routes.post("/{execution_id}/progress")
async def progress(
    execution_id: str, body: ProgressReport, app: CurrentExecutions, who: ReportingIdentity
) -> ExecutionView:
    """How far it is."""
    return await app.reports.progress(who, execution_id, body)


@routes.post("/{execution_id}/complete")
async def complete(
    execution_id: str,
    app: CurrentExecutions,
    who: ReportingIdentity,
    body: Completion | None = None,
) -> ExecutionView:
    """It did what it should. Again is 200; another end or `exit_code` is 409."""
    return await app.reports.complete(who, execution_id, body or Completion())


@routes.post("/{execution_id}/fail")
async def fail(
    execution_id: str, app: CurrentExecutions, who: ReportingIdentity, body: Failure | None = None
) -> ExecutionView:
    """It did not. Again is 200; another end or `exit_code` is 409."""
    return await app.reports.fail(who, execution_id, body or Failure())


@routes.post("/{execution_id}/cancel")
async def cancel(execution_id: str, app: CurrentExecutions, who: CurrentIdentity) -> ExecutionView:
    """Nobody wants it any more; its runner hears so at its next call. Again is 200."""
    return await app.reports.cancel(who, execution_id)
