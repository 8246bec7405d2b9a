"""An ASGI server for one WebSocket, in memory: the test is the peer, and may stop reading."""

from __future__ import annotations

import asyncio
import json
from collections.abc import MutableMapping
from typing import Any

from cardume.testing.clock import settle
from tests.support.house import token

Message = MutableMapping[str, Any]


def scope_of(path_params: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    """The scope of a handshake as servers give it."""
    return {
        "type": "websocket",
        "scheme": "ws",
        "path": "/",
        "headers": [(b"host", b"localhost")],
        "query_string": b"token=" + token().encode(),
        "subprotocols": [],
        "extensions": {"websocket.http.response": {}},
        "client": ("192.0.2.7", 5000),
        "path_params": path_params or {},
        **more,
    }


class Socket:
    """`receive` and `send` of one connection, and all that was sent."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.reading = asyncio.Event()
        self.reading.set()
        self.broken: BaseException | None = None
        self._incoming: asyncio.Queue[Message] = asyncio.Queue()
        self._incoming.put_nowait({"type": "websocket.connect"})

    async def receive(self) -> Message:
        message = await self._incoming.get()
        if message["type"] == "explode":
            raise message["error"]
        return message

    async def send(self, message: Message) -> None:
        await self.reading.wait()
        if self.broken is not None:
            raise self.broken
        self.sent.append(message)

    def says(self, text: str) -> None:
        self._incoming.put_nowait({"type": "websocket.receive", "text": text})

    def sends(self, data: bytes) -> None:
        """A binary frame."""
        self._incoming.put_nowait({"type": "websocket.receive", "bytes": data})

    def explodes(self, error: Exception) -> None:
        """The server's own `receive` fails."""
        self._incoming.put_nowait({"type": "explode", "error": error})

    def leaves(self, code: int = 1001) -> None:
        self._incoming.put_nowait({"type": "websocket.disconnect", "code": code})

    @property
    def frames(self) -> list[dict[str, Any]]:
        return [json.loads(m["text"]) for m in self.sent if m["type"] == "websocket.send"]

    @property
    def code(self) -> int | None:
        """What it was closed with."""
        codes = [m["code"] for m in self.sent if m["type"] == "websocket.close"]
        assert len(codes) <= 1
        return codes[0] if codes else None


async def eventually(task: asyncio.Task[Any]) -> None:
    """The app's coroutine ends by itself."""
    await settle()
    async with asyncio.timeout(5):
        await asyncio.wait({task})
    task.result()
