"""The server API: `POST /api/publish` with `X-API-Key`, in Centrifugo's shapes.

Answered calls are 200 with `result` or `error`; 401 without the key, 400 for what is not JSON,
503 while draining or where it was not kept.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from msgspec import Raw
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.responses import JSONResponse

from cardume.errors import Invalid, Refused, Unavailable
from cardume.hub.actions import describe
from cardume.hub.hub import Hub
from cardume.transports.fastapi import CurrentHub
from cardume.transports.problems import problem
from cardume.transports.requests import ApiKey, body_of, is_key, read_json
from cardume.wire import codes, json


class PublishRequest(BaseModel):
    """Any JSON to any channel. `type`, `key` and `source` are ours, the rest is Centrifugo's."""

    model_config = ConfigDict(extra="ignore", strict=True)

    channel: str
    data: Any
    type: str | None = Field(None, min_length=1, max_length=64)
    key: str | None = Field(None, max_length=255)
    source: str | None = Field(None, max_length=255)
    tags: dict[str, str] | None = Field(None, max_length=32)
    idempotency_key: str | None = Field(None, min_length=1, max_length=128)


def router(api_key: str | None) -> APIRouter:
    """`/api/publish`, guarded by `api_key`; without one configured nobody may call it."""
    whole = APIRouter(prefix="/api", tags=["server API"])

    @whole.post("/publish", openapi_extra=body_of(PublishRequest))
    async def publish(request: Request, hub: CurrentHub, key: ApiKey = None) -> Response:
        """Publish any JSON on any channel; the answer is its position."""
        if not is_key(key, api_key):
            return problem(codes.UNAUTHORIZED, "the header X-API-Key holds the API key")
        if hub.draining:
            return _unavailable("the server is shutting down")
        try:
            sent = await read_json(request, hub.options.max_message)
        except Refused as refused:
            return problem(refused.code, refused.message)
        return await _publish(hub, sent)

    return whole


async def _publish(hub: Hub, sent: Any) -> Response:
    try:
        asked = PublishRequest.model_validate(sent)
        position = await hub.publish(
            asked.channel,
            asked.type,
            # Validated by `parse`: encode it once here and share the bytes.
            Raw(json.encode(asked.data)),
            key=asked.key,
            source=asked.source,
            tags=asked.tags,
            idempotency_key=asked.idempotency_key,
        )
    except ValidationError as error:
        return _error(codes.BAD_REQUEST, describe(error))
    except Invalid as error:
        return _error(codes.BAD_REQUEST, str(error))
    except Refused as refused:
        if refused.code is codes.CONFLICT:
            return problem(refused.code, refused.message)
        return _error(refused.code, refused.message)
    except Unavailable:
        return _unavailable("it was not kept")
    return JSONResponse({"result": {"offset": position.offset, "epoch": position.epoch}})


def _error(code: codes.ErrorCode, message: str) -> Response:
    return JSONResponse({"error": {"code": code.number, "message": message}})


def _unavailable(why: str) -> Response:
    return problem(codes.NOT_AVAILABLE, why, headers={"Retry-After": "2"})
