"""WebSockets over any ASGI server: correct everywhere, one reader and one writer task each.

The server frames, masks, pings and limits; ASGI can neither send nor see a ping, so the idle
timeout is the server's as well. A peer that stopped reading blocks `send`, even the closing one:
it is given `CLOSE_TIMEOUT` and then let go, and the rest is the server's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from cardume.auth.identity import Identity, InvalidToken
from cardume.clock import TimerHandle
from cardume.errors import Invalid, Refused, Unavailable
from cardume.hub.channel import Subscription
from cardume.hub.commands import handle
from cardume.hub.connection import Connection
from cardume.hub.entry import Entry, enter
from cardume.hub.filters import type_filter
from cardume.hub.hub import Hub
from cardume.hub.namespaces import Namespace
from cardume.hub.outbox import Outbox
from cardume.transports.door import (
    Receive,
    Scope,
    Send,
    Visitor,
    address_of,
    client_of,
    refuse_before_accept,
)
from cardume.wire import codes
from cardume.wire.codes import CloseCode
from cardume.wire.dialects import Dialect
from cardume.wire.dialects.plain import PlainDialect
from cardume.wire.messages import Connected, Position, Snapshot

CLOSE_TIMEOUT = 5.0
"""Seconds a peer has to take what is queued for it and the close frame."""

MAX_JOINED = 16 * 1024
"""Bytes from which a frame of several messages takes no more of them."""

PLAIN = PlainDialect()

logger = logging.getLogger("cardume.transports")


class AsgiTransport:
    """`cardume.hub.connection.Transport` by one task that writes the outbox out."""

    def __init__(self, hub: Hub, send: Send) -> None:
        self._hub = hub
        self._send = send
        self._awake = asyncio.Event()
        self._goodbye: CloseCode | None = None
        self._writer: asyncio.Task[None] | None = None
        self._deadline: TimerHandle | None = None

    def wake(self) -> None:
        self._awake.set()

    def close(self, code: CloseCode, *, flush: bool) -> None:
        self._goodbye = code
        self._awake.set()
        self._deadline = self._hub.clock.call_later(CLOSE_TIMEOUT, self._give_up)

    def start(self, connection: Connection) -> asyncio.Task[None]:
        """Begin to write; the task ends after the close frame, or when the peer is given up."""
        self._writer = asyncio.create_task(self._write(connection), name=f"write {connection.id}")
        return self._writer

    def stop(self) -> None:
        """The peer is gone: nothing more to write."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._give_up()

    def _give_up(self) -> None:
        if self._writer is not None:
            self._writer.cancel()

    async def _write(self, connection: Connection) -> None:
        try:
            while (goodbye := await self._drain(connection)) is None:
                self._awake.clear()
                await self._awake.wait()
            await self._send(
                {"type": "websocket.close", "code": goodbye.number, "reason": goodbye.reason}
            )
        except Exception as error:
            # Servers say "closed" in their own ways; the reader learns it as a disconnect.
            logger.debug("%s: write failed: %s", connection.id, type(error).__name__)
            connection.close(codes.WRITE_ERROR)
        finally:
            # A cancelled task holds its traceback, that this frame, and the frame us: a cycle.
            self._writer = None

    async def _drain(self, connection: Connection) -> CloseCode | None:
        """Write until the outbox is empty; then say whether it is time to close."""
        outbox = connection.outbox
        while (frame := outbox.take()) is not None:
            text, count = frame.text, 1
            if connection.dialect.lines and outbox:
                text, count = _joined(text, outbox)
            await self._send({"type": "websocket.send", "text": text})
            self._hub.stats.messages_sent += count
            connection.messages_sent += count
        return self._goodbye


def _joined(text: str, outbox: Outbox) -> tuple[str, int]:
    """What waits, in one frame, a line each; and how many. The outbox forgets all but the last."""
    lines, size = [text], len(text)
    while size < MAX_JOINED and (frame := outbox.take()) is not None:
        lines.append(frame.text)
        size += len(frame)
    return "\n".join(lines), len(lines)


class Stay(Protocol):
    """One connection in its dialect: what it is told first, and how it is answered."""

    async def enter(self) -> None:
        """Greet it. What is raised closes the connection."""

    async def hear(self, text: str) -> None:
        """Answer a message."""


class Admission(NamedTuple):
    """Who was let in, and what follows once there is a connection."""

    identity: Identity
    begin: Callable[[Connection], Stay]
    address: str | None = None
    """The peer's, where the server knows it."""


class Address(Protocol):
    """What is behind a WebSocket address of ours."""

    @property
    def dialect(self) -> Dialect:
        """How everybody there speaks."""

    async def admit(self, hub: Hub, visitor: Visitor, scope: Scope) -> Admission:
        """Whose handshake this is. What is raised turns it away."""


async def serve(hub: Hub, address: Address, scope: Scope, receive: Receive, send: Send) -> None:
    """One WebSocket, from handshake to close."""
    hub.check_running()
    if await refuse_before_accept(hub, scope, receive, send):
        return
    visitor = Visitor(scope)
    try:
        admission = await address.admit(hub, visitor, scope)
    except Exception as error:
        code = code_for(error)
        hub.rejects.note(code.reason.replace(" ", "_"), client_of(scope))
        await turn_away(hub, address.dialect, send, visitor, code)
        return
    await send({"type": "websocket.accept", "subprotocol": visitor.subprotocol})
    # Asked after the last await: of many that come at once only so many are let in.
    refusal = hub.refusal(admission.identity, address_of(scope))
    if refusal is not None:
        await _part(hub, address.dialect, send, refusal)
        return
    admission = admission._replace(address=address_of(scope))
    await Visit(hub, address.dialect, admission, receive, send).run()


