"""What a person sees when the server is up."""

from __future__ import annotations

import shlex
import sys
from shutil import which

from cardume.server.compose import Composition
from cardume.server.demo import YOURS, Demo
from cardume.server.places import from_here
from cardume.server.tokens import signer
from cardume.server.visitor import USER
from cardume.settings import Settings, secret

DAY = 86_400.0


def text(composition: Composition, port: int) -> str:
    """One line for `serve`; for the demo all there is to open, to paste and to try."""
    settings = composition.settings
    where = address(settings, port)
    if composition.demo is not None:
        return _demo(composition, composition.demo, where)
    waterside = composition.waterside
    mqtt_host = _reachable(settings.mqtt_host or settings.host)
    mqtt = "" if waterside is None else f", MQTT on {mqtt_host}:{waterside.port}"
    if waterside is not None and waterside.broker is not None:
        mqtt = f", MQTT from {waterside.broker}"
    elif waterside is not None and waterside.tls_port is not None:
        tls_host = _reachable(settings.mqtt_tls_host or settings.mqtt_host or settings.host)
        mqtt += f", with TLS on {tls_host}:{waterside.tls_port}"
    return f"Cardume is up: {where}/{mqtt}. Stop with Ctrl-C."


def address(settings: Settings, port: int) -> str:
    """Where the server is, as seen from its own machine."""
    scheme = "https" if settings.tls_cert else "http"
    return f"{scheme}://{_reachable(settings.host)}:{port}"


def _demo(composition: Composition, demo: Demo, where: str) -> str:
    settings = composition.settings
    minter = signer(settings, composition.clock)
    assert minter is not None
    token = minter.mint(USER, ttl=DAY, role="service", broadcast=True)
    sockets = where.replace("http", "ws", 1)
    parts = [
        ("", "Cardume demo is up. Stop with Ctrl-C."),
        ("page", f"{where}/"),
        ("API", f"{where}/docs"),
        ("rooms", f"{sockets}/ws?client_id=me"),
        ("token", f"{token}\n{'':12}(user {USER}, one day; from this machine none is needed)"),
    ]
    if composition.waterside is not None:
        mqtt = _reachable(settings.mqtt_host or settings.host), composition.waterside.port
        parts.append(("WebSocket", f"{sockets}/ws/aquarium/{demo.aquarium_id}?token={token}"))
        parts += _by_the_water(settings, demo, *mqtt)
    parts += [(name, line) for app, name, line in _tries(where) if app in settings.apps]
    parts.append(
        (
            "publish",
            f"CARDUME_API_KEY={secret(settings.api_key)} {_command()} publish --url {where} "
            """news '{"hello":"world"}'""",
        )
    )
    return "\n".join(f"{name:>11} {what}" if name else f"\n{what}\n" for name, what in parts) + "\n"


def _by_the_water(
    settings: Settings, demo: Demo, mqtt_host: str, mqtt_port: int
) -> list[tuple[str, str]]:
    topic = f"{settings.mqtt_prefix}/{YOURS}/reading"
    return [
        ("MQTT", f"{mqtt_host}:{mqtt_port}"),
        (
            "be a device",
            f"mosquitto_pub -p {mqtt_port} -u {YOURS} -P {demo.key} -q 1 -t {topic} "
            """-m '{"metric":"temperature","value":25.3}'""",
        ),
    ]


def _tries(where: str) -> list[tuple[str, str, str]]:
    """What there is to type, by app."""
    post = "curl -H 'Content-Type: application/json' -d"
    return [
        ("agents", "add agent", f"""{post} '{{"agent_type":"neutrophil"}}' {where}/agents"""),
        ("cards", "add card", f"""{post} '{{"title":"Feed the fish"}}' {where}/api/v1/cards"""),
        ("executions", "run", f"{_command()} exec --url {where} -- ping -c 20 127.0.0.1"),
    ]


def _reachable(host: str) -> str:
    """What to write in an address."""
    host = from_here(host)
    return f"[{host}]" if ":" in host else host


def _command() -> str:
    """How this shell calls us; after `run.py` the name alone is not on its PATH."""
    return "cardume" if which("cardume") else f"{shlex.quote(sys.executable)} -m cardume"
