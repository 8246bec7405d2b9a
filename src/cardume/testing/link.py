"""One WebSocket between an ASGI application and a test, in memory, and what can befall it.

Flows in: what the application sends. Flows out: texts, to `hear`, and news that there is some.
It plays the server: as there, a peer that does not read holds back `send`, and one that is gone
makes it fail (ASGI 2.4).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from starlette.types import ASGIApp, Message, Scope

ABNORMAL = 1006
"""What a client sees when the link ends without a close frame (RFC 6455 §7.1.5)."""

PATIENCE = 5.0
"""Real seconds for what takes no time of the hub's: a busy machine is no fault of the code."""


class Denied(Exception):  # noqa: N818 - an answer
    """The handshake was refused with an HTTP status, before there was a WebSocket."""

    def __init__(self, status: int, reason: str = "") -> None:
        super().__init__(f"the handshake was refused: {status} {reason}".rstrip())
        self.status = status
        self.reason = reason


class Link:
    """`receive` and `send` of one connection. `changed` is called whenever something came."""

    def __init__(
        self, app: ASGIApp, scope: Scope, hear: Callable[[str], None], changed: Callable[[], None]
    ) -> None:
        self.code: int | None = None
        """What it was closed with."""
        self.reason = ""
        self.acknowledged = False
        """Whether the test wanted the end, or has seen it."""
        self.denied: Denied | None = None
        self._hear = hear
        self._changed = changed
        self._incoming: asyncio.Queue[Message] = asyncio.Queue()
        self._incoming.put_nowait({"type": "websocket.connect"})
        self._reading = asyncio.Event()
        self._reading.set()
        self._cut = False
        self._silent = False
        self._accepted = False
        self.task = asyncio.ensure_future(app(scope, self._incoming.get, self._send))
        self.task.add_done_callback(self._ended)

    @property
    def frozen(self) -> bool:
        return not self._reading.is_set()

    @property
    def silent(self) -> bool:
        """Whether it was cut, and nobody told the application."""
        return self._silent

    @property
    def over(self) -> bool:
        return self.code is not None or self.denied is not None

    def say(self, text: str) -> None:
        """Send a text frame.

        Raises:
            ConnectionError: it is closed.
        """
        if self.code is not None:
            raise ConnectionError(f"the connection is closed: {self.code} {self.reason}".rstrip())
        if not self._silent:
            self._incoming.put_nowait({"type": "websocket.receive", "text": text})

    def leave(self, code: int) -> None:
        """Close it from the client's side."""
        self.acknowledged = True
        self._close(code, "")

    def cut(self, *, silent: bool = False) -> None:
        """End it without a word; if `silent` the other side does not learn it either."""
        self.acknowledged = True
        self._cut, self._silent = not silent, silent
        if self.code is None:
            self.code, self.reason = ABNORMAL, "cut"
        if not silent:
            self._incoming.put_nowait({"type": "websocket.disconnect", "code": ABNORMAL})
        self._reading.set()
        self._changed()

    def freeze(self) -> None:
        self._reading.clear()

    def thaw(self) -> None:
        self._reading.set()

    async def end(self) -> None:
        """Let go of it, and wait until the application has noticed.

        Raises:
            Exception: what the application failed with.
        """
        self._close(1001, "")
        self.cut()
        await asyncio.wait({self.task}, timeout=PATIENCE)
        if not self.task.done():
            self.task.cancel()
            await asyncio.wait({self.task})
        self.check()

    def check(self) -> None:
        """Raise what the application failed with, if it did."""
        if self.task.done() and not self.task.cancelled():
            error = self.task.exception()
            if error is not None and not (self._cut and isinstance(error, OSError)):
                raise error

    async def _send(self, message: Message) -> None:
        await self._reading.wait()
        if self._cut:
            raise OSError("the peer is gone")
        self._take(message)
        self._changed()

    def _take(self, message: Message) -> None:
        match message["type"]:
            case "websocket.accept":
                self._accepted = True
            case "websocket.send":
                if self.code is None:
                    self._hear(_text(message))
            case "websocket.close" if self._accepted:
                self._close(message.get("code", 1000), message.get("reason") or "")
            case "websocket.close":
                self.denied = Denied(403)  # as servers answer a close before accept
            case "websocket.http.response.start":
                self.denied = Denied(message["status"])
            case "websocket.http.response.body" if self.denied is not None:
                body = message.get("body", b"").decode("utf-8", "replace")
                self.denied = Denied(self.denied.status, self.denied.reason + body)

    def _close(self, code: int, reason: str) -> None:
        if self.code is None:
            self.code, self.reason = code, reason
            self._incoming.put_nowait({"type": "websocket.disconnect", "code": code})

    def _ended(self, _task: asyncio.Future[Any]) -> None:
        if self.code is None:
            self.code = ABNORMAL
        self._changed()


def _text(message: Message) -> str:
    text: str | None = message.get("text")
    return text if text is not None else str(message["bytes"], "utf-8")
