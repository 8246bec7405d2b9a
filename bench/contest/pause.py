"""How long a server's loop stands still, as one sees who only asks for its health."""

from __future__ import annotations

import socket
import threading
import time
from types import TracebackType

EVERY = 0.01
"""Seconds between two questions: seldom enough to cost the server nothing to speak of."""


class Pause:
    """While it is entered, asks over one connection all the time; `longest` is in milliseconds.

    The answer waits for the loop, and also for a core: on a busy machine it is an upper bound.
    """

    def __init__(self, port: int, path: str = "/health") -> None:
        self.longest = 0.0
        self._request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._over = threading.Event()

    def __enter__(self) -> Pause:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
        self._socket.close()

    def _ask(self) -> None:
        while not self._over.wait(EVERY):
            began = time.monotonic()
            self._socket.sendall(self._request)
            if not self._socket.recv(65_536):
                raise ConnectionError("the server hung up on the one who asks for its health")
            self.longest = max(self.longest, (time.monotonic() - began) * 1000)
