"""A client of whatever dialect: its link, its sessions, and what it noted down.

It knows the hub by its frames alone, as an SDK does.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from cardume.auth.identity import Identity
from cardume.hub.connection import Connection
from cardume.hub.hub import Hub
from cardume.transports.stay import code_for
from cardume.wire.codes import CloseCode
from cardume.wire.messages import Position
from tests.simulation.history import Ended, Event, Narrowed, Saw, Session, Told, Wants
from tests.support.direct import unframed


class Recorder(Protocol):
    """Where clients note what they see, in the one order of everything."""

    def tick(self) -> int: ...

    def clock(self) -> float: ...

    def open(self, session: Session) -> None: ...

    def fault(self, text: str) -> None: ...


class Link:
    """`cardume.hub.connection.Transport`: a socket that is read at once, in time, or never."""

    def __init__(
        self,
        read: Callable[[str], None],
        ended: Callable[[int], None],
        fault: Callable[[str], None],
    ) -> None:
        self.frozen = False
        """The peer does not read: the outbox fills."""
        self.slow = False
        """Frames are on the wire until `receive`; what is there when the link is cut is lost."""
        self.cut = False
        self.wire: deque[str] = deque()
        self.connection: Connection | None = None
        self._read = read
        self._ended = ended
        self._fault = fault

    def wake(self) -> None:
        if not self.frozen:
            self._write()

    def close(self, code: CloseCode, *, flush: bool) -> None:
        if self.cut:
            return
        if flush and not self.frozen:
            self._write()
        self.receive()
        self.cut = True
        self._ended(code.number)

    def receive(self, count: int = 1_000_000) -> None:
        """Let the peer read what is on the wire."""
        while self.wire and count and not self.cut:
            count -= 1
            text = self.wire.popleft()
            try:
                self._read(text)
            except Exception as error:  # the hub shall not mistake it for its own
                self._fault(f"nobody can read {text!r}: {error!r}")

    def _write(self) -> None:
        if self.connection is None or self.cut:
            return
        while (frame := self.connection.outbox.take()) is not None:
            self.wire.append(frame.text)
            if not self.slow:
                self.receive()


class DirectLink(Link):
    """One that is written to past the outbox as long as it has room, like the fast path's.

    Every third write fills it until the loop's next turn.
    """

    _writes = 0
    _full = False

    def wake(self) -> None:
        if self.frozen and self.connection is not None:
            self.connection.stall()
        super().wake()

    def _write(self) -> None:
        if self._full:
            return
        super()._write()
        connection = self.connection
        if connection is None or self.cut or connection.closing:
            return
        if connection.write is None and not connection.outbox.corked:
            connection.resume(self._take)

    def _take(self, data: bytes) -> None:
        if self.frozen or self._full:
            self._fault("written to although it said that it is full")
        if self.cut:
            return
        self.wire.extend(payload.decode() for payload in unframed(data))
        if not self.slow:
            self.receive()
        self._writes += 1
        if self._writes % 3 == 0 and self.connection is not None:
            self._full = True
            self.connection.stall()
            asyncio.get_running_loop().call_soon(self._free)

    def _free(self) -> None:
        self._full = False
        self.wake()


class Client(ABC):
    """One program that wants to be on its channels, and where it last was on each."""

    dialect: Any

    def __init__(self, recorder: Recorder, name: str, wants: Wants) -> None:
        self._link_to = DirectLink if name.endswith("1") else Link
        self.recorder = recorder
        self.name = name
        self.wants = wants
        self.sessions: dict[str, Session] = {}
        """The open ones."""
        self.places: dict[str, Position] = {}
        """The last known of each channel, of all sessions."""
        self.link = self._link_to(self.read, self.ended, recorder.fault)
        self.hub: Hub | None = None
        self._busy: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        return self.hub is not None

    @property
    def busy(self) -> bool:
        """Whether the hub has yet to answer: a connection hears one message after another."""
        return self._busy is not None and not self._busy.done()

    def connect(self, hub: Hub) -> None:
        """Come in, as this dialect does."""
        self.hub = hub
        self.link = self._link_to(self.read, self.ended, self.recorder.fault)
        connection = hub.connect(Identity(self.name), self.dialect, self.link)
        self.link.connection = connection
        self._busy = asyncio.get_running_loop().create_task(self._enter(hub, connection))

    async def _enter(self, hub: Hub, connection: Connection) -> None:
        try:
            await self.begin(hub, connection)
        except Exception as error:
            connection.close(code_for(error, accepted=True))

    def say(self, text: str) -> None:
        """Send a message; only while it is not `busy`."""
        self._busy = asyncio.get_running_loop().create_task(self.hear(text))

    def vanish(self) -> None:
        """The link is gone without a goodbye, and what is on the wire with it."""
        if not self.link.cut:
            self.link.cut = True
            self.ended(0)

    def ended(self, code: int) -> None:
        """Nothing comes any more."""
        if self.hub is None:
            return
        hub, self.hub = self.hub, None
        for channel in list(self.sessions):
            self.close(channel, code)
        # As every transport does: the hub forgets it soon, and nobody hears it any more.
        link, busy = self.link, self._busy
        asyncio.get_running_loop().call_soon(lambda: self._forget(hub, link, busy))

    def _forget(self, hub: Hub, link: Link, busy: asyncio.Task[None] | None) -> None:
        if link.connection is not None:
            hub.disconnect(link.connection)
        self.forgotten()
        if busy is not None:
            busy.cancel()

    def forgotten(self) -> None:  # noqa: B027 - most have nothing to do
        """It has left the hub."""

    # -- notes --------------------------------------------------------------------------------

    def open(self, channel: str, since: Position | None, wants: Wants | None = None) -> Session:
        """A session begins, in which nothing was told yet."""
        session = Session(self.name, channel, since, wants or self.wants)
        self.recorder.open(session)
        self.sessions[channel] = session
        return session

    def close(self, channel: str, code: int = 0) -> None:
        session = self.sessions.pop(channel, None)
        if session is not None:
            self.note(session, Ended(self.recorder.tick(), code))

    def note(self, session: Session, event: Event) -> None:
        session.events.append(event)
        position = session.position
        if position is not None:
            self.places[session.channel] = position

    def told(
        self, session: Session, place: Any, recovered: bool, keys: dict[str, int] | None = None
    ) -> None:
        position = Position(place.get("epoch") or "", place.get("offset") or 0)
        at, clock = self.recorder.tick(), self.recorder.clock()
        self.note(session, Told(at, clock, position, recovered, keys))

    def saw(self, channel: str, offset: int | None, body: Any) -> None:
        session = self.sessions.get(channel)
        if session is None:  # what nobody asked for is for the checker to judge
            session = self.open(channel, None)
        id, place = (0, channel) if body is None else (body["id"], body["in"])
        self.note(session, Saw(self.recorder.tick(), offset or 0, id, place))

    def narrowed(self, types: list[str]) -> None:
        self.wants = Wants(frozenset(types) or None)
        for session in self.sessions.values():
            self.note(session, Narrowed(self.recorder.tick(), self.wants))

    # -- the dialect ------------------------------------------------------------------------

    @abstractmethod
    async def begin(self, hub: Hub, connection: Connection) -> None:
        """Say what comes first."""

    @abstractmethod
    async def hear(self, text: str) -> None:
        """Hand the hub a message."""

    @abstractmethod
    def read(self, text: str) -> None:
        """Understand a frame."""
