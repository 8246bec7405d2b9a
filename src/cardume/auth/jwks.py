"""Public keys published by an issuer (RFC 7517 §5), fetched off the event loop and kept.

The address comes from the settings and from nowhere else: no claim and no header of a token can
make us ask anybody (CVE-2026-32301), and one source serves one issuer (CVE-2026-49998).
"""

from __future__ import annotations

import asyncio
import http.client
import logging
import time
import urllib.error
import urllib.request
from collections.abc import Collection, Iterable
from typing import IO
from urllib.parse import urlsplit

from cardume.auth.keys import Key, jwk_key
from cardume.clock import Clock
from cardume.errors import ConfigurationError, Invalid, Unavailable
from cardume.wire import json

MAX_AGE = 600.0
"""Seconds after which the keys are asked for again; until the answer is here the old ones serve."""
MIN_INTERVAL = 30.0
"""Seconds between two fetches, whatever clients send."""
TIMEOUT = 3.0
MAX_BYTES = 1 << 20
MAX_KEYS = 64
MAX_TRIES = 8
"""Keys that are tried for a token without a kid: each costs a verification."""
MAX_ABSENT = 1024

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_logger = logging.getLogger("cardume.auth")


class JwksKeys:
    """A `KeySource` that reads one JWK Set.

    At most one fetch runs, and at most one per `min_interval`. A failed fetch leaves the keys as
    they were. Where there are no keys yet, or a kid is unknown and may not be asked for now, the
    answer is `Unavailable`: the client comes back, and no token that is good is called bad.
    """

    def __init__(
        self,
        url: str,
        clock: Clock,
        *,
        max_age: float = MAX_AGE,
        min_interval: float = MIN_INTERVAL,
        timeout: float = TIMEOUT,
    ) -> None:
        check_url(url)
        self.fetches = 0
        self.failures = 0
        self._url = url
        self._clock = clock
        self._max_age = max_age
        self._min_interval = min_interval
        self._timeout = timeout
        self._keys: tuple[Key, ...] = ()
        # kids that were asked for and are not in the set we hold: no reason to ask again yet.
        self._absent: set[str] = set()
        self._read_at: float | None = None
        self._tried_at: float | None = None
        self._refreshing: asyncio.Task[None] | None = None
        self._thread_busy = False

    def find(self, alg: str, kid: str | None) -> tuple[Key, ...] | None:
        if self._read_at is None:
            return None
        if self._is_stale() and self._may_fetch():
            return None
        found = self._fitting(alg, kid)
        if found or kid is None or (kid in self._absent and not self._may_fetch()):
            return found
        return None

    async def fetch(self, alg: str, kid: str | None) -> tuple[Key, ...]:
        found = self._fitting(alg, kid)
        fresh = self._refresh()
        if found:
            return found  # stale keys serve while new ones are on their way
        if fresh is None:
            raise Unavailable("the keys of the token's issuer cannot be asked for right now")
        # `wait`, not `await fresh`: a client that hangs up must not cancel it for the others.
        await asyncio.wait([fresh])
        if self._read_at is None or self._read_at != self._tried_at:
            raise Unavailable("the keys of the token's issuer could not be read")
        found = self._fitting(alg, kid)
        if not found and kid is not None and len(self._absent) < MAX_ABSENT:
            self._absent.add(kid)
        return found

    async def withdrawn(self, keys: Collection[Key]) -> frozenset[Key]:
        ours = [key for key in keys if key.issuer == self._url]
        if ours and self._is_stale() and (fresh := self._refresh()) is not None:
            await asyncio.wait([fresh])
        if self._read_at is None:
            return frozenset()
        return frozenset(key for key in ours if not any(map(key.is_same, self._keys)))

    async def aclose(self) -> None:
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.wait([self._refreshing])

    def _fitting(self, alg: str, kid: str | None) -> tuple[Key, ...]:
        fitting = tuple(key for key in self._keys if alg in key.algorithms)
        if kid is None:
            return fitting[:MAX_TRIES]
        return tuple(key for key in fitting if key.kid == kid)

    def _is_stale(self) -> bool:
        return self._read_at is None or self._clock.monotonic() - self._read_at >= self._max_age

    def _may_fetch(self) -> bool:
        if self._refreshing is not None or self._thread_busy:
            return False
        tried = self._tried_at
        return tried is None or self._clock.monotonic() - tried >= self._min_interval

    def _refresh(self) -> asyncio.Task[None] | None:
        """The fetch that is under way, or a new one; None if it is too early for one."""
        if self._refreshing is None and self._may_fetch():
            self._tried_at = self._clock.monotonic()
            self.fetches += 1
            self._refreshing = asyncio.create_task(self._read(), name="cardume.auth.jwks")
        return self._refreshing

    async def _read(self) -> None:
        try:
            # Twice the timeout: a server that drips holds its thread, never its clients.
            async with asyncio.timeout(2 * self._timeout):
                body = await asyncio.to_thread(self._download)
            keys = self._known(parse_key_set(body, self._url))
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.failures += 1
            _logger.warning("issuer's keys not refreshed: %s", _reason(error))
        else:
            self._read_at = self._tried_at
            # What was withdrawn is known to be gone; other kids may be new and get asked for.
            self._absent = {key.kid for key in self._keys if key.kid is not None}
            self._absent -= {key.kid for key in keys}
            self._keys = keys
        finally:
            self._refreshing = None

    def _known(self, keys: Iterable[Key]) -> tuple[Key, ...]:
        """`keys`, as the objects we hold already where they are the same: identities keep them."""
        held = {key: key for key in self._keys}
        return tuple(held.get(key, key) for key in keys)

    def _download(self) -> bytes:
        self._thread_busy = True
        try:
            return download(self._url, self._timeout)
        finally:
            self._thread_busy = False


