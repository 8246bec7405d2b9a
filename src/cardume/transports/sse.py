"""Server-sent events, for networks that break WebSockets (WHATWG HTML §9.2).

To the rest of the house a stream is a WebSocket: it takes the same messages and writes events.
What the peer says comes on other requests, or not at all.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from cardume.errors import Refused
from cardume.transports.door import Message, Receive, Scope, Send
from cardume.transports.problems import RETRY_AFTER, problem
from cardume.wire import codes, json
from cardume.wire.codes import CloseCode
from cardume.wire.dialects.centrifuge import CentrifugeDialect

HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"private, no-cache, no-store, must-revalidate, max-age=0"),
    (b"x-accel-buffering", b"no"),
]

MAX_HELD = 16
"""Requests of one peer that wait to be answered."""

_STATUS = {
    3013: codes.RATE_LIMITED,
    3500: codes.UNAUTHORIZED,
    3501: codes.INVALID_FIELDS,
    3507: codes.PERMISSION_DENIED,
    3508: codes.NOT_FOUND,
}

Serve = Callable[[Scope, Receive, Send], Awaitable[None]]


class Stream:
    """One event stream. `hear` is how a peer speaks that has another way to do so."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.started = False
        self.ended = False
        self._scope = scope
        self._receive = receive
        self._send = send
        self._held: deque[Message] = deque([{"type": "websocket.connect"}])
        self._awake = asyncio.Event()

    async def run(self, serve: Serve) -> None:
        """Have `serve` serve it, until either side leaves."""
        # What is refused before the start is an HTTP answer; no subprotocol was offered.
        offered = {"extensions": {"websocket.http.response": {}}, "subprotocols": []}
        watcher = asyncio.create_task(self._watch(), name="watch event stream")
        try:
            await serve({**self._scope, **offered}, self.receive, self.send)
        finally:
            watcher.cancel()
            await asyncio.wait({watcher})
        if self.started and not self.ended:
            await self._finish(b"")

    def hear(self, text: str) -> None:
        """Take what the peer said.

        Raises:
            Refused: it says more than it waits for (429).
        """
        if len(self._held) >= MAX_HELD:
            raise Refused(codes.RATE_LIMITED, "wait for your answers")
        self._hold({"type": "websocket.receive", "text": text})

    async def receive(self) -> Message:
        while not self._held:
            self._awake.clear()
            await self._awake.wait()
        return self._held.popleft()

    async def send(self, message: Message) -> None:
        match message["type"]:
            case "websocket.accept":
                await self.accept()
            case "websocket.send":
                await self._start()
                await self._write(self.event(message["text"]))
            case "websocket.close":
                code = codes.CLOSES.get(message["code"]) or CloseCode(message["code"], "")
                await self.part(code)
            case "websocket.http.response.start" | "websocket.http.response.body" as type:
                await self._send({**message, "type": type.removeprefix("websocket.")})

    async def accept(self) -> None:
        """It is let in."""
        await self._start()

    def event(self, text: str) -> bytes:
        """What a message looks like; an empty one keeps the stream awake."""
        raise NotImplementedError

    async def part(self, code: CloseCode) -> None:
        """Say why it ends, and end it."""
        raise NotImplementedError

    async def _start(self) -> None:
        if not self.started:
            self.started = True
            await self._send({"type": "http.response.start", "status": 200, "headers": HEADERS})
            await self._write(b":\n\n")  # a proxy may wait for the first byte

    async def _write(self, data: bytes) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def _finish(self, last: bytes) -> None:
        self.ended = True
        await self._send({"type": "http.response.body", "body": last, "more_body": False})

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._hold({"type": "websocket.disconnect", "code": 1006})

    def _hold(self, message: Message) -> None:
        self._held.append(message)
        self._awake.set()


class CommandStream(Stream):
    """Of a `centrifuge` client, whose commands come by `/emulation`; each reply is an event."""

    def event(self, text: str) -> bytes:
        return b"".join(b"data: %b\n\n" % line.encode() for line in text.split("\n"))

    async def part(self, code: CloseCode) -> None:
        # A stream has no close codes: without this push an SDK would always come back.
        await self._start()
        await self._finish(self.event(CentrifugeDialect().disconnect(code).decode()))


class ChannelStream(Stream):
    """Of one channel, in the `events` dialect."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        super().__init__(scope, receive, send)
        self.epoch = ""

    async def accept(self) -> None:
        """Wait for the first event: who is turned away gets an HTTP status instead."""

    def event(self, text: str) -> bytes:
        if not text:
            return b":\n\n"
        offset, newline, data = text.partition("\n")
        if not newline:
            return b"data: %b\n\n" % text.encode()
        return b"id: %b:%b\ndata: %b\n\n" % (self.epoch.encode(), offset.encode(), data.encode())

    async def part(self, code: CloseCode) -> None:
        if self.started:
            data = {"code": code.number, "reason": code.reason, "reconnect": code.reconnect}
            await self._finish(b"event: close\ndata: %b\n\n" % json.encode(data))
            return
        self.ended = True
        error = _STATUS.get(code.number, codes.NOT_AVAILABLE)
        later = {"Retry-After": RETRY_AFTER} if error.status in (429, 503) else {}
        answer = problem(error, code.reason, headers=later)
        await answer(self._scope, self._receive, self._send)
