"""Errors of the HTTP API as ``application/problem+json`` (RFC 9457).

A route class and not a handler of the application, so that an app of ours answers alike in
everybody's FastAPI project. Codes and their numbers are those of the connections.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException  # FastAPI's own is a kind of it
from starlette.responses import JSONResponse

from cardume.errors import Invalid, Refused, Unavailable
from cardume.wire import codes
from cardume.wire.codes import ErrorCode

MEDIA_TYPE = "application/problem+json"

RETRY_AFTER = "2"


class ProblemRoute(APIRoute):
    """A route whose faults are problem documents: `APIRouter(route_class=ProblemRoute)`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handler(request)
            except (Refused, Invalid, Unavailable, HTTPException, RequestValidationError) as error:
                return problem_for(error)

        return answer


def problem_for(error: Exception) -> Response:
    """The document that says what `error` says."""
    match error:
        case Refused():
            return problem(error.code, error.message, extra=error.extra)
        case Invalid():
            return problem(codes.INVALID_FIELDS, str(error))
        case Unavailable():
            return problem(
                codes.NOT_AVAILABLE,
                "nothing was kept; try again",
                headers={"Retry-After": RETRY_AFTER},
            )
        case RequestValidationError():
            if any(e["type"] == "json_invalid" for e in error.errors()):
                return problem(codes.BAD_REQUEST, "not valid JSON")
            faults = [{"field": _field(e["loc"]), "message": e["msg"]} for e in error.errors()]
            return problem(
                codes.INVALID_FIELDS,
                "; ".join(f"{fault['field']}: {fault['message']}" for fault in faults)[:500],
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
    body = {
        **(extra or {}),
        "type": f"urn:cardume:error:{code.name}",
        "title": code.message,
        "status": status,
        "detail": detail,
        "code": code.name,
    }
    return JSONResponse(body, status, dict(headers or {}), media_type=MEDIA_TYPE)


def _field(location: tuple[int | str, ...]) -> str:
    """The place of a fault without pydantic's first word, which says where it looked."""
    return ".".join(str(part) for part in location[1:]) or str(location[0])
