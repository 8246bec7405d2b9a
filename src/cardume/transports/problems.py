"""Errors of the HTTP API as ``application/problem+json`` (RFC 9457).

A route class and not a handler of the application, so that an app of ours answers alike in
everybody's FastAPI project. Codes and their numbers are those of the connections.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Mapping
from typing import Any, ClassVar

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException  # FastAPI's own is a kind of it
from starlette.responses import JSONResponse

from cardume.errors import Invalid, Refused, Unavailable
from cardume.hub.faults import said
from cardume.transports.faults import faults_of
from cardume.transports.requests import MAX_BODY, JsonRequest
from cardume.wire import codes
from cardume.wire.codes import ErrorCode

MEDIA_TYPE = "application/problem+json"

RETRY_AFTER = "2"

MAX_NOT_FOUND = 128
"""Characters of a detail that says what is not there: it quotes an address."""

SCHEMA: dict[str, Any] = {
    "title": "Problem",
    "description": "What went wrong (RFC 9457); some problems have more members.",
    "type": "object",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "description": "the name to act upon"},
        "errors": {
            "type": "array",
            "description": "the fields that are missing or wrong",
            "items": {
                "type": "object",
                "required": ["field", "message"],
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}

_READS = frozenset({"GET", "HEAD"})
_NO_ANSWER = "no answer can be given now; try again"
_NOT_KEPT = "nothing was kept; try again"

_ALWAYS = (codes.UNAUTHORIZED, codes.PERMISSION_DENIED, codes.NOT_FOUND, codes.INVALID_FIELDS)
_WHERE_CHANGED = (codes.CONFLICT,)
_WHERE_SENT = (codes.LIMIT_EXCEEDED, codes.UNSUPPORTED_MEDIA_TYPE)


class ProblemRoute(APIRoute):
    """A route whose faults are problem documents: `APIRouter(route_class=ProblemRoute)`.

    Its body is JSON of `max_body` bytes at most, or a form; an endpoint that reads by hand says
    its own limit to `cardume.transports.requests.read_body`.
    """

    max_body: ClassVar[int] = MAX_BODY

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        declared = _responses(options.get("methods") or ("GET",))
        options["responses"] = declared | (options.get("responses") or {})
        super().__init__(path, endpoint, **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handler(JsonRequest(request, self.max_body))
            except (Refused, Invalid, Unavailable, HTTPException, RequestValidationError) as error:
                return problem_for(error, method=request.method)

        return answer


def problem_for(error: Exception, *, method: str = "POST") -> Response:
    """The document that says what `error` says; where nothing is changed, nothing is kept."""
    match error:
        case Refused():
            return problem(error.code, error.message, extra=error.extra)
        case Invalid():
            return problem(codes.INVALID_FIELDS, str(error))
        case Unavailable():
            return problem(
                codes.NOT_AVAILABLE,
                _NO_ANSWER if method in _READS else _NOT_KEPT,
                headers={"Retry-After": RETRY_AFTER},
            )
        case RequestValidationError():
            if any(e["type"] == "json_invalid" for e in error.errors()):
                return problem(codes.BAD_REQUEST, "not valid JSON")
            faults = faults_of(error)
            return problem(
                codes.INVALID_FIELDS,
                said(faults, 500),
                extra={"errors": faults},
            )
        case HTTPException():
            code = codes.error_of_status(error.status_code)
            return problem(code, str(error.detail), status=error.status_code, headers=error.headers)
    raise error


def problem(
    code: ErrorCode,
    detail: str,
    *,
    status: int | None = None,
    extra: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A problem document; `extra` are more members of it (RFC 9457 §3.2)."""
    status = status or code.status
    if code is codes.NOT_FOUND and len(detail) > MAX_NOT_FOUND:
        detail = detail[: MAX_NOT_FOUND - 1] + "…"
    body = {
        **(extra or {}),
        "type": f"urn:cardume:error:{code.name}",
        "title": code.message,
        "status": status,
        "detail": detail,
        "code": code.name,
    }
    return JSONResponse(body, status, dict(headers or {}), media_type=MEDIA_TYPE)


def _responses(methods: Collection[str]) -> dict[int | str, dict[str, Any]]:
    """What a route of these methods may answer beside its own, for OpenAPI."""
    possible = list(_ALWAYS)
    if not _READS.issuperset(methods):
        possible += _WHERE_CHANGED
    if not {"POST", "PUT", "PATCH"}.isdisjoint(methods):
        possible += _WHERE_SENT
    # Written out each time: a route cannot put a schema beside itself, and a reference to one
    # that an application lacks makes the whole document wrong.
    content = {MEDIA_TYPE: {"schema": SCHEMA}}
    return {
        code.status: {"description": code.message.capitalize(), "content": content}
        for code in sorted(possible, key=lambda code: code.status)
    }