async def serve_plain(
    hub: Hub, namespace: Namespace, scope: Scope, receive: Receive, send: Send
) -> None:
    """One WebSocket in the `plain` dialect, from handshake to close."""
    await serve(hub, PlainAddress(namespace), scope, receive, send)


class Visit:
    """An accepted WebSocket."""

    def __init__(
        self, hub: Hub, dialect: Dialect, admission: Admission, receive: Receive, send: Send
    ) -> None:
        self._hub = hub
        self._receive = receive
        self._transport = AsgiTransport(hub, send)
        self._connection = hub.connect(
            admission.identity, dialect, self._transport, address=admission.address
        )
        self._stay = admission.begin(self._connection)
        self._peer_code: int | None = None

    async def run(self) -> None:
        writer = self._transport.start(self._connection)
        reader = asyncio.create_task(self._read(), name=f"read {self._connection.id}")
        try:
            await asyncio.wait({reader, writer}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # No await before this is done: a server may cancel us again at the next one.
            self._hub.disconnect(self._connection, self._peer_code)
            self._transport.stop()
            reader.cancel()
            # Not `gather`: it would turn a cancellation by anyio into one of its own.
            await asyncio.wait({reader, writer})
            if not reader.cancelled() and (error := reader.exception()) is not None:
                logger.debug("%s: read failed: %s", self._connection.id, type(error).__name__)

    async def _read(self) -> None:
        try:
            await self._stay.enter()
            while (message := await self._receive())["type"] != "websocket.disconnect":
                if not self._connection.closing:
                    await self._take(message.get("text"))
        except Exception as error:
            self._connection.close(code_for(error, accepted=True))
            # The writer says goodbye; what comes in until then is read and dropped.
            while (message := await self._receive())["type"] != "websocket.disconnect":
                pass
        self._peer_code = message.get("code")

    async def _take(self, text: str | None) -> None:
        if text is None:
            self._connection.close(codes.UNSUPPORTED_DATA)
        elif is_longer(text, self._hub.options.max_message):
            self._connection.close(codes.TOO_BIG)
        else:
            await self._stay.hear(text)


class PlainAddress:
    """The channels of a namespace, one a connection, in the `plain` dialect."""

    dialect = PLAIN

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace

    async def admit(self, hub: Hub, visitor: Visitor, scope: Scope) -> Admission:
        """Whom the namespace's guard lets in."""
        identity = await visitor.identify(hub)
        guard = self._namespace.guard
        parameters = guard.convert(scope["path_params"])
        await guard.check(identity, parameters, scope)
        channel = self._namespace.template.fill(parameters)

        def begin(connection: Connection) -> Stay:
            connection.types = type_filter(visitor.types)
            return PlainStay(hub, connection, channel, parameters, visitor.since)

        return Admission(identity, begin)


class PlainStay:
    """A connection that holds one channel."""

    def __init__(
        self,
        hub: Hub,
        connection: Connection,
        channel: str,
        parameters: dict[str, Any] | None,
        since: Position | None,
    ) -> None:
        self._hub = hub
        self._connection = connection
        self._channel = channel
        self._parameters = parameters
        self._since = since
        self._subscription: Subscription | None = None

    async def enter(self) -> None:
        self._subscription = await enter(
            self._hub,
            self._connection,
            self._channel,
            self._since,
            greet=self.greet,
            parameters=self._parameters,
        )

    async def hear(self, text: str) -> None:
        assert self._subscription is not None
        await handle(self._hub, self._subscription, text)

    def greet(self, subscription: Subscription, entry: Entry) -> None:
        """Tell it where it stands."""
        connection = self._connection
        expires_in = self._hub.expires_in(connection.identity)
        name = subscription.channel.name
        connection.reply(
            Connected(connection.id, name, entry.position, entry.recovered, expires_in)
        )
        if entry.snapshot is not None:
            connection.reply(Snapshot(entry.snapshot, entry.position))


def is_longer(text: str, limit: int) -> bool:
    """Whether `text` has more than `limit` bytes; counted only where that can matter."""
    if len(text) > limit or text.isascii():
        return len(text) > limit
    return len(text.encode("utf-8", "surrogatepass")) > limit


def code_for(error: Exception, *, accepted: bool = False) -> CloseCode:
    """How a connection ends that failed with `error`."""
    match error:
        case InvalidToken():
            return codes.INVALID_TOKEN
        case Refused():
            return codes.close_of_status(error.code.status)
        case Invalid() if not accepted:  # later, what is invalid is our own
            return codes.BAD_REQUEST_CLOSE
        case Unavailable():
            return codes.SERVER_ERROR
    logger.error("a connection failed", exc_info=error)
    return codes.SERVER_ERROR


async def turn_away(
    hub: Hub, dialect: Dialect, send: Send, visitor: Visitor, code: CloseCode
) -> None:
    """Accept and close: a browser cannot read a refused handshake, a close code it can."""
    await send({"type": "websocket.accept", "subprotocol": visitor.subprotocol})
    await _part(hub, dialect, send, code)


async def _part(hub: Hub, dialect: Dialect, send: Send, code: CloseCode) -> None:
    goodbye = dialect.goodbye(code, time=hub.clock.now())
    if goodbye is not None:
        await send({"type": "websocket.send", "text": goodbye.decode()})
        hub.stats.messages_sent += 1
    await send({"type": "websocket.close", "code": code.number, "reason": code.reason})
