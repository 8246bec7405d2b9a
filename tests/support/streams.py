"""An ASGI server for one event stream, in memory."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from tests.support.asgi import Message, eventually


class Request:
    """One request, and the events that it is answered with."""

    def __init__(self, app: Any, path: str, query: str = "", **headers: str) -> None:
        self.sent: list[Message] = []
        self._left = asyncio.Event()
        self._asked = False
        self.scope: dict[str, Any] = {
            "type": "http",
            "method": "GET",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "http_version": "1.1",
            "headers": [
                (b"host", b"localhost"),
                *((k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()),
            ],
            "client": ("192.0.2.7", 5000),
            "server": ("localhost", 80),
        }
        self.task = asyncio.get_running_loop().create_task(
            app(self.scope, self._receive, self._send)
        )

    async def _receive(self) -> Message:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        self.sent.append(message)

    @property
    def status(self) -> int:
        status: int = self.sent[0]["status"]
        return status

    @property
    def ended(self) -> bool:
        last = self.sent[-1] if self.sent else {"type": ""}
        return last["type"] == "http.response.body" and not last.get("more_body", False)

    @property
    def body(self) -> str:
        return b"".join(message.get("body", b"") for message in self.sent).decode()

    def events(self) -> list[dict[str, Any]]:
        """Each with its fields; the data decoded."""
        found = []
        for block in self.body.split("\n\n"):
            fields = dict(
                line.split(": ", 1) for line in block.split("\n") if line[:1] not in ("", ":")
            )
            if fields:
                found.append({**fields, "data": json.loads(fields["data"])})
        return found

    async def leave(self) -> None:
        self._left.set()
        await eventually(self.task)
