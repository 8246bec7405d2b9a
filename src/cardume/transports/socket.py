"""A WebSocket of the hub's own: frames straight to the transport, and nothing in between.

While it is idle there is this object and its connection; a parser, a queue and a task come and go
with what the peer says. The transport buffers nothing that the kernel has not refused, so what
waits for a slow reader waits in its outbox, where it can be superseded.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Any, Final, cast

from cardume.clock import TimerHandle
from cardume.hub.connection import Connection
from cardume.hub.hub import Hub
from cardume.hub.pulse import around
from cardume.hub.sockets import NO_FILENO
from cardume.transports.fileno import fileno_of
from cardume.transports.handover import Handover
from cardume.transports.reading import TURN, Reading
from cardume.transports.stay import CLOSE_TIMEOUT, Admission, Stay, code_for, is_longer
from cardume.wire import codes
from cardume.wire.codes import CloseCode
from cardume.wire.dialects import Dialect
from cardume.wire.framing import BINARY, CLOSE, PING, PONG, TEXT, close_frame, frame
from cardume.wire.websocket import FrameFault, Message, Receiver

PING_EVERY: Final = 25.0
PONG_WITHIN: Final = 8
"""Seconds; a ping that is not answered ends the connection with 3012."""

MESSAGE_WITHIN: Final = 30.0
"""Seconds from a message's first byte to its last."""

BATCH: Final = 64 * 1024
"""Bytes from which one write takes no more frames of an outbox."""

_PING = frame(b"", PING)

logger = logging.getLogger("cardume.transports")


