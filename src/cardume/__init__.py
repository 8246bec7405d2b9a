"""Cardume: the real-time layer for FastAPI."""

from cardume.auth.identity import Identity, IdentityKind
from cardume.errors import (
    CardumeError,
    ConfigurationError,
    HubNotRunning,
    Invalid,
    Refused,
    Unavailable,
)
from cardume.hub.namespaces import ChannelOptions
from cardume.hub.options import HubOptions
from cardume.hub.outbox import SlowPolicy
from cardume.transports.fastapi import CurrentHub, CurrentIdentity, Hub
from cardume.wire.messages import Position, Publication

__version__ = "0.1.0"

__all__ = [
    "CardumeError",
    "ChannelOptions",
    "ConfigurationError",
    "CurrentHub",
    "CurrentIdentity",
    "Hub",
    "HubNotRunning",
    "HubOptions",
    "Identity",
    "IdentityKind",
    "Invalid",
    "Position",
    "Publication",
    "Refused",
    "SlowPolicy",
    "Unavailable",
    "__version__",
]
