"""POST over connections that are kept open, with the standard library alone. It blocks."""

from __future__ import annotations

import http.client
import select
import socket
import ssl
from typing import NamedTuple
from urllib.parse import urlsplit

from cardume.errors import ConfigurationError

MAX_ANSWER = 64 * 1024 * 1024
"""Bytes of an answer; a longer one is cut, and is no JSON then."""


class Response(NamedTuple):
    """What came back."""

    status: int
    body: bytes


class KeepAlive:
    """Connections to one server. Threads may share it: each takes a connection for itself."""

    def __init__(self, url: str, *, most: int) -> None:
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in ("http", "https") or not parts.hostname or port == -1:
            raise ConfigurationError(f"{url!r} is no address of a server: write http://host:port")
        if parts.username is not None or parts.query or parts.fragment:
            raise ConfigurationError("the server's address is http(s)://host:port and a path")
        self._host, self._port = parts.hostname, port
        self._path = parts.path.rstrip("/")
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._most = most
        self._idle: list[http.client.HTTPConnection] = []

    def post(self, path: str, body: bytes, headers: dict[str, str], *, timeout: float) -> Response:
        """Send `body` and wait; `timeout` seconds for each step of it.

        Raises:
            OSError: no such server, it hung up, or it was too slow.
            http.client.HTTPException: it speaks something else.
        """
        connection = self._take(timeout)
        try:
            connection.request("POST", self._path + path, body, headers)
            response = connection.getresponse()
            answer = Response(response.status, response.read(MAX_ANSWER))
        except BaseException:
            connection.close()
            raise
        if response.isclosed() and not response.will_close and len(self._idle) < self._most:
            self._idle.append(connection)
        else:
            connection.close()
        return answer

    def close(self) -> None:
        """Let go of the connections that nobody uses."""
        while self._idle:
            self._idle.pop().close()

    def _take(self, timeout: float) -> http.client.HTTPConnection:
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return self._connection(timeout)
            # What can be read before anything was asked is the server's goodbye.
            if connection.sock is not None and not _is_readable(connection.sock):
                connection.timeout = timeout
                connection.sock.settimeout(timeout)
                return connection
            connection.close()

    def _connection(self, timeout: float) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=timeout)
        return http.client.HTTPSConnection(
            self._host, self._port, timeout=timeout, context=self._tls
        )


def _is_readable(connection: socket.socket) -> bool:
    if not hasattr(select, "poll"):  # Windows, where select has no bound on descriptors
        return bool(select.select([connection], [], [], 0)[0])
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(0))
