"""CONNECT and CONNACK (§3.1, §3.2): what a client asks for, and what it is granted. Pure."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

from cardume.mqtt.codec.packets import LEVEL, LEVEL_5, Connack, Connect
from cardume.mqtt.codec.properties import Properties
from cardume.mqtt.limits import Limits
from cardume.mqtt.login import Refusal
from cardume.mqtt.sessions.outlet import UNLIMITED, Terms

_SPOKEN: Final = frozenset({LEVEL, LEVEL_5})


class Grant(NamedTuple):
    """What a client gets."""

    terms: Terms
    expiry: int
    """Seconds its session outlives the connection."""
    keepalive: int
    """Seconds within which it promises to speak; 0: it does not."""


def objection(packet: Connect, limits: Limits) -> Refusal | None:
    """Why a client is not even asked for its key."""
    if packet.level not in _SPOKEN:
        return Refusal.PROTOCOL_VERSION
    if packet.properties.authentication_method is not None:
        return Refusal.AUTHENTICATION
    nameless = not packet.client_id and not packet.clean and packet.level == LEVEL
    if len(packet.client_id) > limits.max_client_id or nameless:  # §3.1.3.1 of 3.1.1
        return Refusal.CLIENT_ID
    return None


def negotiate(packet: Connect, limits: Limits) -> Grant:
    """What is granted to a client that was let in."""
    if packet.level == LEVEL:
        expiry = 0 if packet.clean else limits.session_expiry
        return Grant(_terms(LEVEL, limits.window, UNLIMITED), expiry, packet.keepalive)
    asked = packet.properties
    return Grant(
        _terms(
            LEVEL_5,
            min(limits.window, asked.receive_maximum or limits.window),
            asked.maximum_packet_size or UNLIMITED,
        ),
        min(asked.session_expiry or 0, limits.session_expiry),
        min(packet.keepalive or limits.max_keepalive, limits.max_keepalive),
    )


def welcome(
    packet: Connect, grant: Grant, limits: Limits, client_id: str, *, present: bool
) -> Connack:
    """The CONNACK of a client that was let in: in 5.0 it says wherever it gets other than asked.

    What is not said is available: QoS 2, retained messages, wildcards, subscription identifiers
    and shared subscriptions.
    """
    if packet.level == LEVEL:
        return Connack(0, present)
    expiry, keepalive = grant.expiry, grant.keepalive
    properties = Properties(
        session_expiry=None if expiry == (packet.properties.session_expiry or 0) else expiry,
        assigned_client_id=None if packet.client_id else client_id,
        server_keep_alive=None if keepalive == packet.keepalive else keepalive,
        receive_maximum=limits.receive_maximum,
        topic_alias_maximum=limits.topic_aliases,
        maximum_packet_size=limits.max_packet,
    )
    return Connack(0, present, properties)


@lru_cache(maxsize=256)
def _terms(level: int, window: int, max_packet: int) -> Terms:
    """Thousands of devices ask for the same."""
    return Terms(level, window, max_packet)
