"""One connection of the `centrifuge` dialect: its greeting, and the commands of its frames."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from cardume.errors import Invalid, Refused, Unavailable
from cardume.hub.centrifuge.channels import Subscriber, size_of, told
from cardume.hub.centrifuge.commands import TABLE, lifetime
from cardume.hub.commands import respond
from cardume.hub.connection import Connection
from cardume.hub.entry import Entry
from cardume.hub.outbox import Frame
from cardume.hub.subscription import Subscription
from cardume.wire import codes
from cardume.wire.dialects.centrifuge import CentrifugeDialect
from cardume.wire.messages import Admitted, Connect, Position, Put, Subscribed

if TYPE_CHECKING:
    from cardume.hub.centrifuge.clients import Clients

DIALECT: Final = CentrifugeDialect()

PING_EVERY = 25.0
"""Seconds between two pings of ours, as Centrifugo's."""

LOST = Position("-", 0)
"""Where nothing can be resumed from."""

logger = logging.getLogger("cardume.hub")


class Client(Subscriber):
    """One connection of the dialect."""

    __slots__ = ("_first", "_later", "_rest", "_session", "busy", "excused", "pinged")

    def __init__(
        self,
        clients: Clients,
        connection: Connection,
        scope: Mapping[str, Any],
        first: Connect,
        rest: str,
        session: str,
    ) -> None:
        super().__init__(clients, connection, scope)
        self.pinged = False
        """Whether a ping of ours waits for its answer."""
        self.busy = False
        """Whether we answer it, and read nothing until that is done."""
        self.excused = False
        """Whether its time to answer a ping ended meanwhile."""
        self._first = first
        self._later: list[str] = []
        """Channels of the claim `subs` that are too much for the answer to `connect`."""
        self._rest = rest
        self._session = session

    async def enter(self) -> None:
        """Answer `connect`, with the channels that its token's claim `subs` puts it on.

        What does not fit into one answer follows, channel by channel.
        """
        with self._answering():
            joined = await self._server_side()
            self._admit(tuple(told(entry, sub, since) for sub, entry, since in joined))
            for subscription, entry, _ in joined:
                self._release(subscription, entry)
            for channel in self._later:
                with self._no_reason_to_refuse(channel):
                    await self._put(channel)
        self._later = []
        await self.hear(self._rest)
        self._rest = ""

    def _admit(self, subscriptions: tuple[Subscribed, ...]) -> None:
        connection, hub = self.connection, self.hub
        if connection.closing:
            return
        left = lifetime(hub.expires_in(connection.identity))
        answer = Admitted(connection.id, left, round(PING_EVERY), subscriptions, self._session)
        frame = Frame(DIALECT.reply(answer, id=self._first.id, time=hub.clock.now()))
        if not connection.outbox.uncork(frame):
            connection.close(codes.SLOW)
            return
        connection.transport.wake()

    def left(self) -> None:
        """Its connection is gone."""
        self.clients.forget(self)

    async def hear(self, text: str) -> None:
        """Answer the commands of one frame, one a line."""
        lines = [line for line in text.split("\n") if line and not line.isspace()]
        if len(lines) > self.hub.options.commands_per_frame:
            self.hub.rejects.note("too_many_commands", self.connection.id)
            self.connection.close(codes.BAD_REQUEST_CLOSE)
            return
        with self._answering():
            for line in lines:
                await self._room()
                if self.connection.closing:
                    return
                await respond(self.hub, self.connection, line, TABLE, self)

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """A pong that comes meanwhile is read afterwards, and not too late."""
        self.busy = True
        try:
            yield
        finally:
            self.busy = False
            if self.excused:
                self.clients.excuse(self)

    # -- channels that the server puts it on ------------------------------------------------

    async def _server_side(self) -> list[tuple[Subscription, Entry, Position | None]]:
        """Join the channels in the claim `subs`, an object by channel as Centrifugo's.

        One that fails is no reason to refuse the others. All of them have one answer, with room
        for so much; what is beyond it starts over, and a snapshot is left for later.
        """
        subs = self.connection.identity.claims.get("subs")
        joined: list[tuple[Subscription, Entry, Position | None]] = []
        room = self.connection.outbox.limit // 4
        for channel in subs if isinstance(subs, Mapping) else ():
            since = self._first.since.get(channel)
            if since is not None and room <= 0:
                since = LOST
            with self._no_reason_to_refuse(channel):
                subscription, entry = await self._join(channel, since)
                if entry.snapshot is not None and len(entry.snapshot) > room:
                    self.hub.leave(subscription)
                    self._later.append(channel)
                    continue
                room -= size_of(entry)
                joined.append((subscription, entry, since))
        # Others have been waited for: what was joined first may be gone again.
        return [each for each in joined if self._is_on(each[0])]

    async def _put(self, channel: str) -> None:
        """Put it on a channel of the claim `subs`, and tell it so."""
        await self._room()
        if self.connection.closing:
            return
        subscription, entry = await self._join(channel, None)
        await self._room_for(subscription, entry)
        self._tell(subscription, Put(told(entry, subscription, None)))
        self._release(subscription, entry)

    async def _join(self, channel: str, since: Position | None) -> tuple[Subscription, Entry]:
        parameters = self.parameters(channel)
        subscription = await self.hub.join(self.connection, channel, self.connection.types)
        subscription.server_side = True
        return subscription, await self._read(subscription, since, parameters)

    @contextmanager
    def _no_reason_to_refuse(self, channel: str) -> Iterator[None]:
        try:
            yield
        except (Refused, Invalid, Unavailable) as error:
            if isinstance(error, Refused) and error.code is codes.ALREADY_SUBSCRIBED:
                return  # by `hub.subscribe`, which tells it
            self.hub.rejects.note("server_side_subscription", f"{channel}: {error}")
        except Exception:
            logger.exception("%s: not put on %s", self.connection.id, channel)