class Socket(Reading):
    """`cardume.hub.connection.Transport`, and the protocol of an asyncio transport."""

    __slots__ = (
        "_asked",
        "_begun",
        "_connection",
        "_deadline",
        "_deflate",
        "_drains",
        "_goodbye",
        "_heard",
        "_hub",
        "_inbox",
        "_open",
        "_paused",
        "_peer_code",
        "_said_goodbye",
        "_stay",
        "_talk",
        "slot",
    )

    def __init__(self, hub: Hub) -> None:
        super().__init__()
        self.slot = 0
        self._hub = hub
        self.transport = cast("asyncio.Transport", None)
        self._connection: Connection = cast("Connection", None)
        self._stay: Stay | None = None
        self._begun = 0.0
        """When the message that has not ended began, on the hub's clock."""
        self._inbox: deque[str] | None = None
        self._talk: asyncio.Task[Any] | None = None
        """Who answers what the peer says, while it says something."""
        self._deadline: TimerHandle | None = None
        self._goodbye: CloseCode | None = None
        self._peer_code: int | None = None
        self._heard = 0.0
        """When the last message came."""
        self._open = False
        """Whether it may be written to directly: what it is told first is one write."""
        self._drains = False
        """Whether that will be written in the loop's next turn."""
        self._paused = False
        self._asked = False
        """Whether the answer to a ping is due."""
        self._said_goodbye = False
        self._deflate = False

    # -- life -------------------------------------------------------------------------------

    async def run(self, dialect: Dialect, admission: Admission, handover: Handover) -> None:
        """Take the socket, greet its peer, and return when it has nothing more to say for now."""
        hub = self._hub
        legacy = handover.take(self)
        transport = self.transport = legacy.transport
        self._accepted, self._deflate = legacy.answer, legacy.deflate
        if self._accepted:  # it goes out with what the peer is told first, if that is soon
            asyncio.get_running_loop().call_soon(self._say_answer)
        self._heard = self._begun = hub.clock.monotonic()
        self._receiver = legacy.receiver
        self._inbox = deque()
        self._talk = asyncio.current_task()
        connection = self._connection = hub.connect(
            admission.identity, dialect, self, address=admission.address
        )
        connection.compresses = legacy.compresses
        fileno = connection.fileno = fileno_of(transport)
        # Past a transport we may go only where it keeps not one byte. Otherwise not 0: asyncio's
        # TLS calls a buffer full that has as much as that.
        transport.set_write_buffer_limits(high=int(fileno == NO_FILENO), low=0)
        hub.pulse.add(self, around(PING_EVERY))
        try:
            await self._greet(admission, legacy.messages)
        except Exception as error:
            self._fail(error)
        except asyncio.CancelledError:
            connection.close(codes.SHUTDOWN)
            raise
        finally:
            self._open = True
            self._rest()
            self._drain()

    async def _greet(self, admission: Admission, messages: list[Message]) -> None:
        connection = self._connection
        for message in messages:
            self._take(message)
        if self._receiver is not None:  # it may hold more of them
            self._read(self._receiver)
        if connection.closing:  # the hub drains, or the peer broke the protocol
            return
        stay = self._stay = admission.begin(connection)
        await stay.enter()
        self._open = True
        self._drain()
        await self._answer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._paused = self._said_goodbye = True  # nothing more can be written
        self._hub.disconnect(self._connection, self._peer_code)
        self._hub.pulse.discard(self)
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        self._full = False
        self._accepted = b""
        if self._stay is not None:
            self._stay.left()
        if self._talk is not None:
            self._talk.cancel()
        self._receiver = None

    def eof_received(self) -> None:
        """The transport closes itself."""

    def beat(self) -> int:
        """Ask for a sign of life, or miss one; the seconds until the next beat."""
        connection = self._connection
        if connection.closing or self._peer_code is not None:
            return 0
        now = self._hub.clock.monotonic()
        if self._receiver is not None and not self._full and now > self._begun + MESSAGE_WITHIN:
            connection.close(codes.STALE)
        elif self._asked and not self._full:  # or its answer may wait to be read
            connection.close(codes.NO_PONG)
        elif self._is_idle(now):
            connection.close(codes.STALE)
        elif connection.dialect.pings or self._asked:
            return around(PING_EVERY)
        else:
            self._asked = True
            self._say_answer()
            self.transport.write(_PING)
            return PONG_WITHIN
        return 0

    def _is_idle(self, now: float) -> bool:
        """Whether it holds nothing and says nothing."""
        if self._connection.subscriptions or not self._hub.options.idle_timeout:
            return False
        return now > self._heard + self._hub.options.idle_timeout

    # -- out --------------------------------------------------------------------------------

    def wake(self) -> None:
        """`Transport.wake`"""
        if self._open:
            self._drain()
        elif not self._drains:
            self._drains = True
            asyncio.get_running_loop().call_soon(self._drain)

    def close(self, code: CloseCode, *, flush: bool) -> None:
        """`Transport.close`"""
        if self._peer_code is not None:
            return
        self._goodbye = code
        self._give_up_later()
        if not flush:
            self._part()
        self.wake()

    def pause_writing(self) -> None:
        self._paused = True
        connection = self._connection
        connection.stall()
        connection.outbox.writing(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        self._paused = False
        self._connection.outbox.writing(0)
        self._drain()

    def _drain(self) -> None:
        """Write what waits, as far as the transport takes it; then go on without an outbox."""
        self._drains = False
        connection = self._connection
        outbox = connection.outbox
        while not self._paused and (first := outbox.take()) is not None:
            frames, size = [first.wire], len(first)
            while size < BATCH and (more := outbox.take()) is not None:
                frames.append(more.wire)
                size += len(more)
            outbox.writing(0)
            self._hub.stats.messages_sent += len(frames)
            connection.count_sent(len(frames))
            if self._accepted:
                frames.insert(0, self._accepted)
                self._accepted = b""
            self.transport.write(frames[0] if len(frames) == 1 else b"".join(frames))
        if self._paused:
            return
        if self._goodbye is not None:
            self._part()
        elif self._open and connection.write is None and not outbox.corked:
            self._say_answer()
            if not self._paused:
                connection.resume(self.transport.write)

    def _give_up_later(self) -> None:
        if self._deadline is None:
            self._deadline = self._hub.clock.call_later(CLOSE_TIMEOUT, self.transport.abort)

    def _part(self) -> None:
        """Say goodbye, and wait for the peer's."""
        if self._said_goodbye or self._goodbye is None:
            return
        self._say_answer()
        self._said_goodbye = True
        self.transport.write(close_frame(self._goodbye.number, self._goodbye.reason))
        if self._deaf:
            self._end_output()

    # -- in ---------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        if self._receiver is None:
            limit = 2 * self._hub.options.max_message  # what is a little too big is told so
            self._receiver = Receiver(limit, deflate=self._deflate)
            self._begun = self._hub.clock.monotonic()
        self._read(self._receiver, data)

    def _has_enough(self) -> bool:
        return self._inbox is not None and len(self._inbox) >= TURN

    def _message_ended(self) -> None:
        self._begun = self._hub.clock.monotonic()

    def _break_off(self, fault: FrameFault) -> None:
        """The peer broke the protocol: say so, and hear no more of it."""
        self._hub.rejects.note("bad_frame", self._connection.id)
        self._deaf = True
        if self._said_goodbye:
            self._end_output()
        self._connection.close(codes.CLOSES[fault.code])

    def _take(self, message: Message) -> None:
        opcode = message.opcode
        if self._deaf:
            return
        if opcode == TEXT:
            self._hear(message.text)
        elif opcode == PONG:
            self._asked = False
        elif opcode == PING:
            if not (self._paused or self._said_goodbye):
                self._say_answer()
                self.transport.write(frame(message.data, PONG))
        elif opcode == CLOSE:
            self._peer_left(message.code)
        elif opcode == BINARY:
            self._connection.close(codes.UNSUPPORTED_DATA)

    def _hear(self, text: str) -> None:
        if self._connection.closing:
            return
        if self._inbox is None:
            self._inbox = deque()
        self._inbox.append(text)
        if self._talk is None:
            self._talk = asyncio.get_running_loop().create_task(self._converse())

    async def _converse(self) -> None:
        try:
            await self._answer()
        except Exception as error:
            self._fail(error)
        finally:
            self._rest()

    def _rest(self) -> None:
        """All that was said is answered, or will not be."""
        self._talk = self._inbox = None
        if self._peer_code is not None:
            self._leave()
        self._read_on()

    async def _answer(self) -> None:
        """Answer all that was said."""
        connection, inbox, stay = self._connection, self._inbox, self._stay
        assert stay is not None
        while inbox and not connection.closing:
            text = inbox.popleft()
            self._heard = self._hub.clock.monotonic()
            if is_longer(text, self._hub.options.max_message):
                connection.close(codes.TOO_BIG)
            else:
                await stay.hear(text)
            if self._full and not inbox:
                await asyncio.sleep(0)  # others have their turn: an answer may wait for nothing
                self._begun = self._hub.clock.monotonic()  # it waited for us
                self._read_on()

    def _fail(self, error: Exception) -> None:
        self._connection.close(code_for(error, accepted=True))

    def _peer_left(self, code: int) -> None:
        """The peer's goodbye. What it said before is answered first, if that is soon."""
        self._deaf = True
        self._peer_code = code
        self._give_up_later()
        answering = self._talk is not None and (self._open or self._inbox)
        if self._said_goodbye or not answering:
            self._leave()

    def _leave(self) -> None:
        """Answer the peer's goodbye by ours, if that was not said before (§5.5.1)."""
        assert self._peer_code is not None
        self._say_answer()
        if not self._said_goodbye:
            self._said_goodbye = True
            self._hub.disconnect(self._connection, self._peer_code)
            self._paused = True
            self.transport.write(close_frame(self._peer_code))
        self.transport.close()
