"""Authorisation functions, called directly or through FastAPI's dependencies.

A function that takes only the identity and the channel's parameters is called as it is. One that
takes more is registered as a route of a FastAPI app of its own that is never mounted, and asked
with a made-up request: dependencies, `dependency_overrides`, validation and `HTTPException` work
as everywhere, by public API alone. What calls `solve_dependencies` breaks with FastAPI's minors.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, get_type_hints

from fastapi import Depends, FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import TypeAdapter, ValidationError
from starlette.exceptions import HTTPException

from cardume.auth.identity import Identity
from cardume.errors import ConfigurationError, Refused
from cardume.hub.namespaces import ChannelTemplate, Guard, text_of
from cardume.wire import codes

Function = Callable[..., Awaitable[None] | None]

IDENTITY = "cardume.identity"
"""Where the made-up request of a `DependencyGuard` holds who asks, in its ASGI scope."""


def guard_for(function: Function, template: ChannelTemplate) -> Guard:
    """The guard that asks `function` about channels of `template`.

    Raises:
        ConfigurationError: the function does not take every parameter of the template.
    """
    hints = get_type_hints(function, include_extras=True)
    parameters = inspect.signature(function).parameters
    missing = [name for name in template.parameters if name not in parameters]
    if missing:
        raise ConfigurationError(
            f"{function.__qualname__}() decides about {template.text!r} "
            f"and so has to take {', '.join(missing)}"
        )
    identity = next((n for n in parameters if _is_identity(n, hints.get(n))), None)
    adapters = {name: TypeAdapter(hints.get(name, str)) for name in template.parameters}
    if set(parameters) <= {*template.parameters, identity}:
        return DirectGuard(function, adapters, identity)
    return DependencyGuard(function, adapters, identity, hints)


def _is_identity(name: str, hint: Any) -> bool:
    return hint is Identity or (name == "identity" and hint is None)


class DirectGuard:
    """Calls the function itself: no request, no dependency stack, about 2 µs."""

    def __init__(
        self, function: Function, adapters: Mapping[str, TypeAdapter[Any]], identity: str | None
    ) -> None:
        self._function = function
        self._adapters = adapters
        self._identity = identity
        self._is_async = inspect.iscoroutinefunction(function)

    def convert(self, raw: Mapping[str, str]) -> dict[str, Any]:
        try:
            return {name: type.validate_strings(raw[name]) for name, type in self._adapters.items()}
        except ValidationError:
            raise Refused(codes.INVALID_FIELDS, "a parameter of the channel is wrong") from None

    async def check(
        self, identity: Identity, parameters: Mapping[str, Any], scope: Mapping[str, Any]
    ) -> None:
        arguments = dict(parameters)
        if self._identity is not None:
            arguments[self._identity] = identity
        try:
            await self._call(arguments)
        except HTTPException as error:
            raise refusal(error.status_code, error.detail) from error

    async def _call(self, arguments: Mapping[str, Any]) -> None:
        if self._is_async:
            result = self._function(**arguments)
            assert inspect.isawaitable(result)
            await result
        else:
            await run_in_threadpool(self._function, **arguments)


class DependencyGuard(DirectGuard):
    """Asks through FastAPI, for functions that declare `Depends`, headers, cookies, queries."""

    def __init__(
        self,
        function: Function,
        adapters: Mapping[str, TypeAdapter[Any]],
        identity: str | None,
        hints: Mapping[str, Any],
    ) -> None:
        super().__init__(function, adapters, identity)
        self._app = FastAPI(openapi_url=None)
        self._app.add_api_route(
            "/" + "/".join(f"{{{name}}}" for name in adapters),
            self._endpoint(hints),
            status_code=204,
            response_class=Response,
        )

    async def check(
        self, identity: Identity, parameters: Mapping[str, Any], scope: Mapping[str, Any]
    ) -> None:
        outer = scope.get("app")
        if isinstance(outer, FastAPI):
            self._app.dependency_overrides = outer.dependency_overrides
            self._app.state = outer.state
        answer = _Answer()
        await self._app(_request(scope, identity, parameters), answer.receive, answer.send)
        if answer.status >= 400:
            raise refusal(answer.status, None)

    def _endpoint(self, hints: Mapping[str, Any]) -> Callable[..., Any]:
        async def endpoint(**arguments: Any) -> None:
            await self._call(arguments)

        signature = inspect.signature(self._function)
        endpoint.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=[
                parameter.replace(
                    kind=inspect.Parameter.KEYWORD_ONLY,
                    annotation=Annotated[Identity, Depends(_identity_of)]
                    if name == self._identity
                    else hints.get(name, parameter.annotation),
                )
                for name, parameter in signature.parameters.items()
            ],
            return_annotation=None,
        )
        return endpoint


def refusal(status: int, detail: Any) -> Refused:
    """What an HTTP error says, in the hub's words."""
    return Refused(codes.error_of_status(status), detail if isinstance(detail, str) else None)


async def _identity_of(request: Request) -> Identity:
    identity: Identity = request.scope[IDENTITY]
    return identity


def _request(
    scope: Mapping[str, Any], identity: Identity, parameters: Mapping[str, Any]
) -> dict[str, Any]:
    path = "/" + "/".join(text_of(value) for value in parameters.values())
    return {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "http_version": "1.1",
        "scheme": {"wss": "https"}.get(scope.get("scheme", "ws"), "http"),
        "query_string": scope.get("query_string", b""),
        "headers": scope.get("headers", []),
        "client": scope.get("client"),
        "server": scope.get("server"),
        "state": dict(scope.get("state", {})),
        IDENTITY: identity,
    }


class _Answer:
    """The other end of the made-up request; only its status matters."""

    def __init__(self) -> None:
        self.status = 500

    async def receive(self) -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(self, message: Mapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
