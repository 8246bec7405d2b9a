"""How a test's client speaks: what a frame is called, what it answers, where it leaves the client.

The counterpart of `cardume.wire.dialects`, written from the contracts and not from that code.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from cardume.wire.messages import Position

Frame = dict[str, Any]


class ActionError(Exception):
    """A command was answered with an error; the connection lives on."""

    def __init__(self, code: str | int, message: str, data: Mapping[str, Any]) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        """The fault's name, such as ``permission_denied``; in `centrifuge` its number."""
        self.message = message
        self.data = data
        """All that was said about it."""


class Speech(Protocol):
    """A client's side of one dialect, over all the lives of one client."""

    positions: dict[str, Position]
    """The place on each channel that has history."""

    def opening(self) -> Frame | None:
        """What a client says first, before it hears anything."""

    def query(self) -> str | None:
        """What an address says to resume, as ``EPOCH:OFFSET``."""

    def hear(self, text: str) -> Iterable[Frame]:
        """The frames in a text, noted."""

    def answer(self, frame: Frame) -> str | None:
        """What the dialect itself has to say back; such a frame is not the test's business."""

    def type_of(self, frame: Frame) -> str:
        """What `expect` calls it."""

    def connection_id(self, hello: Frame) -> str:
        """Whose first frame this is."""

    def recovered(self, hello: Frame) -> bool:
        """Whether the first frame says that nothing was missed."""

    def said(self, message: Frame) -> None:
        """Note what the client says."""

    def action(self, name: str, body: Mapping[str, Any]) -> Frame:
        """The command that runs an action."""

    def refresh(self, token: str) -> Frame:
        """The command that goes on with another token."""

    def result(self, reply: Frame) -> Any:
        """What a reply says. Raises `ActionError`."""

    def returning(self) -> list[Frame]:
        """The commands that bring a client back to where it was."""


class Plain:
    """One channel a connection (contracts/plain.md)."""

    def __init__(self, since: Position | None = None) -> None:
        self.positions: dict[str, Position] = {}
        self._since = since
        self._channel = ""

    def opening(self) -> Frame | None:
        return None

    def query(self) -> str | None:
        position = self.positions.get(self._channel, self._since)
        return None if position is None else str(position)

    def hear(self, text: str) -> Iterable[Frame]:
        frame: Frame = json.loads(text)
        if self.type_of(frame) == "connected":
            data = frame["data"]
            self._channel = data["channel"]
            if "epoch" in data:
                self.positions[self._channel] = Position(data["epoch"], data["offset"])
        elif "offset" in frame and self._channel in self.positions:
            here = self.positions[self._channel]
            self.positions[self._channel] = Position(here.epoch, frame["offset"])
        return (frame,)

    def answer(self, frame: Frame) -> str | None:
        return None

    def type_of(self, frame: Frame) -> str:
        return str(frame.get("type"))

    def connection_id(self, hello: Frame) -> str:
        return str(hello["data"]["connection_id"])

    def recovered(self, hello: Frame) -> bool:
        return bool(hello["data"]["recovered"])

    def said(self, message: Frame) -> None:
        pass

    def action(self, name: str, body: Mapping[str, Any]) -> Frame:
        if "name" in body:
            raise TypeError("`name` says which action; the body cannot have a member of that name")
        return {"type": "action", "data": {**body, "name": name}}

    def refresh(self, token: str) -> Frame:
        return {"type": "refresh", "data": {"token": token}}

    def result(self, reply: Frame) -> Any:
        data = reply.get("data", {})
        if self.type_of(reply) == "error":
            raise ActionError(data["code"], data["message"], data)
        return data

    def returning(self) -> list[Frame]:
        return []


class Rooms:
    """One connection in many rooms (contracts/rooms.md)."""

    def __init__(self) -> None:
        self.positions: dict[str, Position] = {}
        self._rooms: set[str] = set()
        self._types: list[str] = []
        self._lost = False

    def opening(self) -> Frame | None:
        return None

    def query(self) -> str | None:
        return None

    def hear(self, text: str) -> Iterable[Frame]:
        frame: Frame = json.loads(text)
        room, offset = frame.get("room"), frame.get("offset")
        if self.type_of(frame) == "reply":
            self._note(frame["message"], frame["data"])
        elif room in self.positions and offset is not None:
            self.positions[room] = Position(self.positions[room].epoch, offset)
        return (frame,)

    def answer(self, frame: Frame) -> str | None:
        return None

    def type_of(self, frame: Frame) -> str:
        return str(frame.get("event_type"))

    def connection_id(self, hello: Frame) -> str:
        return str(hello["data"]["connection_id"])

    def recovered(self, hello: Frame) -> bool:
        return bool(self._rooms) and not self._lost

    def said(self, message: Frame) -> None:
        pass

    def action(self, name: str, body: Mapping[str, Any]) -> Frame:
        data = dict(body)
        room = data.pop("room", None)
        command: Frame = {"action": name, "data": data}
        return command if room is None else {**command, "room": room}

    def refresh(self, token: str) -> Frame:
        raise TypeError("`rooms` has no refresh: a client comes again with another token")

    def result(self, reply: Frame) -> Any:
        if not reply["success"]:
            data = reply["data"]
            raise ActionError(data["code"], reply["message"], data)
        return reply["data"]

    def returning(self) -> list[Frame]:
        self._lost = False
        commands = [self.action("subscribe", {"event_types": self._types})] if self._types else []
        for room in sorted(self._rooms):
            since = self.positions.get(room)
            place = {} if since is None else {"epoch": since.epoch, "offset": since.offset}
            commands.append(self.action("join", {"room": room, **place}))
        return commands

    def _note(self, message: str, data: Mapping[str, Any]) -> None:
        match message:
            case "joined":
                self._rooms.add(data["room"])
                self._lost |= data.get("recovered") is False
                if data["epoch"]:
                    self.positions[data["room"]] = Position(data["epoch"], data["offset"])
            case "left":
                self._rooms.discard(data["room"])
                self.positions.pop(data["room"], None)
            case "subscribed" | "unsubscribed":
                self._types = data["event_types"]
