"""What may be reached, and from which page: channel patterns, Origin, the local demo. Pure.

Nothing here builds a regular expression from input, and nothing backtracks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from cardume.errors import ConfigurationError

_ORIGIN = re.compile(
    r"([a-z][a-z0-9+.\-]{0,31})://([a-z0-9._\-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::([0-9]{1,5}))?",
    re.ASCII | re.IGNORECASE,
)
_DEFAULT_PORTS = {"http": 80, "https": 443}
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
# What ASGI servers say for those names; the last is IPv4 as a dual-stack socket sees it.
_LOOPBACK_PEERS = frozenset({"localhost", "127.0.0.1", "::1", "[::1]", "::ffff:127.0.0.1"})
_FORWARDING = frozenset(
    {
        b"forwarded",
        b"forwarded-for",
        b"via",
        b"x-real-ip",
        b"x-client-ip",
        b"x-cluster-client-ip",
        b"x-original-host",
        b"x-original-forwarded-for",
        b"x-envoy-external-address",
        b"true-client-ip",
        b"client-ip",
        b"fastly-client-ip",
        b"cf-connecting-ip",
        b"cf-ray",
    }
)


def match(pattern: str, name: str) -> bool:
    """Whether `pattern` covers `name`; each ``*`` stands for one or more characters.

    Linear: the parts between the stars are looked up from left to right, each as early as
    possible, which is exact for patterns without other wildcards.
    """
    first, *rest = pattern.split("*")
    if not rest:
        return pattern == name
    if not name.startswith(first):
        return False
    at = len(first)
    *middle, last = rest
    for part in middle:
        at = name.find(part, at + 1)
        if at < 0:
            return False
        at += len(part)
    return len(name) - len(last) > at and name.endswith(last)


class _Origin(NamedTuple):
    scheme: str
    host: str
    port: int | None
    """None where it is the scheme's default."""


def origin_allowed(
    origin: str | None, host: str | None, allowed: Sequence[str], *, scheme: str
) -> bool:
    """Whether a page from `origin` may talk to us (RFC 6454, CWE-1385).

    `host` is the Host header, `scheme` the request's (http, https, ws or wss). An absent Origin
    is no browser, and needs a token like everybody. Without `allowed` the Origin must be the host
    and port the request was sent to; with it, one of its entries and nothing else; ``*`` is any.
    """
    if origin is None or "*" in allowed:
        return True
    asked = _parse(origin)
    if asked is None:
        return False
    if allowed:
        return any(_parse(entry) == asked for entry in allowed)
    if asked.scheme not in _DEFAULT_PORTS or host is None:
        return False
    # Behind a proxy that ends TLS an https page reaches us as http. Never the other way round.
    if scheme in ("https", "wss") and asked.scheme != "https":
        return False
    return _parse(f"{asked.scheme}://{host}") == asked


def check_origins(allowed: Sequence[str]) -> tuple[str, ...]:
    """The list itself, for settings to check at the start.

    Raises:
        ConfigurationError: an entry is no origin and would never match anything.
    """
    for entry in allowed:
        if entry != "*" and _parse(entry) is None:
            raise ConfigurationError(
                f"{entry!r} is no origin: write scheme://host or scheme://host:port, "
                "without a path or a final slash"
            )
    return tuple(allowed)


def is_local_demo(
    peer_host: str | None,
    host_header: str | None,
    origin: str | None,
    headers: Iterable[tuple[bytes, bytes]],
) -> bool:
    """Whether the demo may let this request in without credentials.

    Peer and Host must both be loopback, or a rebound DNS name could bring a foreign page here;
    no proxy may have left a trace; and a browser must come from this very server. The demo
    speaks no TLS, so an https Origin came through something else.
    """
    if peer_host not in _LOOPBACK_PEERS or host_header is None:
        return False
    here = _parse(f"http://{host_header}")
    if here is None or here.host not in _LOOPBACK_NAMES:
        return False
    if any(_is_forwarding(name) for name, _ in headers):
        return False
    if origin is None:
        return True
    page = _parse(origin)
    return (
        page is not None
        and page.scheme == "http"
        and page.host in _LOOPBACK_NAMES
        and page.port == here.port
    )


def _is_forwarding(name: bytes) -> bool:
    name = name.lower()
    return name in _FORWARDING or name.startswith(b"x-forwarded")


def _parse(text: str) -> _Origin | None:
    """None for ``null`` and for all that a browser would not send: user names, paths, spaces."""
    found = _ORIGIN.fullmatch(text)
    if found is None:
        return None
    scheme, host, digits = found[1].lower(), found[2].lower(), found[3]
    port = None if digits is None else int(digits)
    if port is not None and not 0 < port < 65536:
        return None
    return _Origin(scheme, host, None if port == _DEFAULT_PORTS.get(scheme) else port)
