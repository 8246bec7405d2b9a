"""A page of rooms: which there are, and what a client that is in many of them may say.

A connection has one filter for all its rooms. It holds the channel of events without a room from
the beginning, so the filter applies to those as well.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final

from cardume.errors import ConfigurationError, Refused
from cardume.hub.commands import Table, malformed, respond, run
from cardume.hub.connection import Connection
from cardume.hub.entry import Entry, enter
from cardume.hub.filters import bounded, names, with_types, without_types
from cardume.hub.hub import Hub
from cardume.hub.namespaces import ChannelOptions
from cardume.wire import codes
from cardume.wire.dialects.rooms import RoomsDialect
from cardume.wire.events import EVENT_NAME, EVERYONE, ROOMS
from cardume.wire.messages import (
    Deselect,
    Filtered,
    Heartbeat,
    Info,
    Join,
    Joined,
    Known,
    Leave,
    Left,
    Malformed,
    Ping,
    Pong,
    Position,
    Reply,
    Select,
    Welcome,
)

DIALECT: Final = RoomsDialect()

OPTIONS: Final = ChannelOptions(history=500, history_ttl=600.0, reserved=RoomsDialect.reserved)
"""Of every room, and of the channel of events without one."""

logger = logging.getLogger("cardume.hub")


class Lobby:
    """The rooms of one page."""

    def __init__(self, hub: Hub, rooms: Iterable[str], events: Iterable[str]) -> None:
        self.hub = hub
        self.rooms = (*ROOMS, *rooms)
        if len(set(self.rooms)) < len(self.rooms) or EVERYONE in self.rooms:
            raise ConfigurationError(
                f"rooms beside {', '.join(ROOMS)} have other names, and none is {EVERYONE!r}"
            )
        for name in events:
            if EVENT_NAME.fullmatch(name) is None or name in DIALECT.reserved:
                raise ConfigurationError(
                    f"an event is named like `deploy_done`, [a-z][a-z0-9_]{{0,63}}, not {name!r}"
                )
            hub.event_names.add(name)

    def check_room(self, room: str) -> str:
        """The room itself.

        Raises:
            Refused: there is none of that name.
        """
        if room not in self.rooms:
            raise Refused(codes.UNKNOWN_CHANNEL, f"rooms here: {', '.join(self.rooms)}")
        return room

    def members(self) -> dict[str, int]:
        """How many connections are in each room that has any, whatever they speak."""
        counted = {room: self.hub.audience(room) for room in self.rooms}
        return {room: count for room, count in counted.items() if count}


class Guest:
    """One connection on a page of rooms."""

    def __init__(self, lobby: Lobby, connection: Connection) -> None:
        self.lobby = lobby
        self.connection = connection

    async def enter(self) -> None:
        """Hold the channel of events without a room; the first frame is `connected`.

        Raises:
            Unavailable: the engine is out of reach.
        """
        hub, connection = self.lobby.hub, self.connection
        expires_in = hub.expires_in(connection.identity)
        welcome = Welcome(connection.id, connection.client_id, expires_in)
        await enter(hub, connection, EVERYONE, greet=lambda *_: connection.reply(welcome))

    async def hear(self, text: str | bytes) -> None:
        """Answer one message."""
        await respond(self.lobby.hub, self.connection, text, _TABLE, self)

    def left(self) -> None:
        """Nothing here is to be forgotten."""

    @property
    def rooms(self) -> tuple[str, ...]:
        """Where it is now."""
        return tuple(sorted(name for name in self.connection.subscriptions if name != EVERYONE))


async def _ping(_hub: Hub, _guest: Guest, _command: Ping) -> Reply:
    return Pong(Position())


async def _join(hub: Hub, guest: Guest, command: Join) -> Reply | None:
    connection, room = guest.connection, guest.lobby.check_room(command.room)
    here = connection.subscriptions.get(room)
    if here is not None:
        if command.since is None:
            return Joined(room, hub.audience(room), here.cursor)
        hub.leave(here)  # it says that it lost its place
    resumes = command.since is not None

    def greet(_subscription: object, entry: Entry) -> None:
        told = entry.recovered if resumes else None
        connection.reply(Joined(room, hub.audience(room), entry.position, told), command.id)

    await enter(hub, connection, room, command.since, greet=greet)
    logger.info("%s joined %s", connection.id, room)
    return None


async def _leave(hub: Hub, guest: Guest, command: Leave) -> Reply:
    room = guest.lobby.check_room(command.room)
    subscription = guest.connection.subscriptions.get(room)
    if subscription is None:
        here = ", ".join(guest.rooms) or "none"
        raise Refused(codes.NOT_FOUND, f"you are not in {room!r}; you are in: {here}")
    cursor = subscription.cursor
    hub.leave(subscription)
    return Left(room, hub.audience(room), cursor)


async def _select(hub: Hub, guest: Guest, command: Select) -> Reply:
    _check_types(hub, command.types)
    connection = guest.connection
    # An empty list is no filter, and so it adds every type there is.
    types = with_types(connection.types, command.types) if command.types else None
    connection.narrow(bounded(types))
    return Filtered(names(connection.types), guest.rooms, added=True)


async def _deselect(hub: Hub, guest: Guest, command: Deselect) -> Reply:
    _check_types(hub, command.types or ())
    connection = guest.connection
    connection.narrow(without_types(connection.types, command.types))
    return Filtered(names(connection.types), guest.rooms, added=False)


async def _info(_hub: Hub, guest: Guest, _command: Info) -> Reply:
    connection = guest.connection
    return Known(
        connection.id,
        connection.client_id,
        guest.rooms,
        names(connection.types),
        connection.metadata,
        connection.connected_at,
        connection.messages_sent,
        connection.messages_received,
    )


async def _heartbeat(hub: Hub, guest: Guest, command: Heartbeat) -> Reply:
    if "heartbeat" not in hub.actions:
        raise Refused(codes.METHOD_NOT_FOUND, "no app here keeps agents")
    return await run(hub, guest.connection, "heartbeat", {"agent_id": command.agent_id})


async def _malformed(hub: Hub, guest: Guest, command: Malformed) -> Reply:
    return malformed(hub, guest.connection, command)


def _check_types(hub: Hub, types: Iterable[str]) -> None:
    if not hub.event_names.issuperset(types):
        known = ", ".join(sorted(hub.event_names))
        raise Refused(codes.UNKNOWN_TYPE, f"event types here: {known}")


_TABLE: Table[Guest] = {
    Ping: _ping,
    Join: _join,
    Leave: _leave,
    Select: _select,
    Deselect: _deselect,
    Info: _info,
    Heartbeat: _heartbeat,
    Malformed: _malformed,
}
