"""`cardume doctor`: what is wrong before it goes wrong, and how to mend it."""

from __future__ import annotations

import asyncio
import errno
import tomllib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from cardume.auth.policy import check_origins
from cardume.certificates import DAY, Certificates
from cardume.clock import SystemClock
from cardume.errors import ConfigurationError
from cardume.server import link, places, process, stored, tls
from cardume.server.compose import check
from cardume.server.finding import Finding
from cardume.server.places import Place
from cardume.server.serve import bind
from cardume.server.tokens import verifier
from cardume.settings import Settings, misspelt, named

__all__ = ["Finding", "examine"]

SOON = 14
"""Days before its end in which a certificate should be renewed."""


def examine(given: Mapping[str, Any]) -> list[Finding]:
    """Look at everything that `serve` needs, with these options."""
    try:
        settings = Settings(**given)
    except ValidationError as error:
        return [_setting(fault) for fault in error.errors(include_input=False)]
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        says = f"cardume.toml or .env cannot be read: {error}"
        return [Finding("settings", ok=False, says=says)]
    return [
        _apps(settings),
        _tokens(settings),
        _api_key(settings),
        _origins(settings),
        *_ports(settings),
        *_mqtt(settings),
        *_tls(settings),
        *stored.examine(settings),
        *_process(settings),
    ]


def _process(settings: Settings) -> Iterator[Finding]:
    """What it runs on; of what is only slower without it the doctor says so, and lets it be."""
    if (too_few := process.too_few_files(settings.max_connections)) is not None:
        yield Finding("open files", ok=False, says=too_few)
    else:
        enough_for = process.max_connections()
        says = f"{process.open_files()}, enough for {enough_for} connections"
        yield Finding("open files", ok=True, says=says)
    says = process.short_backlog() or f"{process.backlog()} connections may wait to be accepted"
    yield Finding("backlog", ok=True, says=says)
    yield Finding("event loop", ok=True, says=process.slow_loop() or "uvloop")
    yield Finding("fan-out", ok=True, says=process.slow_sockets() or "all sockets in one call")


def _setting(fault: Any) -> Finding:
    name = "CARDUME_" + "_".join(str(part) for part in fault["loc"]).upper()
    return Finding("settings", ok=False, says=f"{name}: {fault['msg']}")


def _apps(settings: Settings) -> Finding:
    try:
        check(settings)
    except ConfigurationError as error:
        return Finding("settings", ok=False, says=str(error))
    unheard = misspelt(named())
    if unheard:
        return Finding("settings", ok=False, says=f"nobody reads {', '.join(unheard)}: a typo?")
    return Finding("settings", ok=True, says=f"readable; apps: {', '.join(settings.apps)}")


def _tokens(settings: Settings) -> Finding:
    try:
        verifier(settings, SystemClock())
    except ConfigurationError as error:
        return Finding("tokens", ok=False, says=str(error))
    source = "a secret" if settings.jwt_secret else "a JWKS" if settings.jwks_url else "a key"
    return Finding("tokens", ok=True, says=f"checked with {source}")


def _api_key(settings: Settings) -> Finding:
    if settings.api_key is None:
        return Finding("API key", ok=True, says="none: `POST /api/publish` is closed")
    return Finding("API key", ok=True, says="set")


def _origins(settings: Settings) -> Finding:
    try:
        allowed = check_origins(settings.allowed_origins)
    except ConfigurationError as error:
        return Finding("origins", ok=False, says=f"CARDUME_ALLOWED_ORIGINS: {error}")
    return Finding("origins", ok=True, says=", ".join(allowed) or "this server's own pages")


def _ports(settings: Settings) -> Iterator[Finding]:
    """Nobody knocks at them: a server would hear it, and log it."""
    for place in places.places(settings):
        try:
            places.addresses(place)
        except ConfigurationError:
            continue  # `_apps` has said so
        yield _port(place)


def _port(place: Place) -> Finding:
    what, port = place.what, place.port
    try:
        bind(place.host, port).close()
    except ConfigurationError as error:
        if getattr(error.__cause__, "errno", None) == errno.EADDRINUSE:
            says = f"{port} is in use: stop what uses it, or choose another with {place.how}"
        else:
            reason = getattr(error.__cause__, "strerror", None) or "it is none of ours"
            says = f"cannot listen on {port} ({reason}): choose another with {place.how}"
        return Finding(what, ok=False, says=says)
    return Finding(what, ok=True, says=f"{port} is free")


def _mqtt(settings: Settings) -> Iterator[Finding]:
    """The broker at which devices are heard, if it is not our own port."""
    try:
        link.check(settings)
        broker = link.broker(settings)
    except ConfigurationError:
        return  # `_apps` has said so
    if broker is None:
        return
    from cardume.mqtt.link.probe import probe  # with paho, which is an extra

    address, context = broker
    filters, echo = link.filters(settings), link.echo(settings)
    why = asyncio.run(probe(address, context, filters, echo, settings.mqtt_protocol))
    says = f"{address} lets us in" if why is None else f"no link to {address}: {why}"
    yield Finding("MQTT broker", ok=why is None, says=says)


def _tls(settings: Settings) -> Iterator[Finding]:
    """Only of what is switched on, wholly or by half."""
    try:
        if (certificates := tls.https(settings)) is not None:
            yield _certificate("HTTPS", certificates)
    except ConfigurationError as error:
        yield Finding("HTTPS", ok=False, says=str(error))
    try:
        if (door := tls.mqtt(settings)) is not None:
            yield _certificate("MQTT TLS", door.certificates)
    except ConfigurationError as error:
        yield Finding("MQTT TLS", ok=False, says=str(error))


def _certificate(what: str, certificates: Certificates) -> Finding:
    left = (certificates.expires - SystemClock().now()) / DAY
    until = datetime.fromtimestamp(certificates.expires, UTC).strftime("%Y-%m-%d %H:%M UTC")
    if left <= 0:
        return Finding(what, ok=False, says=f"the certificate expired on {until}: renew it")
    hurry = ": renew it soon" if left < SOON else ""
    return Finding(what, ok=True, says=f"certificate valid until {until}{hurry}")
