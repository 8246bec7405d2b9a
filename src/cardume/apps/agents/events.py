"""What the app says in the built-in rooms, each event in its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cardume.storage.database import Write
from cardume.wire.events import EventType, source_of


def announce(tx: Write, event: EventType, data: Mapping[str, Any]) -> None:
    """Say `event` in its room once the transaction is kept."""
    room = event.room
    assert room is not None, "said to one connection, not in a room"
    tx.emit(room, event.value, data, source=source_of(room))
