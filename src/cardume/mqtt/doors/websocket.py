"""MQTT over WebSocket (MQTT 3.1.1 §6): a transport whose bytes travel in binary frames, over ASGI.

Packets begin and end anywhere in the frames. To the connection it is a socket like any other.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Final

from starlette.types import Receive, Scope, Send

from cardume.mqtt.connection import Connection
from cardume.mqtt.doors.wire import READ_AT_ONCE
from cardume.mqtt.listener import Listener

SUBPROTOCOL: Final = "mqtt"

READ_AHEAD: Final = READ_AT_ONCE
"""Bytes taken from the server while the connection reads nothing. A client that waits for its
acknowledgements sends nothing else, so its pongs and its goodbye are still heard."""
FRAME: Final = 64 * 1024
"""Bytes from which a frame of several packets takes no more of them."""
FRAME_COST: Final = 64
"""What a frame counts for beside its bytes: it may have one."""

NORMAL: Final = 1000
UNSUPPORTED_DATA: Final = 1003
TRY_AGAIN_LATER: Final = 1013
WHAT_TO_OFFER: Final = b"offer the WebSocket subprotocol mqtt\n"  # [MQTT-6.0.0-3]

log = logging.getLogger("cardume.mqtt")


async def serve(listener: Listener, scope: Scope, receive: Receive, send: Send) -> None:
    """One client, from the answer to its handshake to its end.

    The caller has received the handshake and judged it: a page of another origin is refused there.
    """
    if SUBPROTOCOL not in scope.get("subprotocols", ()):
        listener.note("wrong_subprotocol", _peer(scope))
        await _refuse(scope, send)
        return
    await send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL})
    connection = listener.accept()
    if connection is None:
        await send({"type": "websocket.close", "code": TRY_AGAIN_LATER, "reason": "no room"})
        return
    await Frames(scope, receive, send, connection).run()


class Frames(asyncio.Transport):
    """What a `Connection` reads from and writes to, over the two callables of ASGI.

    Backpressure goes both ways: nothing is received while the connection reads nothing and
    `READ_AHEAD` bytes wait; its writing is paused while `send` waits for the peer.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, connection: Connection) -> None:
        client = scope.get("client")
        super().__init__({"peername": tuple(client) if client else None})
        self._receive = receive
        self._send = send
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._reader: asyncio.Task[None] | None = None
        self._writer: asyncio.Task[None] | None = None
        self._unread: deque[memoryview] = deque()
        self._ahead = 0
        self._reading = True
        self._delivering = False
        self._roomy = asyncio.Event()
        self._roomy.set()
        self._unsent: list[bytes] = []
        self._size = 0
        self._high, self._low = FRAME, FRAME // 4
        self._full = False
        self._closing = False
        self._code = NORMAL

    async def run(self) -> None:
        """Be its transport until the client is gone."""
        connection = self._connection
        connection.connection_made(self)
        self._reader = reader = self._loop.create_task(self._read(), name="mqtt-websocket")
        try:
            await asyncio.wait({reader})
        finally:
            # No await before this is done: a server may cancel us again at the next one.
            self.abort()
            connection.connection_lost(None)
            del self._connection  # which holds us: a cycle

    # -- in ----------------------------------------------------------------------------------------

    async def _read(self) -> None:
        taken = 0
        try:
            while (message := await self._receive())["type"] != "websocket.disconnect":
                if self._closing:
                    continue
                data = message.get("bytes")
                if data is None:
                    self._code = UNSUPPORTED_DATA
                    self._connection.end("text_frame")  # [MQTT-6.0.0-1]
                    continue
                self._take(data)
                taken += len(data) + FRAME_COST
                if taken >= READ_AT_ONCE:
                    taken = 0
                    await asyncio.sleep(0)  # a server may have many small frames at hand
                await self._roomy.wait()
        except Exception as error:
            # Servers say "closed" in their own ways.
            log.debug("a WebSocket read failed: %s", type(error).__name__)
        finally:
            # A cancelled task holds its traceback, that this frame, and the frame us: a cycle.
            self._reader = None

    def _take(self, data: bytes) -> None:
        view = memoryview(data)
        for at in range(0, len(data), READ_AT_ONCE):
            piece = view[at : at + READ_AT_ONCE]
            self._unread.append(piece)
            self._ahead += len(piece) + FRAME_COST
        if not self._delivering:
            self._deliver()

    def _deliver(self) -> None:
        """Hand over one piece; the next has to wait for a turn of the loop."""
        self._delivering = False
        if self._unread and self._reading and not self._closing:
            piece = self._unread.popleft()
            self._ahead -= len(piece) + FRAME_COST
            self._connection.receive(bytes(piece))
            self._deliver_soon()
        if self._ahead <= READ_AHEAD:
            self._roomy.set()
        else:
            self._roomy.clear()

    def _deliver_soon(self) -> None:
        if self._unread and self._reading and not self._delivering and not self._closing:
            self._delivering = True
            self._loop.call_soon(self._deliver)

    def is_reading(self) -> bool:
        return self._reading

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True
        self._deliver_soon()

    # -- out ---------------------------------------------------------------------------------------

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = FRAME if high is None else high
        self._low = self._high // 4 if low is None else low

    def get_write_buffer_size(self) -> int:
        return self._size

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._closing:
            return
        self._unsent.append(bytes(data))
        self._size += len(data)
        self._write_soon()
        if self._size > self._high and not self._full:
            self._full = True
            self._connection.pause_writing()

    def _write_soon(self) -> None:
        if self._writer is None:
            self._writer = self._loop.create_task(self._write(), name="mqtt-websocket-write")

    async def _write(self) -> None:
        """Send what there is, then the close frame if it is time. An idle client has no writer."""
        try:
            while self._unsent:
                frame = self._next_frame()
                await self._send({"type": "websocket.send", "bytes": frame})
                self._sent(len(frame))
            if not self._closing:
                return
            await self._send({"type": "websocket.close", "code": self._code, "reason": ""})
        except Exception as error:
            log.debug("a WebSocket write failed: %s", type(error).__name__)
        finally:
            self._writer = None
        self.abort()

    def _next_frame(self) -> bytes:
        size = count = 0
        while count < len(self._unsent) and size < FRAME:
            size += len(self._unsent[count])
            count += 1
        frame = b"".join(self._unsent[:count])
        del self._unsent[:count]
        return frame

    def _sent(self, size: int) -> None:
        self._size -= size
        if self._full and self._size <= self._low and not self._closing:
            self._full = False
            self._connection.resume_writing()

    # -- the end -----------------------------------------------------------------------------------

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        """Send what was written, and hang up."""
        if not self._closing:
            self._closing = True
            self._write_soon()

    def abort(self) -> None:
        """Hang up now. What a peer does not take even then is the server's to forget."""
        self._closing = True
        self._unread.clear()
        self._unsent.clear()
        for task in (self._reader, self._writer):
            if task is not None:
                task.cancel()


async def _refuse(scope: Scope, send: Send) -> None:
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008})  # the server makes it a 403
        return
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "websocket.http.response.start", "status": 400, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": WHAT_TO_OFFER})


def _peer(scope: Scope) -> str:
    client = scope.get("client")
    return f"{client[0]}:{client[1]}" if client else "?"
