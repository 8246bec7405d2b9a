"""The link to a broker as the settings have it: what may be wrong with it, who we are there."""

from __future__ import annotations

import secrets
import ssl
from typing import TYPE_CHECKING

from sqlalchemy import insert, select

from cardume.clock import Clock
from cardume.errors import ConfigurationError
from cardume.mqtt.intake import Intake
from cardume.mqtt.link.url import BrokerAddress, parse_url, tls_context
from cardume.settings import Settings, secret
from cardume.storage.database import Storage
from cardume.storage.tables import sequences

if TYPE_CHECKING:  # it needs paho, which is an extra
    from cardume.mqtt.link.link import Link

TOPICS = ("availability", "state", "reading", "sensor/#", "command/result")
"""What devices say, below their own topic."""

_SESSION = "mqtt-link"


def broker(settings: Settings) -> tuple[BrokerAddress, ssl.SSLContext | None] | None:
    """The broker that devices speak to; None: they speak to the listener.

    Raises:
        ConfigurationError: it cannot be used as it is written.
    """
    url = secret(settings.mqtt_url)
    if url is None:
        _nothing_for_the_link(settings)
        return None
    address = parse_url(url)
    context = tls_context(
        address, ca=settings.mqtt_ca, cert=settings.mqtt_cert, key=settings.mqtt_key
    )
    return address, context


def _nothing_for_the_link(settings: Settings) -> None:
    """What is set for a link that there is not would be ignored without a word."""
    of_the_link = "is for the link to a broker, and CARDUME_MQTT_URL is not set"
    files = {"CA": settings.mqtt_ca, "CERT": settings.mqtt_cert, "KEY": settings.mqtt_key}
    for name, value in files.items():
        if value:
            raise ConfigurationError(
                f"CARDUME_MQTT_{name} {of_the_link}: set that too, or CARDUME_MQTT_TLS_{name} "
                "if the listener is meant"
            )
    fixed = None if settings.mqtt_protocol == "auto" else settings.mqtt_protocol
    for name, value in {"CLIENT_ID": settings.mqtt_client_id, "PROTOCOL": fixed}.items():
        if value:
            raise ConfigurationError(f"CARDUME_MQTT_{name} {of_the_link}: set both or none")


def check(settings: Settings) -> None:
    """Whether a link can be made.

    Raises:
        ConfigurationError: not as the settings are.
    """
    if broker(settings) is None:
        return
    try:
        import paho.mqtt.client  # noqa: F401
    except ImportError:
        raise ConfigurationError(
            "CARDUME_MQTT_URL needs paho-mqtt: pip install 'cardume[mqtt]'"
        ) from None


def filters(settings: Settings) -> tuple[str, ...]:
    """What we subscribe to."""
    return tuple(f"{settings.mqtt_prefix}/+/{topic}" for topic in TOPICS)


def echo(settings: Settings) -> str:
    """Where the doctor says something to itself, as to a device that there is not."""
    return f"{settings.mqtt_prefix}/cardume-doctor-{secrets.token_hex(4)}/command"


def make(settings: Settings, intake: Intake, clock: Clock) -> Link | None:
    """The link, not started; None where there is none to be."""
    found = broker(settings)
    if found is None:
        return None
    from cardume.mqtt.link.link import Link

    address, context = found
    return Link(
        address,
        intake,
        clock,
        filters=filters(settings),
        tls=context,
        protocol=settings.mqtt_protocol,
    )


async def client_id(settings: Settings, storage: Storage) -> str:
    """Our name at the broker, where our session waits for us while we are away.

    Unless it is set it belongs to the database: it stays through restarts and moves, and two
    servers with databases of their own never take the link from each other.
    """
    if settings.mqtt_client_id:
        return settings.mqtt_client_id
    async with storage.write() as tx:
        query = select(sequences.c.value).where(sequences.c.name == _SESSION)
        value = (await tx.execute(query)).scalar()
        if value is None:
            value = secrets.randbits(40)
            await tx.execute(insert(sequences).values(name=_SESSION, value=value))
    return f"cardume-{value:010x}"
