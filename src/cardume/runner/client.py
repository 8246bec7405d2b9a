"""The server's HTTP as the runner speaks it: one connection, one request at a time."""

from __future__ import annotations

import http.client
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

from cardume.client.http import context_of, reason_of
from cardume.errors import ConfigurationError, Invalid, Unavailable
from cardume.wire import json

CONNECT_WITHIN = 5.0
ANSWER_WITHIN = 30.0
"""Seconds: a full request needs 17 KB/s."""

_MAX_ANSWER = 4 * 1024 * 1024
_PASSING = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: dict[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def detail(self) -> str:
        """What the server says about it, fit for a terminal."""
        said = self.body.get("detail")
        return printable(said)[:300] if isinstance(said, str) and said else f"HTTP {self.status}"


class Untrusted(Unavailable):
    """The server's certificate is not to be trusted; nothing was sent."""


class Client:
    """Requests below a base URL. Not for several threads at once, except for `abort`."""

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        ca: str | None = None,
        connect_within: float = CONNECT_WITHIN,
        answer_within: float = ANSWER_WITHIN,
    ) -> None:
        """`ca` is a PEM file of those whose certificates are good, in place of the system's.

        Raises: ConfigurationError: `url`, `token` or `ca` cannot be one.
        """
        self._base = _base(url)
        self._tls = context_of(ca) if self._base.scheme == "https" else None
        self._headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if token:
            if not is_credential(token):
                raise ConfigurationError("CARDUME_TOKEN is no token: check how it was copied")
            self._headers["Authorization"] = f"Bearer {token}"
        self._connect_within = connect_within
        self._answer_within = answer_within
        self._connection: http.client.HTTPConnection | None = None

    @property
    def url(self) -> str:
        return self._base.geturl()

    def resolve(self, path: str) -> str:
        """An address that the server gave, as one to open; a path is one below our base URL."""
        below = f"{self.url}{path}" if path.startswith("/") and path[1:2] != "/" else path
        resolved = urljoin(f"{self.url}/", below)
        scheme = urlsplit(resolved).scheme
        return resolved if scheme in ("http", "https") and resolved.isprintable() else self.url

    def use_key(self, key: str) -> None:
        """Show the key of one execution from now on, and the token no more: it may expire."""
        self._headers.pop("Authorization", None)
        self._headers["X-Runner-Key"] = key

    def get(self, path: str) -> Answer:
        """As `post`."""
        return self._ask("GET", path, None)

    def post(self, path: str, body: bytes) -> Answer:
        """An answer that means something: success, or a refusal that another try would meet again.

        Raises:
            Unavailable: the server is away or asks for patience; the same call may succeed later.
            Untrusted: so, once it shows another certificate.
        """
        return self._ask("POST", path, body)

    def abort(self) -> None:
        """Let a request that another thread waits for fail now."""
        connection = self._connection
        sock = None if connection is None else connection.sock
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _ask(self, method: str, path: str, body: bytes | None) -> Answer:
        reused = self._connection is not None
        try:
            try:
                answer = self._exchange(method, path, body)
            except (ConnectionError, http.client.BadStatusLine):
                # A server may close a connection that idles (uvicorn after 5 s): no failure yet.
                if not reused:
                    raise
                self.close()
                answer = self._exchange(method, path, body)
        except (OSError, http.client.HTTPException, Invalid) as error:
            self.close()
            raise _failure(error) from error
        if answer.status >= 500 or answer.status in _PASSING:
            raise Unavailable(f"it answers {answer.status}")
        return answer

    def _exchange(self, method: str, path: str, body: bytes | None) -> Answer:
        connection = self._connection or self._connect()
        connection.request(method, f"{self._base.path}/api/v1{path}", body, self._headers)
        with connection.getresponse() as response:
            text = response.read(_MAX_ANSWER)
            if response.will_close or not response.isclosed():
                self.close()
        if response.status >= 300 and "json" not in response.headers.get("Content-Type", ""):
            return Answer(response.status)
        value = json.parse(text)
        if not isinstance(value, dict):
            raise Invalid("the answer is not Cardume's")
        return Answer(response.status, value)

    def _connect(self) -> http.client.HTTPConnection:
        host, port = self._base.hostname or "", self._base.port
        connection: http.client.HTTPConnection
        if self._tls is not None:
            connection = http.client.HTTPSConnection(
                host, port, timeout=self._connect_within, context=self._tls
            )
        else:
            connection = http.client.HTTPConnection(host, port, timeout=self._connect_within)
        self._connection = connection
        connection.connect()
        connection.sock.settimeout(self._answer_within)
        return connection


def is_credential(text: str) -> bool:
    """Whether `text` may stand in a header, as tokens and keys do."""
    return text.isascii() and text.isprintable() and " " not in text and text != ""


def printable(text: str) -> str:
    """Without what would move a terminal's cursor or colour it."""
    return "".join(c if c.isprintable() else " " for c in text)


def _base(url: str) -> SplitResult:
    wrong = ConfigurationError("--url is like https://host:8000: a scheme, a host, perhaps a path")
    try:
        parts = urlsplit(url.rstrip("/"))
        port = parts.port
    except ValueError:
        raise wrong from None
    usable = parts.scheme in ("http", "https") and parts.hostname and port != 0
    plain = url.isascii() and url.isprintable() and " " not in url
    # A password in an address ends up in logs; the token has a variable of its own.
    if not usable or not plain or parts.query or parts.fragment or "@" in parts.netloc:
        raise wrong
    return parts


def _failure(error: Exception) -> Unavailable:
    if isinstance(error, ssl.SSLCertVerificationError):
        return Untrusted(
            f"its certificate is not to be trusted ({reason_of(error)}): name the CA that signed "
            "it with --ca ca.pem or CARDUME_CA"
        )
    if isinstance(error, Invalid):
        return Unavailable("what answers is not Cardume")
    return Unavailable(
        reason_of(error) if isinstance(error, OSError) else "the connection was lost"
    )