def check_url(url: str) -> None:
    """Accept https, and http to this machine.

    Raises:
        ConfigurationError: any other address, or one with a user name in it.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    local = parts.scheme == "http" and parts.hostname in _LOOPBACK
    if not parts.hostname or "@" in parts.netloc or not (parts.scheme == "https" or local):
        raise ConfigurationError(
            "CARDUME_JWKS_URL must be https://…, without a user name (http:// only to this machine)"
        )


def parse_key_set(body: bytes, issuer: str | None = None) -> tuple[Key, ...]:
    """The verifying keys of an issuer's JWK Set, at most `MAX_KEYS`.

    Raises:
        Invalid: it is no key set, or there is no usable key in it. An issuer never means that;
            it is what a broken deploy publishes.
    """
    document = json.parse(body)
    members = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(members, list):
        raise Invalid("not a JWK Set")
    keys = tuple(key for member in members[:MAX_KEYS] if (key := jwk_key(member, issuer)))
    if not keys:
        raise Invalid("no usable key in the JWK Set")
    return keys


class _SameOrigin(urllib.request.HTTPRedirectHandler):
    """Follow a redirect only to where we were going anyway."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if urlsplit(newurl)[:2] != urlsplit(req.full_url)[:2]:
            return None  # urllib then reports the 3xx as an error
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def download(url: str, timeout: float, limit: int = MAX_BYTES) -> bytes:
    """Read `url`, blocking: at most `limit` bytes within about `timeout` seconds.

    Raises:
        OSError, http.client.HTTPException, ValueError: any failure.
    """
    until = time.monotonic() + timeout
    # A loopback issuer is never behind a proxy; for https the environment's proxy holds.
    local = url.startswith("http:")
    proxy = urllib.request.ProxyHandler({}) if local else urllib.request.ProxyHandler()
    opener = urllib.request.build_opener(proxy, _SameOrigin())
    chunks: list[bytes] = []
    size = 0
    with opener.open(url, timeout=timeout) as response:
        # read1 returns after one recv, so a dripping server meets the deadline.
        while chunk := response.read1(65536):
            chunks.append(chunk)
            size += len(chunk)
            if size > limit:
                raise Invalid(f"more than {limit} bytes")
            if time.monotonic() > until:
                raise TimeoutError("too slow")
    return b"".join(chunks)


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code}"
    if isinstance(error, Invalid):
        return str(error)
    return type(error).__name__
