"""The fast path: uvicorn's `--ws cardume.transports.uvicorn:WebSocketProtocol`.

To an endpoint of anybody's it is an ASGI server's WebSocket like any other. To ours it offers the
socket itself (`handover`): the hub writes to the transport, and the endpoint returns.

It needs of uvicorn what its own WebSocket classes use: the constructor's arguments, `connections`,
`tasks` and `default_headers` of the server's state, and `shutdown`.
"""

from __future__ import annotations

import asyncio
import logging
import struct
from asyncio import TimerHandle
from collections import deque
from enum import IntEnum
from http import HTTPStatus
from typing import Any, Final, cast
from urllib.parse import unquote

from uvicorn.config import Config
from uvicorn.protocols.utils import ClientDisconnected, is_ssl
from uvicorn.server import ServerState

from cardume.transports import upgrade
from cardume.transports.handover import EXTENSION, Legacy
from cardume.transports.reading import TURN, Reading
from cardume.transports.stay import CLOSE_TIMEOUT
from cardume.wire.framing import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    WINDOW_BITS,
    close_frame,
    compressed_frame,
    frame,
)
from cardume.wire.websocket import FrameFault, Message, Receiver

MESSAGE_WITHIN: Final = 30.0
"""Seconds from a message's first byte to its last."""

Address = tuple[str, int | None] | None

logger = logging.getLogger("uvicorn.error")


class State(IntEnum):
    """How far a WebSocket has come."""

    ASKED = 0
    """The application has not answered the handshake."""
    DENYING = 1
    """It answers with something else."""
    OPEN = 2
    CLOSING = 3
    """We said goodbye, or the peer did."""
    LOST = 4


