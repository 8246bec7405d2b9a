"""An issuer of keys that can be told to misbehave."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.auth.forge import RSA, jwk


def key_set(*members: Any) -> bytes:
    return json.dumps({"keys": list(members)}).encode()


class Issuer:
    """A real HTTP server on a thread, whose answer the test sets."""

    def __init__(self) -> None:
        self.body: bytes = key_set(jwk(RSA, kid="a"))
        self.status = 200
        self.location = ""
        self.hits = 0
        self.open = threading.Event()
        """Clear it and answers wait."""
        self.open.set()
        self.drip = 0.0
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.hits += 1
                issuer.open.wait(20)
                with contextlib.suppress(OSError):  # the client hung up, as it should
                    issuer.answer(self)

            def log_message(self, format: str, *args: Any) -> None:
                return None

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/jwks.json"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(self.status)
        if self.location and handler.path == "/jwks.json":
            handler.send_header("location", self.location)
        handler.end_headers()
        if not self.drip:
            handler.wfile.write(self.body)
            return
        for byte in self.body:
            handler.wfile.write(bytes([byte]))
            time.sleep(self.drip)

    def close(self) -> None:
        self.open.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
