"""Actions: what a client may ask for by name. Each is the twin of an HTTP call."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError
from starlette.exceptions import HTTPException

from cardume.auth.identity import Identity
from cardume.errors import ConfigurationError, Refused
from cardume.hub.faults import describe
from cardume.hub.guards import refusal
from cardume.wire import codes

Handler = Callable[[Identity, Any], Awaitable[Any]]


class Actions:
    """Handlers by name. A handler takes the identity and one body, validated by its annotation."""

    def __init__(self) -> None:
        self._handlers: dict[str, tuple[Handler, TypeAdapter[Any]]] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._handlers

    def add(self, name: str, handler: Handler) -> None:
        if name in self._handlers:
            raise ConfigurationError(f"action {name!r} is declared twice")
        parameters = list(inspect.signature(handler).parameters)
        if len(parameters) != 2:
            raise ConfigurationError(f"action {name!r} takes (identity, body)")
        hints = get_type_hints(handler, include_extras=True)
        self._handlers[name] = (handler, TypeAdapter(hints.get(parameters[1], dict)))

    async def run(self, identity: Identity, name: str, body: dict[str, Any]) -> Any:
        """What the handler answers.

        Raises:
            Refused: no such action, a body that does not fit, or the handler's own refusal.
        """
        found = self._handlers.get(name)
        if found is None:
            known = ", ".join(sorted(self._handlers)) or "none"
            raise Refused(codes.METHOD_NOT_FOUND, f"actions here: {known}")
        handler, adapter = found
        try:
            checked = adapter.validate_python(body)
        except ValidationError as error:
            raise Refused(codes.INVALID_FIELDS, describe(error, body)) from None
        try:
            return await handler(identity, checked)
        except HTTPException as error:
            raise refusal(error.status_code, error.detail) from error
