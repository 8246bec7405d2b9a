"""An answer's head and the first of its body in one write, and so in one packet."""

from __future__ import annotations

import asyncio

_CONTINUE = b"HTTP/1.1 100 "


class Reply:
    """What a request writes its answer to: a transport that holds the head back until then.

    As ASGI has it: no head leaves before there is something of the body.
    """

    __slots__ = ("_begun", "_head", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head: bytes | None = None
        self._begun = False

    def write(self, data: bytes) -> None:
        if self._begun:
            self._transport.write(data)
        elif self._head is not None:
            self._begun = True
            self._transport.write(self._head + data)
        elif data.startswith(_CONTINUE):
            self._transport.write(data)
        else:
            self._head = data

    def close(self) -> None:
        if self._head is not None and not self._begun:
            self.write(b"")
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()
