"""WebSockets over any ASGI server: correct everywhere, one reader and one writer task each.

The server frames, masks, pings and limits; ASGI can neither send nor see a ping, so the idle
timeout is the server's as well. A peer that stopped reading blocks `send`, even the closing one:
it is given `CLOSE_TIMEOUT` and then let go, and the rest is the server's.
"""

from __future__ import annotations

import asyncio
import logging

from cardume.clock import TimerHandle
from cardume.hub.connection import Connection
from cardume.hub.hub import Hub
from cardume.hub.outbox import Outbox
from cardume.transports.door import Receive, Send
from cardume.transports.stay import CLOSE_TIMEOUT, Admission, code_for, is_longer
from cardume.wire import codes
from cardume.wire.codes import CloseCode
from cardume.wire.dialects import Dialect

MAX_JOINED = 16 * 1024
"""Bytes from which a frame of several messages takes no more of them."""

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
            connection.count_sent(count)
        return self._goodbye


def _joined(text: str, outbox: Outbox) -> tuple[str, int]:
    """What waits, in one frame, a line each; and how many. The outbox forgets all but the last."""
    lines, size = [text], len(text)
    while size < MAX_JOINED and (frame := outbox.take()) is not None:
        lines.append(frame.text)
        size += len(frame)
    return "\n".join(lines), len(lines)


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
            self._stay.left()
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
