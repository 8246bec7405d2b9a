"""Rooms in a FastAPI app: `/ws` for clients in many rooms, `/ws/stats`, `/ws/broadcast`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, NotRequired

from fastapi import APIRouter, Depends
from pydantic import Field, ValidationError
from starlette.requests import Request
from starlette.routing import WebSocketRoute
from typing_extensions import TypedDict

from cardume.auth.identity import Identity, InvalidToken
from cardume.errors import Invalid, Refused, Unavailable
from cardume.hub.broadcaster import Broadcaster, check_event
from cardume.hub.connection import Connection
from cardume.hub.faults import describe
from cardume.hub.hub import Hub as BareHub
from cardume.hub.namespaces import ChannelTemplate, Namespace
from cardume.hub.rooms import DIALECT, OPTIONS, Guest, Lobby
from cardume.transports.bodies import Body
from cardume.transports.door import Visitor, identify_request
from cardume.transports.endpoint import Endpoint
from cardume.transports.entrance import serve
from cardume.transports.fastapi import CurrentIdentity, Hub
from cardume.transports.problems import ProblemRoute
from cardume.transports.requests import ApiKey, Bearer, body_of, is_key, read_json
from cardume.transports.stay import Admission
from cardume.wire import codes
from cardume.wire.events import EVERYONE

MAX_LABEL = 128
"""Characters of a client's label."""

METRICS_EVERY = 10.0
HEALTH_EVERY = 1.0
"""Seconds between two looks."""

Problems = Callable[[], list[str]]


class RoomStats(TypedDict):
    """Connections and messages of all dialects since the hub was made; `rooms` as it is now."""

    active_connections: int
    total_connections: int
    total_disconnections: int
    total_rooms: int
    messages_sent: int
    messages_received: int
    rooms: dict[str, int]


class BroadcastRequest(Body):
    """An event, for one room or for everyone."""

    event_type: str
    data: dict[str, Any] = {}
    room: str | None = None
    source: str = Field("api_server", min_length=1, max_length=255)


class Delivered(TypedDict):
    """How many connections got it, and its place in the room."""

    delivered_to: int
    epoch: NotRequired[str]
    offset: NotRequired[int]