class WebSocketProtocol(Reading):
    """One WebSocket on uvicorn."""

    __slots__ = (
        "_addresses",
        "_agreed",
        "_app_state",
        "_asked",
        "_awake",
        "_body",
        "_config",
        "_deadline",
        "_deflate",
        "_denial",
        "_handed",
        "_held",
        "_late",
        "_loop",
        "_pinged",
        "_server",
        "_state",
        "_task",
        "_timer",
        "_writable",
    )

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__()
        if not config.loaded:
            config.load()
        self._config = config
        self._server = server_state
        self._app_state = app_state
        self._loop = _loop or asyncio.get_event_loop()
        self.transport = cast("asyncio.Transport", None)
        self._state = State.ASKED
        self._addresses: tuple[Address, Address] | None = None
        """The server's and the peer's."""
        self._asked: upgrade.Asked | None = None
        self._agreed: upgrade.Agreed | None = None
        self._deflate = bool(config.ws_per_message_deflate)
        self._body = b""
        """Of a denial; before the request is whole, its beginning."""
        self._denial: tuple[int, list[upgrade.Header]] | None = None
        self._held: deque[Message] = deque()
        self._awake: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: TimerHandle | None = None
        self._late: TimerHandle | None = None
        """The end of a message's time."""
        self._deadline: TimerHandle | None = None
        self._pinged = b""
        self._handed = False

    # -- the transport's side -----------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._server.connections.add(cast("Any", self))

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.discard(cast("Any", self))
        self._cancel_timers()
        if self._state < State.CLOSING:
            code = 1005 if self._state is State.OPEN else 1006
            self._hold(Message(CLOSE, code=code))
        self._state = State.LOST
        self._receiver = None
        self._full = False
        self._accepted = b""
        _resolve(self._writable)
        if exc is None:
            self.transport.close()

    def eof_received(self) -> None:
        """The transport closes itself."""

    def pause_writing(self) -> None:
        if self._writable is None:
            self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        writable, self._writable = self._writable, None
        _resolve(writable)

    def shutdown(self) -> None:
        """The server goes down (uvicorn's own goodbye; ours is the hub's, before this)."""
        if self._state is State.OPEN:
            self._hold(Message(CLOSE, code=1012))
            self._part(1012)
            self.transport.close()
        elif self._state in (State.ASKED, State.DENYING):
            self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, [], b"")
        else:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        if self._asked is None:
            self._body += data
            if b"\r\n\r\n" in self._body or len(self._body) > upgrade.MAX_HEAD:
                self._begin()
            return
        if self._state is State.LOST or self._handed:
            return
        limit = self._config.ws_max_size
        receiver = self._receiver or Receiver(limit, deflate=self._agreed is not None)
        self._receiver = receiver
        self._read(receiver, data)

    def _has_enough(self) -> bool:
        return self._state < State.CLOSING and len(self._held) >= TURN

    def _message_ended(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _waits(self) -> None:
        if self._receiver is None:
            self._message_ended()
        elif self._late is None:
            overdue = FrameFault(1002, "the message took too long")
            self._late = self._loop.call_later(MESSAGE_WITHIN, self._break_off, overdue)

    def _read_later(self) -> None:
        self._message_ended()  # it waits for us
        super()._read_later()

    # -- the handshake ------------------------------------------------------------------------

    def begin(
        self, target: bytes, headers: list[upgrade.Header], server: Address, client: Address
    ) -> None:
        """Take a request whose head the server has read, from where to where it was sent."""
        self._addresses = server, client
        try:
            self._ask(upgrade.check(target, headers))
        except upgrade.Refusal as refusal:
            self._refuse(refusal)

    def _begin(self) -> None:
        head, _, rest = self._body.partition(b"\r\n\r\n")
        self._body = b""
        try:
            self._ask(upgrade.read(head))
        except upgrade.Refusal as refusal:
            self._refuse(refusal)
        else:
            if rest:
                self.data_received(rest)

    def _ask(self, asked: upgrade.Asked) -> None:
        """Have the application answer.

        Raises:
            Refusal: an answer before this waits to be read. Whose it was knows that the transport
                is full; we would not be told.
        """
        _, high = self.transport.get_write_buffer_limits()
        if self.transport.get_write_buffer_size() >= max(high, 1):
            raise upgrade.Refusal(HTTPStatus.BAD_REQUEST, "first read the answer before this")
        self._asked = asked
        self._task = self._loop.create_task(self._run(self._scope(asked)))
        self._server.tasks.add(self._task)
        self._task.add_done_callback(self._server.tasks.discard)

    def _refuse(self, refusal: upgrade.Refusal) -> None:
        self._asked = upgrade.Asked(b"", [], b"")
        self._answer(refusal.status, list(refusal.headers), str(refusal).encode())

    def _scope(self, asked: upgrade.Asked) -> dict[str, Any]:
        path, _, query = asked.target.partition(b"?")
        root = self._config.root_path
        text = path.decode("ascii", "replace")
        server, client = self._addresses or addresses_of(self.transport)
        return {
            "type": "websocket",
            "asgi": {"version": self._config.asgi_version, "spec_version": "2.4"},
            "http_version": "1.1",
            "scheme": "wss" if is_ssl(self.transport) else "ws",
            "server": server,
            "client": client,
            "root_path": root,
            "path": root + (unquote(text) if "%" in text else text),
            "raw_path": root.encode("ascii") + path,
            "query_string": query,
            "headers": asked.headers,
            "subprotocols": asked.subprotocols,
            "state": self._app_state.copy(),
            "extensions": {"websocket.http.response": {}, EXTENSION: {"socket": self}},
        }

    async def _run(self, scope: dict[str, Any]) -> None:
        self._held.append(Message(0))
        try:
            await self._config.loaded_app(scope, self.receive, self.send)
        except ClientDisconnected:
            pass
        except asyncio.CancelledError:
            if not self._handed:
                raise
        except BaseException:
            logger.exception("Exception in ASGI application\n")
            if self._state is State.OPEN:
                self._part(1011)
        finally:
            self._task = None
        if self._handed:
            return
        if self._state in (State.ASKED, State.DENYING):
            self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, [], b"")
        elif self._state is State.OPEN:
            self._part(1000)

    def _accept(self, message: dict[str, Any]) -> None:
        assert self._asked is not None
        headers = [*self._server.default_headers, *message.get("headers", ())]
        if message.get("subprotocol"):
            headers.append((b"Sec-WebSocket-Protocol", message["subprotocol"].encode()))
        if self._deflate and (agreed := upgrade.compression(self._asked)) is not None:
            self._agreed = agreed
            headers.append((b"Sec-WebSocket-Extensions", agreed.header))
        own = {b"date", b"content-length", b"transfer-encoding"}
        kept = [each for each in headers if each[0].lower() not in own]
        self._log("[accepted]")
        self._state = State.OPEN
        # What is said first is often ready in this turn of the loop: then it is one write.
        self._accepted = upgrade.accept(self._asked, kept)
        self._loop.call_soon(self._settle)

    def _settle(self) -> None:
        """It was accepted, and an endpoint of ours has taken it by now, or will soon."""
        if self._handed:
            return
        self._say_answer()
        interval = self._config.ws_ping_interval
        if interval and self._state is State.OPEN:
            self._timer = self._loop.call_later(interval, self._ping)

    def _answer(self, status: int, headers: list[upgrade.Header], body: bytes) -> None:
        self._state = State.CLOSING
        self.transport.write(upgrade.refuse(status, headers, body))
        self.transport.close()
        self._give_up_later()

    def _log(self, outcome: object) -> None:
        if self._asked is not None and logger.isEnabledFor(logging.INFO):
            _, address = addresses_of(self.transport)
            where = ":".join(map(str, address)) if address else ""
            target = self._asked.target.decode("latin-1")
            logger.info('%s - "WebSocket %s" %s', where, target, outcome)

    # -- in -----------------------------------------------------------------------------------

    async def receive(self) -> dict[str, Any]:
        """ASGI's: the next message."""
        while not self._held:
            self._awake = self._loop.create_future()
            await self._awake
        message = self._held.popleft()
        if self._full and len(self._held) < TURN:
            self._loop.call_soon(self._read_on)
        match message.opcode:
            case 0:
                return {"type": "websocket.connect"}
            case 1:
                return {"type": "websocket.receive", "text": message.text}
            case 2:
                return {"type": "websocket.receive", "bytes": message.data}
        # Said again to whoever asks again.
        self._held.append(message)
        reason = message.data.decode()
        return {"type": "websocket.disconnect", "code": message.code, "reason": reason}

    def _take(self, message: Message) -> None:
        if message.opcode == PING:
            if self._writable is None and self._state is State.OPEN:
                self._say_answer()
                self.transport.write(frame(message.data, PONG))
        elif message.opcode == PONG:
            if message.data == self._pinged:
                self._pinged = b""
        elif message.opcode == CLOSE:
            self._peer_left(message)
        elif self._state < State.CLOSING:
            self._hold(message)

    def _hold(self, message: Message) -> None:
        self._held.append(message)
        _resolve(self._awake)

    def _peer_left(self, message: Message) -> None:
        if self._state is State.OPEN:
            self._hold(message)
            self._part(message.code)
        self.transport.close()

    def _break_off(self, fault: FrameFault) -> None:
        """It broke the protocol: say so, and read no meaning into what follows."""
        self._receiver = None
        if self._state is State.OPEN:
            self._hold(Message(CLOSE, code=fault.code, data=str(fault).encode()[:123]))
            self._part(fault.code, str(fault))
        self._state = State.LOST
        self._message_ended()
        self._give_up_later()
        self._end_output()

    # -- out ----------------------------------------------------------------------------------

    async def send(self, message: dict[str, Any]) -> None:
        """ASGI's: an answer to the handshake, a message, or the goodbye."""
        if self._writable is not None:
            await self._writable
        if self._state is State.LOST:
            raise ClientDisconnected
        self._say_answer()
        type = message["type"]
        if type == "websocket.send" and self._state is State.OPEN:
            self._write(message)
        elif type == "websocket.accept" and self._state is State.ASKED:
            self._accept(message)
        elif type == "websocket.close" and self._state is State.OPEN:
            code = message.get("code", 1000)
            reason = message.get("reason") or ""
            self._hold(Message(CLOSE, code=code, data=reason.encode()))
            self._part(code, reason)
        elif type == "websocket.close" and self._state is State.ASKED:
            self._hold(Message(CLOSE, code=1006))
            self._log(403)
            self._answer(HTTPStatus.FORBIDDEN, [], b"")
        elif type == "websocket.http.response.start" and self._state is State.ASKED:
            self._log(message["status"])
            self._state = State.DENYING
            self._denial = (message["status"], list(message.get("headers", ())))
        elif type == "websocket.http.response.body" and self._denial is not None:
            self._deny(message)
        elif self._state is State.CLOSING:
            raise ClientDisconnected
        else:
            raise RuntimeError(f"ASGI message {type!r} does not belong here")

    def _write(self, message: dict[str, Any]) -> None:
        data, text = message.get("bytes"), message.get("text")
        payload, opcode = (data, BINARY) if data is not None else ((text or "").encode(), TEXT)
        if self._agreed is None:
            self.transport.write(frame(payload, opcode))
        else:
            self.transport.write(compressed_frame(payload, opcode, self._agreed.bits))

    def _deny(self, message: dict[str, Any]) -> None:
        assert self._denial is not None
        self._body += message.get("body", b"")
        if not message.get("more_body", False):
            self._hold(Message(CLOSE, code=1006))
            status, headers = self._denial
            self._denial = None
            self._answer(status, headers, self._body)

    def _part(self, code: int, reason: str = "") -> None:
        """Say goodbye; a peer that does not answer it, or does not read it, is let go."""
        self._state = State.CLOSING
        self._cancel_timers()
        self._say_answer()
        self.transport.write(close_frame(code, reason))
        if self._full:
            self._loop.call_soon(self._read_on)
        self._give_up_later()

    def _give_up_later(self) -> None:
        if self._deadline is None:
            self._deadline = self._loop.call_later(CLOSE_TIMEOUT, self.transport.abort)

    def _ping(self) -> None:
        """Ask for a sign of life, or miss one."""
        if self._pinged:
            self._hold(Message(CLOSE, code=1011, data=b"keepalive ping timeout"))
            self._part(1011, "keepalive ping timeout")
            self.transport.close()
            return
        within = self._config.ws_ping_timeout or self._config.ws_ping_interval or 20.0
        if self._config.ws_ping_timeout:
            self._pinged = struct.pack("!d", self._loop.time())
        self.transport.write(frame(self._pinged or b"ping", PING))
        self._timer = self._loop.call_later(within, self._look)

    def _look(self) -> None:
        if self._pinged:
            self._ping()
        else:
            self._timer = self._loop.call_later(self._config.ws_ping_interval or 20.0, self._ping)

    def _cancel_timers(self) -> None:
        for timer in (self._timer, self._late, self._deadline):
            if timer is not None:
                timer.cancel()
        self._timer = self._late = self._deadline = None

    # -- the handover -------------------------------------------------------------------------

    @property
    def lost(self) -> bool:
        """`Handover.lost`"""
        return self._state is not State.OPEN or self.transport.is_closing()

    def offer_compression(self) -> None:
        """`Handover.offer_compression`"""
        self._deflate = True

    def take(self, protocol: asyncio.Protocol) -> Legacy:
        """`Handover.take`"""
        self._handed = True
        self._cancel_timers()
        self._server.connections.discard(cast("Any", self))
        messages = [each for each in self._held if each.opcode]
        if self._full:
            self._full = False
            self.transport.resume_reading()
        self.transport.set_protocol(protocol)
        agreed = self._agreed
        shared = agreed is not None and agreed.bits >= WINDOW_BITS
        accepted, self._accepted = self._accepted, b""
        return Legacy(
            self.transport, self._receiver, messages, accepted, shared, agreed is not None
        )


def addresses_of(transport: asyncio.BaseTransport) -> tuple[Address, Address]:
    """The server's and the peer's.

    uvicorn asks the socket for them. uvloop makes two of it for that, and keeps the names: 5 of a
    handshake's 200 us, and half a kilobyte for as long as it lasts.
    """
    names = (transport.get_extra_info("sockname"), transport.get_extra_info("peername"))
    server, client = map(_address, names)
    return server, client


def _address(name: object) -> Address:
    if isinstance(name, tuple | list) and len(name) >= 2:
        return str(name[0]), int(name[1])
    return (name, None) if isinstance(name, str) and name else None


def _resolve(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)
