"""Requests whose body is measured while it comes and read as JSON, and keys that are no tokens."""

from __future__ import annotations

import hmac
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Annotated, Any

from fastapi import Depends, HTTPException
from fastapi.security import APIKeyHeader, HTTPBearer
from pydantic import BaseModel
from starlette.requests import Request

from cardume.errors import Invalid
from cardume.wire import json

MAX_BODY = 64 * 1024
"""Bytes of a request's body, where its route does not say otherwise."""

ApiKey = Annotated[str | None, Depends(APIKeyHeader(name="X-API-Key", auto_error=False))]

Bearer = Annotated[object, Depends(HTTPBearer(auto_error=False))]
"""For a parameter that says in the API's description that a bearer token is taken."""


def is_key(given: str | None, api_key: str | None) -> bool:
    """Whether the key shown is the one configured; without one configured no key is."""
    if given is None or api_key is None:
        return False
    return hmac.compare_digest(given.encode(), api_key.encode())


class JsonRequest(Request):
    """A request that holds `limit` bytes of its body at most, and whose body is JSON or a form.

    FastAPI reads a body before it asks who sends it, so anybody's goes through here. `limit` may
    change until the body is read. Reading it in any way raises `HTTPException`: 413, it is too
    long; 415, it has another type; 400, it is not JSON, or not as `cardume.wire.json` wants it.
    """

    def __init__(self, request: Request, limit: int = MAX_BODY) -> None:
        super().__init__(request.scope, request.receive, request._send)
        self._request = request
        self.limit = limit
        self.any_type = False
        """Whether JSON is taken whatever its Content-Type says."""

    async def stream(self) -> AsyncGenerator[bytes, None]:
        if hasattr(self, "_body"):
            yield self._body
            return
        announced = self.headers.get("content-length", "")
        # 20 digits tell, and int() raises for thousands of them.
        size = int(announced[:20]) if announced.isdecimal() else 0
        self._check(size)
        size = 0
        async with aclosing(self._request.stream()) as chunks:
            async for chunk in chunks:
                size += len(chunk)
                self._check(size)  # a sender need not say its length beforehand
                yield chunk

    async def body(self) -> bytes:
        body = await super().body()
        if body and not self.any_type and not _is_json(self.headers.get("content-type", "")):
            raise HTTPException(
                415, "send Content-Type: application/json", {"Accept": "application/json"}
            )
        return body

    async def json(self) -> Any:
        if not hasattr(self, "_json"):
            try:
                self._json = json.parse(await self.body())
            except Invalid as error:
                raise HTTPException(400, str(error)) from None
        return self._json

    def _check(self, size: int) -> None:
        if size > self.limit:
            raise HTTPException(413, f"at most {self.limit} bytes in a request")


async def read_body(request: Request, limit: int) -> bytes:
    """The body of a call that reads by hand, of `limit` bytes at most; never is more held.

    Raises:
        HTTPException: 413, too long; 415, a body that does not say that it is JSON.
    """
    return await _measured(request, limit).body()


async def read_json(request: Request, limit: int, *, any_type: bool = False) -> Any:
    """The body as JSON, for a call that reads by hand; `any_type` overlooks its Content-Type.

    Raises:
        HTTPException: as `read_body`; 400, not JSON.
    """
    measured = _measured(request, limit)
    measured.any_type = any_type
    return await measured.json()


def body_of(model: type[BaseModel]) -> dict[str, Any]:
    """`openapi_extra` of a call that reads its body by hand. No recursive model."""
    schema = model.model_json_schema()
    # Written out: nobody puts the models within it where a reference would look for them.
    schema = _inlined(schema, schema.pop("$defs", {}))
    return {"requestBody": {"content": {"application/json": {"schema": schema}}, "required": True}}


def _inlined(node: Any, definitions: Mapping[str, Any]) -> Any:
    if isinstance(node, list):
        return [_inlined(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    whole = {name: _inlined(below, definitions) for name, below in node.items() if name != "$ref"}
    if isinstance(node.get("$ref"), str):
        named = definitions[node["$ref"].rpartition("/")[2]]
        return _inlined(named, definitions) | whole
    return whole


def _measured(request: Request, limit: int) -> JsonRequest:
    measured = request if isinstance(request, JsonRequest) else JsonRequest(request)
    measured.limit = limit
    return measured


def _is_json(content_type: str) -> bool:
    kind, _, subtype = content_type.partition(";")[0].strip().lower().partition("/")
    return kind == "application" and (subtype == "json" or subtype.endswith("+json"))
