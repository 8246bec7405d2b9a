"""Reading a WebSocket in turns: what comes in one read may be thousands of frames.

256 KiB of empty frames taken at once stopped the loop for 250 ms. So `TURN` messages are taken, the
transport is held back, and the others have their turn before more are taken.
"""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import Final

from cardume.wire.framing import CLOSE
from cardume.wire.websocket import FrameFault, Message, Receiver

TURN: Final = 16
"""Messages taken in one turn of the loop, and those that may wait to be answered or read."""


class Reading(asyncio.Protocol):
    """The reading half of a socket. Slots alone, for each connection has one while it lasts."""

    __slots__ = ("_accepted", "_deaf", "_full", "_receiver", "transport")

    transport: asyncio.Transport

    def __init__(self) -> None:
        self._receiver: Receiver | None = None
        """Of a message that has begun and not ended; between two there is none."""
        self._full = False
        """Whether nothing more is read for now."""
        self._deaf = False
        """Whether what comes has no meaning any more."""
        self._accepted = b""
        """The end of the handshake, as long as it waits for what is said right after it."""

    def _take(self, message: Message) -> None:
        """One has come."""
        raise NotImplementedError

    def _break_off(self, fault: FrameFault) -> None:
        """What has come is none."""
        raise NotImplementedError

    def _has_enough(self) -> bool:
        """Whether so many wait that no more are wanted."""
        raise NotImplementedError

    def _message_ended(self) -> None:
        """The time of the one that had begun is over."""

    def _waits(self) -> None:
        """All that has come was taken; more of a message may be due."""

    def _read(self, receiver: Receiver, data: bytes = b"") -> None:
        """Take some of what has come."""
        left = TURN
        try:
            for message in islice(receiver.feed(data), TURN):
                left -= 1
                self._take(message)
                if message.opcode < CLOSE:  # what comes in the middle of it gives it no more time
                    self._message_ended()
        except FrameFault as fault:
            self._receiver = None
            self._break_off(fault)
            return
        if self._deaf or receiver.idle:
            self._receiver = None
        if (self._receiver is not None and not left) or self._has_enough():
            self._read_later()
        else:
            self._waits()

    def _read_later(self) -> None:
        """Read no more until others had their turn, and less waits."""
        if not self._full:
            self._full = True
            self.transport.pause_reading()
        if not self._has_enough():
            asyncio.get_running_loop().call_soon(self._read_on)

    def _read_on(self) -> None:
        """Take more of what has come; when there is no more, let more come."""
        if not self._full or self._has_enough():
            return
        self._full = False
        if self._receiver is not None:
            self._read(self._receiver)
        if not (self._full or self.transport.is_closing()):
            self.transport.resume_reading()

    def _say_answer(self) -> None:
        """Write the end of the handshake, if that was not done."""
        # Forgotten first: under TLS a write may call `resume_writing`.
        answer, self._accepted = self._accepted, b""
        if answer:
            self.transport.write(answer)

    def _end_output(self) -> None:
        """Nothing follows from us. Who closed while there is something to read would reset it."""
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()
