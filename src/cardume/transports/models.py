"""The frames of the `rooms` dialect as models, for Python code that reads or writes them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class _Frame(BaseModel):
    model_config = ConfigDict(frozen=True)


class RoomMessage(_Frame):
    """What a client says: ``RoomMessage(action="join", room="agents").model_dump_json()``."""

    action: Literal["ping", "subscribe", "unsubscribe", "join", "leave", "info", "heartbeat"]
    data: dict[str, Any] = {}
    room: str | None = None
    id: int | str | None = None


class RoomEvent(_Frame):
    """What happened; `data` is an object but where somebody published another JSON value."""

    event_type: str
    timestamp: datetime
    data: Any
    source: str
    room: str | None
    offset: int | None


class RoomReply(_Frame):
    """The answer to a message; `data.code` names the fault where `success` is false."""

    success: bool
    message: str
    data: dict[str, Any]
    event_type: Literal["reply"]
    timestamp: datetime
    id: int | str | None = None
