"""`POST /api/<method>` with `X-API-Key`, in Centrifugo's shapes, so that its clients work.

Answered calls are 200 with `result` or `error`; 401 without the key, 400 for what is not JSON,
409 for an idempotency key that was used with another body, 413 for too much at once, 503 while
draining or where it was not kept.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from fastapi import APIRouter, HTTPException, Request, Response
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

import cardume
from cardume.errors import Refused, Unavailable
from cardume.transports.fastapi import Hub
from cardume.transports.problems import RETRY_AFTER, ProblemRoute, problem_for
from cardume.transports.requests import ApiKey, body_of, is_key
from cardume.transports.server_api import channels, requests, results, users
from cardume.transports.server_api.faults import error_of
from cardume.transports.server_api.reading import read_call
from cardume.wire import codes, json

MAX_BODY = 1024 * 1024
"""Bytes of a batch or a broadcast. Any other call is one message, and has a message's limit."""

PREFIX = "/api"

Call = Callable[[Request, str | None], Awaitable[Response]]
Run = Callable[[Hub, Any], Awaitable[Any]]


class Method(NamedTuple):
    """A call: what it takes, what it does, what it answers."""

    request: type[requests.Request]
    run: Run
    result: Any


class ServerApi:
    """The server API of `hub`: ``app.include_router(ServerApi(hub, api_key=…).router)``.

    Without an `api_key` nobody may call it.
    """

    def __init__(self, hub: Hub, *, api_key: str | None = None) -> None:
        self._hub = hub
        self._api_key = api_key or None  # an empty key is no secret
        self._uid = secrets.token_hex(8)
        self._since = hub.clock.monotonic()
        self._methods: Mapping[str, Method] = {
            **_METHODS,
            "info": Method(requests.InfoRequest, self._info, results.InfoResult),
        }
        self.calls: dict[str, ASGIApp] = {}
        """The same calls by path, for a server that lets nothing of an application cost them."""
        self.router = APIRouter(
            prefix=PREFIX, lifespan=self._lifespan, route_class=ProblemRoute, tags=["server API"]
        )
        for name, method in self._methods.items():
            self._route(name, method)
        self._route_batch()

    # -- addresses --------------------------------------------------------------------------

    def _route(self, name: str, method: Method) -> None:
        many = name == "broadcast"
        answer: Any = results.Answer

        async def call(request: Request, key: ApiKey = None) -> Response:
            sent = await self._read(request, key, many=many)
            try:
                result = await self._run(method, sent)
            except Exception as error:
                if isinstance(error, Unavailable) or _is_conflict(error):
                    raise  # to be told from an answer without reading it
                return _json({"error": error_of(error)})
            return _json({"result": result})

        self.calls[f"{PREFIX}/{name}"] = _Direct(call)
        self.router.add_api_route(
            f"/{name}",
            call,
            methods=["POST"],
            name=name,
            description=method.run.__doc__,
            response_model=answer[method.result],
            openapi_extra=body_of(method.request),
        )

    def _route_batch(self) -> None:
        @self.router.post(
            "/batch",
            response_model=results.BatchResult,
            openapi_extra=body_of(requests.BatchRequest),
        )
        async def batch(request: Request, key: ApiKey = None) -> Response:
            """Up to 1000 commands in one call; each has a reply of its own."""
            sent = await self._read(request, key, many=True)
            try:
                asked = requests.BatchRequest.model_validate(sent)
            except Exception as error:
                return _json({"error": error_of(error)})
            # An engine in memory never waits: all that is published is so in one turn of the loop.
            if asked.parallel:
                replies = await asyncio.gather(*map(self._reply, asked.commands))
            else:
                replies = [await self._reply(command) for command in asked.commands]
            return _json({"replies": replies})

        self.calls[f"{PREFIX}/batch"] = _Direct(batch)

    @asynccontextmanager
    async def _lifespan(self, app: Any) -> AsyncIterator[Mapping[str, Any]]:
        # The hub's own lifespan: whichever of the two routers comes first, the hub is entered.
        async with self._hub.router.lifespan_context(app) as state:
            yield state or {}

    # -- calls ------------------------------------------------------------------------------

    async def _read(self, request: Request, key: str | None, *, many: bool) -> Any:
        """What was sent, by somebody who has the key.

        Raises:
            Refused: nobody.
            HTTPException: not now, too long, or not JSON.
        """
        if not is_key(key, self._api_key):
            raise Refused(codes.UNAUTHORIZED, "the header X-API-Key holds the API key")
        if self._hub.draining:
            raise HTTPException(503, "the server is shutting down", {"Retry-After": RETRY_AFTER})
        limit = MAX_BODY if many else self._hub.options.max_message
        return await read_call(request, limit)

    async def _run(self, method: Method, sent: Any) -> Any:
        return await method.run(self._hub, method.request.model_validate(sent))

    async def _reply(self, command: dict[str, Any]) -> dict[str, Any]:
        """The answer to a command of a batch, whatever it is."""
        try:
            if len(command) != 1:
                raise Refused(codes.BAD_REQUEST, "a command has one member, its method")
            [(name, sent)] = command.items()
            if name not in self._methods:
                raise Refused(codes.METHOD_NOT_FOUND, "no such method")
            return {name: await self._run(self._methods[name], sent)}
        except Exception as error:
            return {"error": error_of(error)}

    async def _info(self, hub: Hub, _asked: requests.InfoRequest) -> results.InfoResult:
        """What this node has on it."""
        here = hub.channels()
        node: results.Node = {
            "uid": self._uid,
            "name": socket.gethostname(),
            "version": cardume.__version__,
            "num_clients": hub.stats.active_connections,
            "num_users": hub.users,
            "num_channels": len(here),
            "num_subs": sum(here.values()),
            "uptime": int(hub.clock.monotonic() - self._since),
        }
        return {"nodes": [node]}


