"""POST over connections that are kept open, with the standard library alone. It blocks."""

from __future__ import annotations

import http.client
import os
import select
import socket
import ssl
from typing import NamedTuple, TypeAlias
from urllib.parse import urlsplit

from cardume.errors import ConfigurationError

MAX_ANSWER = 64 * 1024 * 1024
"""Bytes of an answer; a longer one is cut, and is no JSON then."""

Authorities: TypeAlias = str | os.PathLike[str] | ssl.SSLContext | None
"""Whose certificates are good: those in a PEM file, what a context says; None: the system's."""


class Response(NamedTuple):
    """What came back."""

    status: int
    body: bytes


class NotConnected(OSError):  # noqa: N818 - a state, named as one
    """No connection came about, so nothing was sent; the message says why."""


class KeepAlive:
    """Connections to one server. Threads may share it: each takes a connection for itself."""

    def __init__(self, url: str, *, most: int, ca: Authorities = None) -> None:
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
        self.url = url
        if ca is not None and parts.scheme != "https":
            raise ConfigurationError("ca is for https: a server at http:// shows no certificate")
        self._tls = context_of(ca) if parts.scheme == "https" else None
        self._most = most
        self._idle: list[http.client.HTTPConnection] = []

    def post(self, path: str, body: bytes, headers: dict[str, str], *, timeout: float) -> Response:
        """Send `body` and wait; `timeout` seconds for each step of it.

        Raises:
            NotConnected: no such name, or nobody listens there.
            OSError: it hung up, or it was too slow.
            ConfigurationError: its certificate is not to be trusted, or it speaks no TLS.
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
        connection: http.client.HTTPConnection
        if self._tls is None:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=timeout)
        else:
            connection = http.client.HTTPSConnection(
                self._host, self._port, timeout=timeout, context=self._tls
            )
        try:
            connection.connect()  # `request` would do it, where other failures mean something else
        except ssl.SSLEOFError as error:
            raise NotConnected("it hung up") from error
        except ssl.SSLCertVerificationError as error:
            raise ConfigurationError(
                f"the certificate of {self._host} is not to be trusted ({reason_of(error)}); for a "
                "CA of your own: HubClient(…, ca='ca.pem')"
            ) from error
        except ssl.SSLError as error:
            raise ConfigurationError(
                f"what answers at {self._host} does not speak TLS as we do ({error.reason})"
            ) from error
        except (OSError, UnicodeError) as error:
            raise NotConnected(reason_of(error)) from error
        return connection


def reason_of(error: Exception) -> str:
    """Why there is no connection, in a few words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message or error.reason
    if isinstance(error, ssl.SSLError):
        return f"it does not speak TLS as we do: {error.reason}"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, UnicodeError):
        return "no name of a host"
    words = error.strerror if isinstance(error, OSError) else None
    return words or str(error) or type(error).__name__


def context_of(ca: Authorities) -> ssl.SSLContext:
    """What checks certificates.

    Raises:
        ConfigurationError: there are none of a CA in the file.
    """
    if isinstance(ca, ssl.SSLContext):
        return ca
    if ca is None:
        return ssl.create_default_context()
    try:
        return ssl.create_default_context(cafile=ca)
    except OSError as error:
        raise ConfigurationError(f"no certificates of a CA in {os.fspath(ca)!r}") from error


def _is_readable(connection: socket.socket) -> bool:
    if not hasattr(select, "poll"):  # Windows, where select has no bound on descriptors
        return bool(select.select([connection], [], [], 0)[0])
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(0))
