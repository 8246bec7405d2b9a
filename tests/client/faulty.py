"""A server that answers as a test says, and keeps what it was asked."""

from __future__ import annotations

import contextlib
import http.server
import json
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple


class Reply(NamedTuple):
    """What it says next. Without a status it hangs up."""

    status: int | None = 200
    body: bytes = b'{"result":{"epoch":"e","offset":1}}'
    heard_only: bool = False
    """It says nothing, and keeps the connection."""


class Faulty:
    """Answers with `replies` one after another, the last one again and again."""

    def __init__(self, replies: Sequence[Reply], scheme: str = "http") -> None:
        self.scheme = scheme
        self.replies = list(replies)
        self.asked: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.connections = 0
        self.gone = threading.Event()
        self.port = 0

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def next(self) -> Reply:
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


@contextmanager
def faulty(*replies: Reply, pem: Path | None = None) -> Iterator[Faulty]:
    """One in a thread of its own; behind TLS with the key and the certificate in `pem`."""
    state = Faulty(replies or [Reply()], "http" if pem is None else "https")

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            state.connections += 1

        def handle(self) -> None:
            with contextlib.suppress(ssl.SSLError):  # the client did not like what it saw
                super().handle()

        def do_POST(self) -> None:
            size = int(self.headers["Content-Length"])
            state.asked.append(json.loads(self.rfile.read(size)))
            state.paths.append(self.path)
            reply = state.next()
            if reply.heard_only:
                state.gone.wait(10)
            if reply.status is None or reply.heard_only:
                self.close_connection = True
                return
            self.send_response(reply.status)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, format: str, *args: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.port = server.server_port
    if pem is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(pem)
        # Shaken in the connection's own thread: one that fails is its own business.
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        state.gone.set()
        server.shutdown()
        server.server_close()
        thread.join(10)
