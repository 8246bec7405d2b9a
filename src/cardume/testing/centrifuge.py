"""A test's client in the dialect `centrifuge`: it says `connect` first and answers pings.

What was missed comes inside the answer to `subscribe`; for the test it is what it would have been
live, frames of their own after that answer.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from cardume.testing.speech import ActionError, Frame
from cardume.wire.messages import Position

_PUSHES = ("join", "leave", "subscribe", "unsubscribe", "disconnect")


class Centrifuge:
    """Many channels on one connection, each with its place."""

    def __init__(self) -> None:
        self.positions: dict[str, Position] = {}
        self._channels: dict[str, dict[str, Any]] = {}
        """How it subscribed, by channel."""
        self._asked: dict[int, str] = {}
        self._lost = False

    def opening(self) -> Frame | None:
        server_side = self.positions.keys() - self._channels.keys()
        subs = {channel: self._place(channel) for channel in sorted(server_side)}
        return {"connect": {"subs": subs} if subs else {}}

    def query(self) -> str | None:
        return None

    def hear(self, text: str) -> Iterable[Frame]:
        for line in text.split("\n"):
            if line.strip():
                frame: Frame = json.loads(line)
                yield frame
                yield from self._note(frame)

    def answer(self, frame: Frame) -> str | None:
        return "{}" if not frame else None

    def type_of(self, frame: Frame) -> str:
        push = frame.get("push")
        if push is None:
            return next((name for name in frame if name != "id"), "ping")
        said = push.get("pub") or push.get("message")
        if said is None:
            return next((name for name in _PUSHES if name in push), "push")
        data, tags = said.get("data"), said.get("tags", {})
        typed = "message" in push or "type" in tags
        return str(data["type"]) if typed else "update"

    def connection_id(self, hello: Frame) -> str:
        return str(hello["connect"]["client"])

    def recovered(self, hello: Frame) -> bool:
        return bool(self.positions) and not self._lost

    def said(self, message: Frame) -> None:
        subscribe, unsubscribe = message.get("subscribe"), message.get("unsubscribe")
        if subscribe is not None:
            self._channels[subscribe["channel"]] = dict(subscribe)
            self._asked[message.get("id", 0)] = subscribe["channel"]
        if unsubscribe is not None:
            self._forget(unsubscribe["channel"])

    def action(self, name: str, body: Mapping[str, Any]) -> Frame:
        if name in ("subscribe", "unsubscribe", "publish", "history", "presence"):
            return {name: dict(body)}
        return {"rpc": {"method": name, "data": dict(body)}}

    def refresh(self, token: str) -> Frame:
        return {"refresh": {"token": token}}

    def result(self, reply: Frame) -> Any:
        error = reply.get("error")
        if error is not None:
            raise ActionError(error["code"], error["message"], error)
        result = next(value for name, value in reply.items() if name != "id")
        return result.get("data", {}) if "rpc" in reply else result

    def returning(self) -> list[Frame]:
        return [
            {"subscribe": {**asked, **self._place(channel)}}
            for channel, asked in sorted(self._channels.items())
        ]

    def _place(self, channel: str) -> dict[str, Any]:
        here = self.positions.get(channel)
        return {"recover": True, "epoch": here.epoch, "offset": here.offset} if here else {}

    def _note(self, frame: Frame) -> Iterable[Frame]:
        """Where this leaves it; the frames that follow from it."""
        if "connect" in frame:
            self._lost = False
            for channel, sub in frame["connect"].get("subs", {}).items():
                yield from self._subscribed(channel, sub)
        asked = self._asked.pop(frame.get("id", 0), None)
        if asked is not None:
            if "error" in frame:
                self._forget(asked)
            else:
                yield from self._subscribed(asked, frame["subscribe"])
        push = frame.get("push", {})
        channel = push.get("channel", "")
        if "subscribe" in push:
            yield from self._subscribed(channel, push["subscribe"])
        if "unsubscribe" in push and push["unsubscribe"]["code"] < 2500:
            self._forget(channel)
        if "pub" in push:
            self._passed(channel, push["pub"])

    def _subscribed(self, channel: str, result: Mapping[str, Any]) -> Iterable[Frame]:
        self._lost |= result.get("was_recovering", False) and not result.get("recovered", False)
        if "epoch" in result:
            self.positions[channel] = Position(result["epoch"], result["offset"])
        for pub in result.get("publications", ()):
            self._passed(channel, pub)
            yield {"push": {"channel": channel, "pub": pub}}

    def _passed(self, channel: str, pub: Mapping[str, Any]) -> None:
        here = self.positions.get(channel)
        if here is not None and "offset" in pub:
            self.positions[channel] = Position(here.epoch, pub["offset"])

    def _forget(self, channel: str) -> None:
        self._channels.pop(channel, None)
        self.positions.pop(channel, None)
