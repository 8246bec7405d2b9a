"""One call of the server API, tried again until it is answered. It blocks."""

from __future__ import annotations

import http.client
import random
import time
from urllib.parse import quote

from cardume.client.answers import UNAVAILABLE, body_of
from cardume.client.http import Authorities, KeepAlive, NotConnected
from cardume.errors import ConfigurationError, Unavailable

FIRST_WAIT = 0.1
"""Seconds before the second try, half of it at random; twice as long before each further one."""


class Unreachable(Unavailable):
    """There was no connection to the server: nothing was sent, so it did not happen."""


class Calls:
    """The server API at one address."""

    def __init__(
        self,
        url: str,
        api_key: str,
        *,
        timeout: float,
        retries: int,
        connections: int,
        ca: Authorities = None,
    ) -> None:
        if not api_key or not api_key.isascii() or not api_key.isprintable():
            raise ConfigurationError("an API key is printable ASCII, and is not empty")
        if retries < 0:
            raise ConfigurationError("retries: 0, or how often a call is repeated")
        self.timeout = timeout
        self.retries = retries
        self._headers = {"Content-Type": "application/json", "X-API-Key": api_key}
        self._server = KeepAlive(url, most=connections, ca=ca)

    def post(self, method: str, body: bytes) -> bytes:
        """The answer to `method`.

        Each call may be repeated: what it does twice is done once. So it is, where nobody
        answered or the server could not take it, for as long as `timeout` lasts.

        Raises:
            CardumeError: what its status says.
            Unreachable: there was no connection, at any try.
            Unavailable: no answer.
        """
        ends = time.monotonic() + self.timeout
        wait = FIRST_WAIT
        sent = False
        for tries_left in range(self.retries, -1, -1):
            cause: Exception | None = None
            try:
                response = self._server.post(
                    f"/api/{quote(method)}",
                    body,
                    self._headers,
                    timeout=max(0.001, ends - time.monotonic()),
                )
            except NotConnected as error:
                cause = error
            except (OSError, http.client.HTTPException) as error:
                cause, sent = error, True
            else:
                sent = True
                if response.status not in UNAVAILABLE or not tries_left:
                    return body_of(response)
            pause = wait * random.uniform(0.5, 1.0)
            if not tries_left or time.monotonic() + pause >= ends:
                break
            time.sleep(pause)
            wait *= 2
        if not sent:
            raise Unreachable(
                f"no server at {self._server.url} ({cause}): nothing was sent"
            ) from cause
        raise Unavailable("the server did not answer: whether it happened is open") from cause

    def close(self) -> None:
        self._server.close()
