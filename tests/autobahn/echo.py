"""The bare echo: our protocol class, uvicorn, and nothing else."""

from __future__ import annotations

import sys
from typing import Any

import uvicorn
from starlette.types import Receive, Scope, Send

from cardume.transports.uvicorn import WebSocketProtocol


async def echo(_scope: Scope, receive: Receive, send: Send) -> None:
    """Says what it hears."""
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        said: dict[str, Any] = {key: message[key] for key in ("text", "bytes") if key in message}
        await send({"type": "websocket.send", **said})


def serve(port: int) -> None:
    """Until it is stopped. Messages of 16 MiB and compression, as sections 9, 12 and 13 ask for."""
    uvicorn.run(
        echo,
        port=port,
        ws=WebSocketProtocol,
        ws_max_size=16 * 1024 * 1024,
        ws_per_message_deflate=True,
        interface="asgi3",
        lifespan="off",
        log_level="warning",
    )


if __name__ == "__main__":
    serve(int(sys.argv[1]))
