"""uvicorn's HTTP protocol, with bounds on what a client may take: time, bytes, and a place.

As it is, one who says half a request holds its place for ever, and heads and pipelines grow
without end. It also leaves cycles behind that hold all it had: 80 objects that wait for the
garbage collector, whose next round stopped the loop for a second after 5,000 had been cut.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from httptools import HttpParserError, HttpParserUpgrade
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.utils import is_ssl
from uvicorn.server import ServerState

from cardume.server.front import faults
from cardume.server.front.bounds import (
    BODY_WITHIN,
    END_WITHIN,
    HEAD_WITHIN,
    LINGER,
    MAX_HEAD,
    MAX_HEADERS,
    MAX_LINE,
    MAX_OVERHEAD,
    MAX_PIPELINED,
    MIN_BODY,
    SEND_WITHIN,
    Stage,
)
from cardume.server.front.faults import Fault
from cardume.server.front.gate import gate_of
from cardume.server.front.reply import Reply
from cardume.transports import upgrade
from cardume.transports.uvicorn import WebSocketProtocol, addresses_of


class Http(HttpToolsProtocol):
    """HTTP with deadlines, and with a cap on everything that a request is made of."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._gate = gate_of(server_state)
        self._stage = Stage.NEW
        self._in_head = self._in_message = False
        self._head_size = 0  # what was read of a head that did not come at once
        self._body_size = self._body_seen = self._wire_size = 0
        self._unsent = 0
        self._fault: Fault | None = None

    # -- the transport's calls --------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """As uvicorn's, but for how it comes by the addresses."""
        self.connections.add(self)
        self.transport = transport
        self.flow = FlowControl(transport)
        self.server, self.client = addresses_of(transport)  # type: ignore[assignment]
        self.scheme = "https" if is_ssl(transport) else "http"
        self._gate.arrive(self, HEAD_WITHIN)

    def connection_lost(self, exc: Exception | None) -> None:
        self._gate.forget(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._stage is Stage.NEW and len(data) <= MAX_LINE and self._makes_ours():
            asked = upgrade.glance(data)
            if asked is not None and len(asked[1]) <= MAX_HEADERS:
                self._hand_over(*asked)
                return
        if len(data) <= MAX_HEAD:
            self._feed(data)
            return
        # So that no more than that is taken apart before it is counted.
        for start in range(0, len(data), MAX_HEAD):
            self._feed(data[start : start + MAX_HEAD])

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._stage is Stage.BUSY:
            self._stage = Stage.BLOCKED
            self._await_reader()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stage is Stage.BLOCKED:
            self._stage = Stage.BUSY
            self._gate.forget(self)

    # -- the parser's calls -----------------------------------------------------------------

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = self._in_message = True
        self._head_size = self._body_size = self._body_seen = self._wire_size = 0

    def on_headers_complete(self) -> None:
        self._fault = self._fault_of_head()
        if self._fault is not None:
            raise HttpParserError(self._fault.reason)
        before = self.cycle
        super().on_headers_complete()
        self._in_head = False
        if self.cycle is before:
            self._in_message = False  # a handshake: a body of it is nobody's
            return
        if not self.parser.should_upgrade():
            self.headers = []  # trailers go there, and nowhere
        if self.scope["method"] != "HEAD":  # the answer has a body, that its head may wait for
            self.cycle.transport = Reply(self.transport)  # type: ignore[assignment]

    def on_body(self, body: bytes) -> None:
        self._body_size += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_message = False
        super().on_message_complete()

    # -- the application's answer -----------------------------------------------------------

    def on_response_complete(self) -> None:
        """As uvicorn's, but idle connections wait at the gate: it has one timer for all."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            self._stage = Stage.ENDING
            if self.transport.get_write_buffer_size():
                self._await_reader()
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._in_head:
            pass  # has its deadline
        elif self._in_message:
            self._wait(Stage.LINGER, LINGER)
        else:
            self._wait(Stage.IDLE, self.timeout_keep_alive)

    # -- waiting ----------------------------------------------------------------------------

    def overdue(self) -> float | None:
        """A deadline has passed."""
        match self._stage:
            case Stage.HEAD:
                self._refuse(faults.SLOW_HEAD)
                return self._left()
            case Stage.BODY:
                came, self._body_seen = self._body_size - self._body_seen, self._body_size
                # Where nobody reads what it sends, it cannot send.
                if came < MIN_BODY and not self.flow.read_paused:
                    self._refuse(faults.SLOW_BODY)
                    return self._left()
                return BODY_WITHIN
            case Stage.BLOCKED | Stage.ENDING:
                unsent, self._unsent = self._unsent, self.transport.get_write_buffer_size()
                if self._unsent < unsent:
                    return SEND_WITHIN
                if self._unsent:
                    self._note("slow_http_reader")
                self._abort()
            case Stage.LINGER:
                self._cut("endless_body")
            case _:  # it has said nothing, which browsers do with a connection in stock
                self._stage = Stage.ENDING
                self.transport.close()
                self._unsent = self.transport.get_write_buffer_size()
                return SEND_WITHIN if self._unsent else END_WITHIN
        return None

    def _left(self) -> float | None:
        return END_WITHIN if self._stage is Stage.ENDING else None

    def evict(self) -> None:
        """Somebody else needs the place."""
        self._cut("crowded_out")

    def _wait(self, stage: Stage, within: float) -> None:
        self._stage = stage
        self._gate.expect(self, within)

    def _await_reader(self) -> None:
        self._unsent = self.transport.get_write_buffer_size()
        self._gate.expect(self, SEND_WITHIN)

    def _settle(self, size: int) -> None:
        """Decide what to wait for, after `size` more bytes."""
        if self._in_head:
            self._head_size += size
            if self._head_size > 2 * MAX_HEAD:
                self._refuse(faults.LARGE_HEAD)
            elif self._stage is Stage.NEW:
                self._stage = Stage.HEAD  # its time runs since it is here
            elif self._stage is not Stage.HEAD:
                self._wait(Stage.HEAD, HEAD_WITHIN)
        elif self._in_message:
            self._wire_size += size
            if self._wire_size - self._body_size > MAX_OVERHEAD + 16 * self._body_size:
                self._refuse(faults.BAD)
            elif self.cycle.response_complete:
                if self._stage is not Stage.LINGER:
                    self._wait(Stage.LINGER, LINGER)
            elif self._stage is not Stage.BODY:
                self._wait(Stage.BODY, BODY_WITHIN)
        elif self.cycle is not None and not self.cycle.response_complete:
            if self.flow.write_paused:
                if self._stage is not Stage.BLOCKED:
                    self._stage = Stage.BLOCKED
                    self._await_reader()
            elif self._stage is not Stage.BUSY:
                self._stage = Stage.BUSY
                self._gate.forget(self)
        elif self._stage not in (Stage.NEW, Stage.IDLE):
            self._wait(Stage.IDLE, self.timeout_keep_alive)

    # -- reading ----------------------------------------------------------------------------

    def _feed(self, data: bytes) -> None:
        if self._stage is Stage.ENDING or self.parser is None:
            return
        try:
            self.parser.feed_data(data)
        except HttpParserUpgrade as end:
            self._upgrade(len(data) - end.args[0])
        except HttpParserError:
            self._refuse(self._fault or faults.BAD)
        else:
            self._settle(len(data))

    def _fault_of_head(self) -> Fault | None:
        headers = self.headers
        if len(self.url) > MAX_LINE:
            return faults.LONG_ADDRESS
        if len(headers) > MAX_HEADERS:
            return faults.LARGE_HEAD
        sizes = [len(name) + len(value) for name, value in headers]
        if sizes and (max(sizes) > MAX_LINE or sum(sizes) > MAX_HEAD):
            return faults.LARGE_HEAD
        return faults.BAD if len(self.pipeline) >= MAX_PIPELINED else None

    def _upgrade(self, left: int) -> None:
        if not self._should_upgrade():  # to HTTP/2, say; it was answered as what it is
            self.cycle.keep_alive = False
            self._settle(0)
        elif self.scope["method"] != "GET" or self.parser.get_http_version() != "1.1":
            self._refuse(faults.HANDSHAKE)
        elif left:  # RFC 6455 §4.1: a client waits for the answer
            self._refuse(faults.EARLY)
        elif self._is_answering():
            self._refuse(faults.BAD)
        elif self._makes_ours():
            self._hand_over(self.url, self.headers)
        else:
            self._gate.forget(self)
            self.handle_websocket_upgrade()
            self.parser = None  # type: ignore[assignment]

    def _makes_ours(self) -> bool:
        """Whether a WebSocket becomes one of ours, which need not read the request again."""
        made = self.ws_protocol_class
        return made is not None and issubclass(made, WebSocketProtocol)

    def _hand_over(self, target: bytes, headers: list[upgrade.Header]) -> None:
        """It is a WebSocket from now on."""
        self._gate.forget(self)
        self.connections.discard(self)
        made = cast("type[WebSocketProtocol]", self.ws_protocol_class)
        protocol = made(self.config, self.server_state, self.app_state)
        protocol.connection_made(self.transport)
        self.transport.set_protocol(protocol)
        protocol.begin(target, headers, self.server, self.client)
        # It holds methods of ours, and nothing more comes here.
        self.parser = None  # type: ignore[assignment]

    # -- the end ----------------------------------------------------------------------------

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse(self, fault: Fault) -> None:
        """Say why, and end it; but first what was asked before."""
        self._note(fault.reason)
        if not self._is_answering():
            self._say(fault)
            self._end()
        elif self._in_message and not self._in_head and not self.pipeline:
            # It is the body of what is being answered: to the application the client has gone.
            if not self.cycle.response_started:
                self._say(fault)
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            self.flow.resume_writing()
            self._end()
        else:
            self.parser = None  # type: ignore[assignment]
            self.cycle.keep_alive = False

    def _say(self, fault: Fault) -> None:
        headers = b"".join(b"%b: %b\r\n" % pair for pair in self.server_state.default_headers)
        status = b"HTTP/1.1 %b\r\n" % fault.status
        self.transport.write(b"".join((status, headers, fault.answer)))

    def _end(self) -> None:
        """Send no more, and read on for a while: a reset could overtake the last words."""
        self._stage = Stage.ENDING
        if self.transport.is_closing():
            return
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self.flow.resume_reading()
        else:
            self.transport.close()
        self._gate.expect(self, END_WITHIN)

    def _cut(self, reason: str) -> None:
        self._note(reason)
        self._abort()

    def _abort(self) -> None:
        self._stage = Stage.ENDING
        self.transport.abort()

    def _note(self, reason: str) -> None:
        self._gate.rejects.note(reason, self.client[0] if self.client else "?")
