"""What a client says on a WebSocket, frame by frame, without I/O (RFC 6455, RFC 7692).

The frames are read with the sans-I/O code of `websockets`; between two messages there is nothing
to remember, and a `Receiver` that is `idle` can be thrown away.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import NamedTuple

from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Close, Frame
from websockets.streams import StreamReader

from cardume.wire.framing import (
    BINARY,
    CLOSE,
    CONTINUATION,
    NO_STATUS,
    PING,
    PONG,
    WINDOW_BITS,
)

CONTROL_SIZE = 125
"""Bytes that a control frame holds (§5.5); one may come in the middle of a message."""


class FrameFault(Exception):  # noqa: N818 - the peer's
    """What no client may send; `code` closes its connection (§7.4.1)."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Message(NamedTuple):
    """A message or a control frame of the peer."""

    opcode: int
    text: str = ""
    """Of a text message."""
    data: bytes = b""
    """Of all others; of a close the reason."""
    code: int = NO_STATUS
    """Of a close."""


class Receiver:
    """From a client's bytes to its messages.

    A message has at most `limit` bytes, uncompressed, in `64 + limit // 64` fragments: those are
    not stored one by one, but a peer that sends nothing but empty ones would have us busy.
    """

    __slots__ = ("_data", "_deflate", "_fragments", "_limit", "_opcode", "_parsing", "_reader")

    def __init__(self, limit: int, *, deflate: bool = False) -> None:
        """`deflate`: the extension was agreed on, without context takeover by the client."""
        self._limit = limit
        self._deflate = [PerMessageDeflate(True, True, 15, WINDOW_BITS)] if deflate else []
        self._reader = StreamReader()
        self._parsing: Generator[None, None, Frame] | None = None
        self._opcode = CONTINUATION
        """Of the message whose fragments come in; a continuation where there is none."""
        self._data = bytearray()
        self._fragments = 0

    @property
    def idle(self) -> bool:
        """Whether nothing has begun that has not ended."""
        return not (self._reader.buffer or self._parsing or self._opcode)

    def feed(self, data: bytes) -> Iterator[Message]:
        """The messages that end in `data`.

        Raises:
            FrameFault: the peer broke the protocol; what follows has no meaning.
        """
        self._reader.feed_data(data)
        while (found := self._next_frame()) is not None:
            message = self._take(found)
            if message is not None:
                yield message

    def _next_frame(self) -> Frame | None:
        if self._parsing is None:
            if not self._reader.buffer:
                return None
            self._parsing = Frame.parse(
                self._reader.read_exact,
                mask=True,
                max_size=max(CONTROL_SIZE, self._limit - len(self._data)),
                extensions=self._deflate,
            )
        try:
            next(self._parsing)
        except StopIteration as done:
            self._parsing = None
            found: Frame = done.value
            return found
        except PayloadTooBig:
            raise FrameFault(1009, "message too big") from None
        except ProtocolError as error:
            raise FrameFault(1002, str(error)) from None
        return None

    def _take(self, found: Frame) -> Message | None:
        opcode = int(found.opcode)
        if opcode == CLOSE:
            return _close(bytes(found.data))
        if opcode in (PING, PONG):
            return Message(opcode, data=bytes(found.data))
        if (opcode == CONTINUATION) is (self._opcode == CONTINUATION):
            raise FrameFault(1002, "a fragment out of its place")
        if found.fin and opcode:
            return _message(opcode, bytes(found.data))
        self._opcode = opcode or self._opcode
        self._data += found.data
        self._fragments += 1
        if len(self._data) > self._limit:
            raise FrameFault(1009, "message too big")
        if self._fragments > 64 + self._limit // 64:
            raise FrameFault(1009, "too many fragments")
        return self._whole() if found.fin else None

    def _whole(self) -> Message:
        opcode, data = self._opcode, bytes(self._data)
        self._opcode = CONTINUATION
        self._data = bytearray()
        self._fragments = 0
        return _message(opcode, data)


def _message(opcode: int, data: bytes) -> Message:
    if opcode == BINARY:
        return Message(opcode, data=data)
    try:
        return Message(opcode, data.decode())
    except UnicodeDecodeError:
        raise FrameFault(1007, "not UTF-8") from None


def _close(data: bytes) -> Message:
    try:
        said = Close.parse(data)
    except ProtocolError as error:
        raise FrameFault(1002, str(error)) from None
    except UnicodeDecodeError:
        raise FrameFault(1007, "not UTF-8") from None
    return Message(CLOSE, data=said.reason.encode(), code=int(said.code))
