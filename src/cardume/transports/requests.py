"""Requests whose body is measured before it is read as JSON, and keys that are no tokens."""

from __future__ import annotations

import hmac
from typing import Annotated, Any

from fastapi import Header
from pydantic import BaseModel
from starlette.requests import Request

from cardume.errors import Invalid, Refused
from cardume.wire import codes, json

ApiKey = Annotated[str | None, Header(alias="X-API-Key")]


def is_key(given: str | None, api_key: str | None) -> bool:
    """Whether the key shown is the one configured; without one configured no key is."""
    if given is None or api_key is None:
        return False
    return hmac.compare_digest(given.encode(), api_key.encode())


async def read_body(request: Request, limit: int) -> bytes:
    """The body, of `limit` bytes at most; no longer one is ever held.

    Raises:
        Refused: too long (413).
    """
    too_long = Refused(codes.LIMIT_EXCEEDED, f"at most {limit} bytes in a request")
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise too_long
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:  # a sender need not say its length beforehand
            raise too_long
    return bytes(body)


async def read_json(request: Request, limit: int) -> Any:
    """The body, of `limit` bytes at most, as JSON.

    Raises:
        Refused: too long (413), or no JSON (400).
    """
    try:
        return json.parse(await read_body(request, limit))
    except Invalid as error:
        raise Refused(codes.BAD_REQUEST, str(error)) from None


def body_of(model: type[BaseModel]) -> dict[str, Any]:
    """`openapi_extra` of a call that reads its body by hand."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    return {"requestBody": {"content": {"application/json": {"schema": schema}}, "required": True}}
