"""uvicorn's protocols, but freed at once when a connection ends.

As they are, each leaves cycles behind that hold all it had: 80 objects that wait for the garbage
collector. After 5,000 connections were cut, its next round stopped the loop for a second.
"""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol


class Http(HttpToolsProtocol):
    """Leaves no cycle behind where it becomes a WebSocket."""

    def handle_websocket_upgrade(self) -> None:
        super().handle_websocket_upgrade()
        # It holds methods of ours, and nothing more comes here.
        self.parser = None  # type: ignore[assignment]


class WebSocket(WebSocketsSansIOProtocol):
    """Leaves no cycle behind when it ends."""

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        # A generator, whose frame holds the protocol that holds it.
        self.conn.parser.close()
