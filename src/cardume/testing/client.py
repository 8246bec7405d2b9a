"""A client on the test's own loop: it speaks ASGI to the application, and nothing is replaced.

The door, the authorisation, the dialect and the outbox are the real ones; only the socket is not
there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from starlette.types import ASGIApp

from cardume.auth.identity import Identity
from cardume.hub.connection import Connection
from cardume.testing.clock import FakeClock, settle
from cardume.testing.conversation import Conversation
from cardume.testing.link import PATIENCE
from cardume.testing.site import Site
from cardume.testing.speech import Frame
from cardume.transports.fastapi import Hub
from cardume.wire.messages import Position

QUIET = 100
"""Turns of the loop after which nothing more is under way in it."""

Where = Callable[[Frame], object]


def client(
    app: Site | ASGIApp | Hub,
    path: str,
    *,
    token: str | None = None,
    identity: Identity | str | None = None,
    since: Position | str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Client:
    """A WebSocket client of a running application: ``async with client(…) as ws:``.

    `app` is what `running` gave, the application it runs, or a hub that was entered. `path` may
    have a query. Whoever comes is `identity` (a string is its `sub`), or who `token` says, as the
    hub's verifier reads it. `since` resumes. A centrifuge client speaks first, so its address is
    known by its name, ``…/connection/websocket``; the other dialects show themselves.

    Entering it waits for the first frame, or for the close where it was sent away: see `closed`.

    Raises:
        Denied: entering it, the handshake was refused.
        HubNotRunning: entering it, nothing runs `app`.
    """
    return Client(app, path, token=token, identity=identity, since=since, headers=headers)


class Client(Conversation):
    """One client, through all its reconnects."""

    # -- what is known ----------------------------------------------------------------------

    @property
    def connection(self) -> Connection:
        """The hub's side of it, with its outbox and its subscriptions.

        Raises:
            LookupError: the hub does not have it, or not any more.
        """
        id = self._speech.connection_id(self.hello) if self.hello is not None else ""
        connection = self.site.hub.connection(id)
        if connection is None:
            raise LookupError("the hub has no such connection")
        return connection

    @property
    def positions(self) -> dict[str, Position]:
        """Its place on each channel that has history."""
        return dict(self._speech.positions)

    @property
    def position(self) -> Position | None:
        """Its place on the only channel it has; None without history, or with several."""
        places = self._speech.positions
        return next(iter(places.values())) if len(places) == 1 else None

    @property
    def recovered(self) -> bool:
        """Whether this connection began with all that was missed."""
        return self.hello is not None and self._speech.recovered(self.hello)

    def of_type(self, type: str) -> list[Frame]:
        """Those of `frames` that have this type."""
        return [frame for frame in self.frames if self._speech.type_of(frame) == type]

    # -- what is expected -------------------------------------------------------------------

    async def expect(self, type: str, *, where: Where | None = None, within: float = 1.0) -> Frame:
        """The next frame of this type, for which `where(frame)` holds.

        Frames before it are passed over: what comes in order is expected in order.

        Raises:
            AssertionError: it did not come in `within` seconds; the message shows what did.
        """

        def find() -> int | None:
            return self._inbox.find(
                lambda frame: self._speech.type_of(frame) == type and (not where or where(frame))
            )

        await self._until(lambda: find() is not None or self.closed is not None, within)
        place = find()
        if place is None:
            such = f"such {type!r}" if where is not None else repr(type)
            raise AssertionError(f"no {such} within {within:g} s; {self._report()}")
        return self._inbox.expected(place)

    async def expect_nothing(self, *, for_: float = 0.0) -> None:
        """Nothing came since the last frame that was expected, nor does for `for_` seconds.

        Everything that is under way on the loop has arrived before this returns. A close counts
        as something, but for one that the test began or saw with `expect_close`.

        Raises:
            AssertionError: something came, and the message shows it.
        """
        await settle(QUIET)

        def disturbed() -> bool:
            ended = self.closed is not None and not self._link.acknowledged
            return ended or bool(self._inbox.pending())

        if for_ and not disturbed():
            clock = self.site.hub.clock
            if isinstance(clock, FakeClock):
                await clock.advance_until(disturbed, for_)
            else:
                await self._wait(disturbed, for_)
        if disturbed():
            raise AssertionError(f"nothing was expected; {self._report()}")

    async def expect_close(self, code: int | None = None, *, within: float = 1.0) -> int:
        """The close code, once it is closed.

        Raises:
            AssertionError: it was not closed within `within` seconds, or with another code.
        """
        await self._until(lambda: self.closed is not None, within)
        if self.closed is None:
            raise AssertionError(f"not closed within {within:g} s; {self._report()}")
        if code is not None and self.closed != code:
            raise AssertionError(f"{code} was expected; {self._report()}")
        self._link.acknowledged = True
        return self.closed

    # -- what it says -----------------------------------------------------------------------

    async def ask(self, message: Frame) -> Frame:
        """Send a command with an `id` of its own; the frame that answers it.

        The answer is in `frames` and no longer to be expected. No fake time passes meanwhile.

        Raises:
            AssertionError: there was no answer.
        """
        id, start = next(self._ids), len(self.frames)
        self.send({**message, "id": id})

        def find() -> int | None:
            return self._inbox.find_answer(id, start)

        await self._wait(lambda: find() is not None or self.closed is not None, PATIENCE)
        place = find()
        if place is None:
            raise AssertionError(f"no answer to {json.dumps(message)}; {self._report()}")
        return self._inbox.answered(place)

    async def action(self, name: str, /, **body: Any) -> Any:
        """Run an action; what it answered.

        In `rooms` an action is a command such as ``join``, with its `room` and its data.

        Raises:
            ActionError: it was refused.
        """
        return self._speech.result(await self.ask(self._speech.action(name, body)))

    async def refresh(
        self, *, token: str | None = None, identity: Identity | str | None = None
    ) -> Any:
        """Go on with another token.

        Raises:
            ActionError: it was not accepted.
        """
        self._come_as(token, identity)
        shown = self._token() or ""
        return self._speech.result(await self.ask(self._speech.refresh(shown)))

    # -- what befalls it --------------------------------------------------------------------

    def cut(self, *, silent: bool = False) -> None:
        """The link is gone without a close frame, and what was on its way is lost.

        `silent`: the server does not notice, as behind a network that swallows everything.
        """
        self._link.cut(silent=silent)

    def freeze(self) -> None:
        """Stop reading: what is for it waits in its outbox."""
        self._link.freeze()

    def thaw(self) -> None:
        """Read on."""
        self._link.thaw()

    def expire(self) -> None:
        """Its token ends now, so the hub closes it with 3005: see `expect_close`."""
        hub, connection = self.site.hub, self.connection
        connection.identity = replace(connection.identity, expires_at=hub.clock.now())
        hub.watch_expiry(connection)

    def close(self, code: int = 1000) -> None:
        """Leave, as a client that says so."""
        self._link.leave(code)

    async def reconnect(
        self, *, token: str | None = None, identity: Identity | str | None = None
    ) -> None:
        """Come again, and resume from the position it has.

        It shows the credential that it has, unless another is given. What is left of the old
        connection is cut; if it was cut silently before, the server now has both. In `rooms` and
        `centrifuge` it goes back onto the channels that it was on.

        Raises:
            Denied: the handshake was refused.
        """
        if token is not None or identity is not None:
            self._come_as(token, identity)
        await self._open_again()
        for command in self._speech.returning() if self.closed is None else ():
            await self.ask(command)
