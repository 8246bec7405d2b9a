"""Where the settings have us listen: each place with the settings that say so, so that what is
wrong with one is told by their names."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from itertools import combinations
from typing import Final, NamedTuple

from cardume.errors import ConfigurationError
from cardume.settings import Settings

_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""A listener on all addresses, and where it is reached from its own machine."""


class Place(NamedTuple):
    """One listening socket that will be."""

    what: str
    host: str
    port: int
    host_setting: str
    port_setting: str
    option: str = ""
    """The command's own name of `port_setting`, if it has one."""

    @property
    def how(self) -> str:
        """By what another port is chosen."""
        return f"{self.option} or {self.port_setting}" if self.option else self.port_setting


def places(settings: Settings) -> Iterator[Place]:
    """The HTTP port first."""
    name = "CARDUME_HOST"
    yield Place("HTTP port", settings.host, settings.port, name, "CARDUME_PORT", "--port")
    if "aquarium" not in settings.apps or settings.mqtt_url is not None:
        return
    host = settings.mqtt_host or settings.host
    name = "CARDUME_MQTT_HOST" if settings.mqtt_host else name
    yield Place("MQTT port", host, settings.mqtt_port, name, "CARDUME_MQTT_PORT", "--mqtt-port")
    if settings.mqtt_tls_port is None:
        return
    host = settings.mqtt_tls_host or host
    name = "CARDUME_MQTT_TLS_HOST" if settings.mqtt_tls_host else name
    yield Place("MQTT TLS port", host, settings.mqtt_tls_port, name, "CARDUME_MQTT_TLS_PORT")


def check(settings: Settings) -> None:
    """Whether all hosts are ours, and no two of our own ports meet. Who else has one is not asked.

    Raises:
        ConfigurationError: not so; both settings are named.
    """
    found = [(place, addresses(place)) for place in places(settings)]
    for (one, ours), (other, theirs) in combinations(found, 2):
        if one.port == other.port != 0 and _meet(ours, theirs):
            raise ConfigurationError(
                f"{one.port_setting} and {other.port_setting} are both {one.port}: "
                "choose another for one of them"
            )


def from_here(host: str) -> str:
    """Where what listens on `host` is reached from its own machine."""
    return _EVERYWHERE.get(host, host)


def addresses(place: Place) -> frozenset[str]:
    """What its host means on this machine.

    Raises:
        ConfigurationError: nothing that one can listen on.
    """
    # HTTP takes the first of a name's addresses of IPv4 (`serve.bind`), MQTT takes all of them.
    is_http = place.port_setting == "CARDUME_PORT"
    family = socket.AF_UNSPEC
    if is_http:
        family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
    why = "no address"
    ours = set()
    try:
        found = socket.getaddrinfo(place.host, 0, family, socket.SOCK_STREAM)
    except (OSError, ValueError) as error:  # no name, and nothing that could be one
        found, why = [], getattr(error, "strerror", None) or "not a name"
    for kind, _, _, _, where in found:
        if (fault := _fault(kind, where)) is None:
            ours.add(str(where[0]))
        else:
            why = fault
    if not ours:
        raise ConfigurationError(
            f"{place.host_setting}: {place.host!r:.80} is no address of this machine ({why}); "
            "127.0.0.1 is here, 0.0.0.0 is everywhere"
        )
    if is_http and "::" in ours:
        ours.add("0.0.0.0")  # one socket for both, where MQTT has one for each
    return frozenset(ours)


def _fault(family: int, where: tuple[object, ...]) -> str | None:
    """Why no socket can have this address; whether a port is free is another question."""
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind(where)
    except OSError as error:
        return None if error.errno == errno.EADDRINUSE else error.strerror or "not ours"
    return None


def _meet(some: frozenset[str], others: frozenset[str]) -> bool:
    return any(
        (":" in one) == (":" in other)
        and (one == other or one in _EVERYWHERE or other in _EVERYWHERE)
        for one in some
        for other in others
    )