class Rooms:
    """The rooms `agents`, `tasks`, `coordination` and `system` on `hub`, and those in `rooms`.

    `events` are names of your own (``[a-z][a-z0-9_]{0,63}``) beside the built-in ones; both may
    be said in any room. `/ws/broadcast` takes the `api_key` in ``X-API-Key``, an admin's token,
    or one whose claim ``broadcast`` is true.

    Raises:
        ConfigurationError: a name that is none, or is taken.
    """

    dialect = DIALECT

    def __init__(
        self,
        hub: Hub,
        *,
        rooms: Iterable[str] = (),
        events: Iterable[str] = (),
        api_key: str | None = None,
    ) -> None:
        self._hub = hub
        self._api_key = api_key
        self._problems: Problems | None = None
        self.lobby = Lobby(hub, rooms, events)
        self.broadcaster = Broadcaster(hub)
        for name in (*self.lobby.rooms, EVERYONE):
            hub.declare(Namespace(ChannelTemplate(name), OPTIONS, _AnyUser()))
        self.router = APIRouter(lifespan=self._lifespan, route_class=ProblemRoute, tags=["rooms"])
        self._add_routes()

    def stats(self) -> RoomStats:
        """The numbers of `/ws/stats`."""
        stats, members = self._hub.stats, self.lobby.members()
        return {
            "active_connections": stats.active_connections,
            "total_connections": stats.total_connections,
            "total_disconnections": stats.total_disconnections,
            "total_rooms": len(members),
            "messages_sent": stats.messages_sent,
            "messages_received": stats.messages_received,
            "rooms": members,
        }

    def watch_health(self, problems: Problems) -> None:
        """Say `health_changed` when `problems()` begins or ceases to name any; asked each second.

        `status` is ``healthy`` or ``unhealthy``, `details` ``{"problems": [...]}``. To be called
        before the application starts.
        """
        self._problems = problems

    async def admit(self, hub: BareHub, visitor: Visitor, scope: Mapping[str, Any]) -> Admission:
        """Any identity, with a label that can be printed."""
        identity = await visitor.identify(hub)
        label = visitor.client_id
        if len(label) > MAX_LABEL or not label.isprintable():
            raise Invalid(f"client_id is a label of at most {MAX_LABEL} printable characters")

        def begin(connection: Connection) -> Guest:
            connection.client_id = label or connection.id
            return Guest(self.lobby, connection)

        return Admission(identity, begin)

    # -- by the clock -----------------------------------------------------------------------

    @asynccontextmanager
    async def _lifespan(self, app: Any) -> AsyncIterator[Mapping[str, Any]]:
        # The hub's own lifespan: whichever of the two routers comes first, the hub is entered.
        async with self._hub.router.lifespan_context(app) as state:
            jobs = [self._hub.tasks.every(METRICS_EVERY, self._measure, "room metrics")]
            if self._problems is not None:
                job = _Health(self._problems, self.broadcaster).look
                jobs.append(self._hub.tasks.every(HEALTH_EVERY, job, "room health"))
            try:
                yield state or {}
            finally:
                await self._hub.tasks.cancel(*jobs)

    async def _measure(self) -> None:
        if self._hub.audience("system"):
            await self.broadcaster.broadcast_metrics_updated(self.stats())

    # -- addresses --------------------------------------------------------------------------

    def _add_routes(self) -> None:
        router, may_broadcast = self.router, Depends(self._check_may_broadcast)
        page = Endpoint(partial(serve, self._hub, self), "rooms")
        router.routes.append(WebSocketRoute("/ws", page, name="rooms"))

        @router.get("/ws/stats")
        async def room_stats(_who: CurrentIdentity) -> RoomStats:
            """Who is here: numbers of all dialects, and the members of each room."""
            return self.stats()

        @router.post(
            "/ws/broadcast", dependencies=[may_broadcast], openapi_extra=body_of(BroadcastRequest)
        )
        async def broadcast(request: Request) -> Delivered:
            """Say an event in a room, or to everyone."""
            return await self._broadcast(await read_json(request, self._hub.options.max_message))

    async def _check_may_broadcast(
        self, request: Request, _shown: Bearer, key: ApiKey = None
    ) -> None:
        if is_key(key, self._api_key):
            return
        try:
            who = await identify_request(request, self._hub)
        except InvalidToken:
            raise Refused(
                codes.UNAUTHORIZED, "the header X-API-Key, or an admin's bearer token, is required"
            ) from None
        if not _may_broadcast(who):
            raise Refused(codes.PERMISSION_DENIED, "broadcasting takes the API key or an admin")

    async def _broadcast(self, sent: Any) -> Delivered:
        if self._hub.draining:
            raise Unavailable("the server is shutting down")
        try:
            asked = BroadcastRequest.model_validate(sent)
        except ValidationError as error:
            raise Refused(codes.INVALID_FIELDS, describe(error, sent)) from None
        check_event(self._hub, asked.event_type)
        room = EVERYONE if asked.room is None else self.lobby.check_room(asked.room)
        position, count = await self._hub.announce(
            room, asked.event_type, asked.data, source=asked.source
        )
        answer: Delivered = {"delivered_to": count}
        if position:
            answer |= {"epoch": position.epoch, "offset": position.offset}
        return answer


class _Health:
    """What was wrong when we last looked."""

    def __init__(self, problems: Problems, broadcaster: Broadcaster) -> None:
        self._problems = problems
        self._broadcaster = broadcaster
        self._known: list[str] = []

    async def look(self) -> None:
        now = self._problems()
        if now == self._known:
            return
        status = "unhealthy" if now else "healthy"
        await self._broadcaster.broadcast_health_changed(status, {"problems": now})
        self._known = now


class _AnyUser:
    """Any authenticated user may be in any room."""

    def convert(self, raw: Mapping[str, str]) -> dict[str, Any]:
        return dict(raw)

    async def check(
        self, identity: Identity, parameters: Mapping[str, Any], scope: Mapping[str, Any]
    ) -> None:
        return None


def _may_broadcast(who: Identity) -> bool:
    """An admin, or whoever was given just this by a claim."""
    return who.is_admin or who.claims.get("broadcast") is True
