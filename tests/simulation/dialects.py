"""The clients of each dialect: what they say, and how they read what they are told."""

from __future__ import annotations

import json
from typing import Any

from cardume.hub.centrifuge.clients import DIALECT as CENTRIFUGE
from cardume.hub.centrifuge.clients import Clients
from cardume.hub.connection import Connection
from cardume.hub.hub import Hub
from cardume.hub.rooms import DIALECT as ROOMS
from cardume.hub.rooms import Guest, Lobby
from cardume.transports.plain import PLAIN, PlainStay
from cardume.wire.messages import Connect, Position
from tests.simulation.clients import Client, Recorder
from tests.simulation.history import Cursor, Session, Wants

Frame = dict[str, Any]


def ids_of(snapshot: Any) -> dict[str, int] | None:
    """The message of each key."""
    return None if snapshot is None else {k: v["id"] for k, v in snapshot["keys"].items()}


class PlainClient(Client):
    """A connection for its one channel."""

    dialect = PLAIN

    def __init__(self, recorder: Recorder, name: str, wants: Wants, channel: str) -> None:
        super().__init__(recorder, name, wants)
        self.channel = channel
        self.since: Position | None = None
        self._stay: PlainStay | None = None

    async def begin(self, hub: Hub, connection: Connection) -> None:
        connection.types = self.wants.types
        self.open(self.channel, self.since)
        self._stay = PlainStay(hub, connection, self.channel, {}, self.since)
        await self._stay.enter()

    async def hear(self, text: str) -> None:
        assert self._stay is not None
        await self._stay.hear(text)

    def ask(self, type: str, **data: Any) -> None:
        self.say(json.dumps({"type": type, "data": data}))

    def read(self, text: str) -> None:
        frame = json.loads(text)
        type, data = frame["type"], frame["data"]
        if "channel" in frame:
            self.saw(frame["channel"], frame.get("offset"), data)
            return
        session = self.sessions[self.channel]
        if type == "connected":
            self.told(session, data, data["recovered"])
        elif type == "snapshot":
            told = session.told
            assert told is not None
            assert told.position.offset == frame["offset"]
            session.events[session.events.index(told)] = told._replace(keys=ids_of(data))
        elif type == "pong" and "offset" in data:
            self.note(session, Cursor(self.recorder.tick(), data["offset"]))
        elif type in ("subscribed", "unsubscribed"):
            self.narrowed(data["types"])


class RoomsClient(Client):
    """One connection in many rooms, with one filter for all."""

    dialect = ROOMS

    def __init__(self, recorder: Recorder, name: str, wants: Wants, lobby: Lobby) -> None:
        super().__init__(recorder, name, wants)
        self.lobby = lobby
        self._guest: Guest | None = None
        self._asked: dict[int, tuple[str, str, Position | None]] = {}
        self._number = 0

    async def begin(self, hub: Hub, connection: Connection) -> None:
        connection.types = self.wants.types
        self._guest = Guest(self.lobby, connection)
        await self._guest.enter()

    async def hear(self, text: str) -> None:
        assert self._guest is not None
        await self._guest.hear(text)

    def ask(self, action: str, room: str = "", since: Position | None = None, **data: Any) -> None:
        self._number += 1
        self._asked[self._number] = (action, room, since)
        if since is not None:
            data |= {"epoch": since.epoch, "offset": since.offset}
        message = {"action": action, "id": self._number, "data": data}
        self.say(json.dumps(message | ({"room": room} if room else {})))

    def read(self, text: str) -> None:
        frame = json.loads(text)
        if frame["event_type"] != "reply":
            if frame["room"] is not None:
                self.saw(frame["room"], frame["offset"], frame["data"])
            return
        action, room, since = self._asked.pop(frame["id"])
        data = frame["data"]
        if not frame["success"]:
            if action == "join":
                self.close(room)  # whoever resumes where it is has left first
        elif action == "join":
            if since is not None or room not in self.sessions:
                self.close(room)
                self.told(self.open(room, since), data, data.get("recovered", False))
            else:
                self.note(self.sessions[room], Cursor(self.recorder.tick(), data["offset"] or 0))
        elif action == "leave":
            self.close(room)
        else:
            self.narrowed(data["event_types"])


class CentrifugeClient(Client):
    """One connection with many subscriptions, each with its own filter by one tag."""

    dialect = CENTRIFUGE

    def __init__(self, recorder: Recorder, name: str, wants: Wants, clients: Clients) -> None:
        super().__init__(recorder, name, wants)
        self.clients = clients
        self._client: Any = None
        self._asked: dict[int, tuple[str, str, Position | None, Wants]] = {}
        self._number = 1

    async def begin(self, hub: Hub, connection: Connection) -> None:
        self._client = self.clients.admit(connection, {}, Connect(id=1))
        await self._client.enter()

    async def hear(self, text: str) -> None:
        await self._client.hear(text)

    def forgotten(self) -> None:
        if self._client is not None:
            self.clients.forget(self._client)

    def ask(
        self, verb: str, channel: str, since: Position | None = None, wants: Wants | None = None
    ) -> None:
        self._number += 1
        wants = wants or self.wants
        self._asked[self._number] = (verb, channel, since, wants)
        request: dict[str, Any] = {"channel": channel}
        if since is not None:
            request |= {"recover": True, "epoch": since.epoch, "offset": since.offset}
        if verb == "subscribe" and wants.tag is not None:
            key, comparison, value = wants.tag
            request["tf"] = {"key": key, "cmp": comparison, "val": value}
        self.say(json.dumps({"id": self._number, verb: request}))

    def read(self, text: str) -> None:
        for line in text.split("\n"):
            self._reply(json.loads(line))

    def _reply(self, reply: Frame) -> None:
        if not reply:
            # A pong is never held up by a command that waits for its answer.
            self.clients.answered(self._client)
        elif "push" in reply:
            self._push(reply["push"])
        elif reply["id"] in self._asked:
            verb, channel, since, wants = self._asked.pop(reply["id"])
            if verb == "unsubscribe":
                self.close(channel)
            elif "subscribe" in reply:
                session = self.open(channel, since, wants)
                self._subscribed(reply["subscribe"], session)

    def _subscribed(self, told: Frame, session: Session) -> None:
        recovered = told.get("recovered", False)
        missed = told.get("publications", [])
        state = ids_of(told.get("data", {}).get("snapshot"))
        self.told(session, told, recovered, state)
        for publication in missed:
            self._publication(session.channel, publication)

    def _push(self, push: Frame) -> None:
        if "pub" in push:
            self._publication(push["channel"], push["pub"])
        elif "unsubscribe" in push:
            self.close(push["channel"], push["unsubscribe"]["code"])

    def _publication(self, channel: str, publication: Frame) -> None:
        self.saw(channel, publication.get("offset"), publication["data"]["data"])
