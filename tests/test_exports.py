"""The public names, and what importing them drags in."""

from __future__ import annotations

import subprocess
import sys

import cardume

PUBLIC = {
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
}

SERVER_ONLY = {"sqlalchemy", "alembic", "pydantic_settings", "typer", "uvicorn", "paho", "uvloop"}


def test_public_names() -> None:
    assert set(cardume.__all__) == PUBLIC
    assert all(hasattr(cardume, name) for name in PUBLIC)


def test_the_core_imports_nothing_of_the_server() -> None:
    code = "import sys, cardume; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert SERVER_ONLY.isdisjoint(loaded)
