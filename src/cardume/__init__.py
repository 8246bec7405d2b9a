"""Cardume: the real-time layer for FastAPI."""

from cardume.auth.identity import Identity, IdentityKind
from cardume.client import HubClient
from cardume.errors import (
    CardumeError,
    ConfigurationError,
    HubNotRunning,
    Invalid,
    Refused,
    Unavailable,
)
from cardume.hub.broadcaster import Broadcaster
from cardume.hub.namespaces import ChannelOptions
from cardume.hub.options import HubOptions
from cardume.hub.outbox import SlowPolicy
from cardume.transports.centrifuge import Centrifuge
from cardume.transports.fastapi import CurrentHub, CurrentIdentity, Hub
from cardume.transports.models import RoomEvent, RoomMessage, RoomReply
from cardume.transports.rooms import Rooms
from cardume.transports.server_api import ServerApi
from cardume.wire.events import EventType
from cardume.wire.messages import Position, Publication

__version__ = "0.1.0"

__all__ = [
    "Broadcaster",
    "CardumeError",
    "Centrifuge",
    "ChannelOptions",
    "ConfigurationError",
    "CurrentHub",
    "CurrentIdentity",
    "EventType",
    "Hub",
    "HubClient",
    "HubNotRunning",
    "HubOptions",
    "Identity",
    "IdentityKind",
    "Invalid",
    "Position",
    "Publication",
    "Refused",
    "RoomEvent",
    "RoomMessage",
    "RoomReply",
    "Rooms",
    "ServerApi",
    "SlowPolicy",
    "Unavailable",
    "__version__",
]
