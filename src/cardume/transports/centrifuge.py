"""Centrifugo's SDKs in a FastAPI app: `/connection/websocket`, `/connection/sse`, `/emulation`.

The token comes in the first message, so for a while nobody knows who is there: whoever does not
say it within `CONNECT_WITHIN` is sent away, and counts as a connection until then.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, TypeVar

from fastapi import APIRouter
from pydantic import Field, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import Receive, Scope, Send

from cardume.auth.identity import Identity, InvalidToken
from cardume.clock import Clock
from cardume.errors import Refused
from cardume.hub.centrifuge.clients import DIALECT, Client, Clients, Hearer
from cardume.hub.connection import Connection
from cardume.hub.faults import describe
from cardume.transports.bodies import Body
from cardume.transports.door import (
    Visitor,
    address_of,
    client_of,
    identify,
    refuse_before_accept,
)
from cardume.transports.endpoint import Endpoint
from cardume.transports.entrance import accept, stay
from cardume.transports.fastapi import Hub
from cardume.transports.problems import ProblemRoute
from cardume.transports.requests import body_of, read_json
from cardume.transports.sse import CommandStream
from cardume.transports.stay import Admission, code_for, is_longer
from cardume.wire import codes
from cardume.wire.codes import CloseCode
from cardume.wire.messages import Connect, Fault

CONNECT_WITHIN = 10.0
"""Seconds for the first message, and to leave after it was answered with an error."""

T = TypeVar("T")


class Hello(NamedTuple):
    """The first frame."""

    connect: Connect
    rest: str
    """The commands after it."""


class Emulation(Body):
    """What the client of an event stream says: `data` are commands, one a line."""

    session: str = Field(max_length=64)
    node: str = Field("", max_length=255)
    data: str


class Centrifuge:
    """The `centrifuge` dialect on `hub`: ``app.include_router(Centrifuge(hub).router)``.

    A client subscribes with a subscription token, by its token's `channels` claim (patterns), or
    where the channel's own function lets it in. The claim `subs` (an object by channel) puts it
    on channels from the beginning.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.clients = Clients(hub)
        self._streams: dict[str, CommandStream] = {}
        self.router = APIRouter(
            lifespan=self._lifespan, route_class=ProblemRoute, tags=["centrifuge"]
        )
        self._add_routes()

    def on_message(self, hearer: Hearer) -> Hearer:
        """Have ``async hearer(identity, data)`` called with what clients `send`."""
        self.clients.hearer = hearer
        return hearer

    async def serve(self, scope: Scope, receive: Receive, send: Send, *, session: str = "") -> None:
        """One connection, from handshake to close."""
        hub = self._hub
        hub.check_running()
        if await refuse_before_accept(hub, scope, receive, send):
            return
        visitor = Visitor(scope)
        await accept(hub, visitor, scope, send)
        came = await self._let_in(scope, receive, send)
        if came is None:
            return
        (connect, rest), identity = came

        def begin(connection: Connection) -> Client:
            return self.clients.admit(connection, scope, connect, rest, session=session)

        admission = Admission(identity, begin, address_of(scope))
        await stay(hub, DIALECT, admission, scope, receive, send)

    # -- before anybody is known ------------------------------------------------------------

    async def _let_in(
        self, scope: Scope, receive: Receive, send: Send
    ) -> tuple[Hello, Identity] | None:
        """Who came, and what it said; None if it was sent away or left."""
        hub, address = self._hub, address_of(scope)
        with hub.stranger(address):
            try:
                came = await self._meet(scope, receive, send)
            except Exception as error:
                came = code_for(error)
        if came is None:
            return None
        if isinstance(came, CloseCode):
            hub.rejects.note(came.reason.replace(" ", "_"), client_of(scope))
            await _close(send, came)
            return None
        refusal = hub.refusal(came[1], address)  # counted there
        if refusal is not None:
            await _close(send, refusal)
            return None
        return came

    async def _meet(
        self, scope: Scope, receive: Receive, send: Send
    ) -> tuple[Hello, Identity] | CloseCode | None:
        clock = self._hub.clock
        message = await _within(clock, CONNECT_WITHIN, receive())
        if message is None:
            return codes.STALE
        if message["type"] == "websocket.disconnect":
            return None
        hello = self._hello(message.get("text"))
        if isinstance(hello, CloseCode):
            return hello
        try:
            return hello, await self._identify(hello.connect, scope)
        except InvalidToken as error:
            if not error.expired:
                return codes.INVALID_TOKEN
        # An SDK fetches a new token for this error, and hangs up to come again with it.
        fault = Fault(codes.TOKEN_EXPIRED, codes.TOKEN_EXPIRED.message)
        reply = DIALECT.reply(fault, id=hello.connect.id, time=clock.now())
        await send({"type": "websocket.send", "text": reply.decode()})
        left = await _within(clock, CONNECT_WITHIN, _disconnected(receive))
        return None if left else codes.STALE

    def _hello(self, text: str | None) -> Hello | CloseCode:
        if text is None:
            return codes.INAPPROPRIATE_PROTOCOL  # Protobuf
        if is_longer(text, self._hub.options.max_message):
            return codes.TOO_BIG
        first, _, rest = text.partition("\n")
        command = DIALECT.decode(first)
        return Hello(command, rest) if isinstance(command, Connect) else codes.BAD_REQUEST_CLOSE

    async def _identify(self, connect: Connect, scope: Scope) -> Identity:
        """By the token in the message, else as with every other handshake."""
        if connect.token is not None:
            return await self._hub.auth.verify(connect.token)
        return await identify(self._hub, scope)

    # -- addresses --------------------------------------------------------------------------

    @asynccontextmanager
    async def _lifespan(self, app: Any) -> AsyncIterator[Mapping[str, Any]]:
        # The hub's own lifespan: whichever of the two routers comes first, the hub is entered.
        async with self._hub.router.lifespan_context(app) as state:
            yield state or {}

    def _add_routes(self) -> None:
        router = self.router
        socket = Endpoint(self.serve, "centrifuge")
        events = Endpoint(self.stream, "centrifuge_sse")
        router.routes += [
            WebSocketRoute("/connection/websocket", socket, name=socket.__name__),
            Route("/connection/sse", events, methods=["GET"], name=events.__name__),
        ]

        @router.post("/emulation", status_code=204, openapi_extra=body_of(Emulation))
        async def emulation(request: Request) -> Response:
            """What the client of an event stream says."""
            # JSON in JSON: at worst every byte of a message is escaped.
            sent = await read_json(request, 2 * self._hub.options.max_message)
            self.emulate(sent)
            return Response(status_code=204)

    def emulate(self, sent: Any) -> None:
        """Hand on what the client of a stream said.

        Raises:
            Refused: not of that form, no such stream, or too fast.
        """
        try:
            said = Emulation.model_validate(sent)
        except ValidationError as error:
            raise Refused(codes.INVALID_FIELDS, describe(error, sent)) from None
        stream = self._streams.get(said.session)
        if stream is None:
            raise Refused(codes.NOT_FOUND, "no event stream has this session")
        stream.hear(said.data)

    async def stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One event stream, from its request to its end."""
        request = Request(scope)
        hello = request.query_params.get("cf_connect", "")
        if not hello:
            answer = Response("cf_connect holds the first command\n", 400)
            await answer(scope, receive, send)
            return
        session = secrets.token_urlsafe(18)
        stream = self._streams[session] = CommandStream(scope, receive, send)
        stream.hear(hello)

        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            await self.serve(scope, receive, send, session=session)

        try:
            await stream.run(serve)
        finally:
            del self._streams[session]


async def _close(send: Send, code: CloseCode) -> None:
    await send({"type": "websocket.close", "code": code.number, "reason": code.reason})


async def _disconnected(receive: Receive) -> bool:
    while (await receive())["type"] != "websocket.disconnect":
        pass
    return True


async def _within(clock: Clock, seconds: float, work: Awaitable[T]) -> T | None:
    """What `work` returns, or None where it takes longer.

    As `asyncio.timeout`, but by the hub's clock; a task of its own would cost 15 us a connection.
    """
    task = asyncio.current_task()
    assert task is not None
    cancelling, late = task.cancelling(), False

    def give_up() -> None:
        nonlocal late
        late = True
        task.cancel()

    timer = clock.call_later(seconds, give_up)
    try:
        return await work
    except asyncio.CancelledError:
        if late and task.uncancel() <= cancelling:
            return None
        raise
    finally:
        timer.cancel()