class _Direct:
    """A call as an ASGI app of its own."""

    def __init__(self, call: Call) -> None:
        self._call = call

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        try:
            response = await self._call(request, request.headers.get("x-api-key"))
        except ClientDisconnect:
            return
        except (Refused, Unavailable, HTTPException) as error:
            response = problem_for(error)
        await response(scope, receive, send)


_METHODS: Mapping[str, Method] = {
    "publish": Method(requests.PublishRequest, channels.publish, results.PublishResult),
    "broadcast": Method(requests.BroadcastRequest, channels.broadcast, results.BroadcastResult),
    "subscribe": Method(requests.SubscribeRequest, users.subscribe, results.Nothing),
    "unsubscribe": Method(requests.UnsubscribeRequest, users.unsubscribe, results.Nothing),
    "disconnect": Method(requests.DisconnectRequest, users.disconnect, results.Nothing),
    "refresh": Method(requests.RefreshRequest, users.refresh, results.Nothing),
    "block_user": Method(requests.BlockUserRequest, users.block_user, results.Nothing),
    "unblock_user": Method(requests.UnblockUserRequest, users.unblock_user, results.Nothing),
    "presence": Method(requests.ChannelRequest, channels.presence, results.PresenceResult),
    "presence_stats": Method(
        requests.ChannelRequest, channels.presence_stats, results.PresenceStatsResult
    ),
    "history": Method(requests.HistoryRequest, channels.history, results.HistoryResult),
    "history_remove": Method(requests.ChannelRequest, channels.history_remove, results.Nothing),
    "channels": Method(requests.ChannelsRequest, channels.channels, results.ChannelsResult),
}


def _is_conflict(error: Exception) -> bool:
    return isinstance(error, Refused) and error.code is codes.CONFLICT


def _json(said: Any) -> Response:
    return Response(json.encode(said), media_type="application/json")
