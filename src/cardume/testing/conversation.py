"""The inside of a test's client: its connections, what came, and how it waits.

Waiting is on the hub's clock: with a `FakeClock` seconds pass at once, otherwise they are the
longest a test waits.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, unquote

from starlette.types import ASGIApp

from cardume.auth.identity import Identity
from cardume.testing.centrifuge import Centrifuge
from cardume.testing.clock import FakeClock, settle
from cardume.testing.inbox import Inbox
from cardume.testing.link import PATIENCE, Link
from cardume.testing.site import Site, site_of
from cardume.testing.speech import Frame, Plain, Rooms, Speech
from cardume.transports.fastapi import Hub
from cardume.wire.messages import Position

GRACE = 0.01
"""Real seconds that a thread, such as a database's, gets before fake time passes."""

LINGER = 1.0
"""Real seconds that it gets before an expectation fails; nobody waits for them otherwise."""

_HELLOS = ("connected", "connect")


class Conversation:
    """One client's connections to one address, one after the other."""

    def __init__(
        self,
        app: Site | ASGIApp | Hub,
        path: str,
        *,
        token: str | None,
        identity: Identity | str | None,
        since: Position | str | None,
        headers: Mapping[str, str] | None,
    ) -> None:
        self.hello: Frame | None = None
        """The first frame of this connection; None where there was none."""
        self._app = app
        self._path, _, self._query = path.partition("?")
        self._come_as(token, identity)
        self._headers = dict(headers or {})
        position = Position.parse(since) if isinstance(since, str) else since
        speaks_first = self._path.endswith("/connection/websocket")
        self._speech: Speech = Centrifuge() if speaks_first else Plain(position)
        self._ids = itertools.count(1)
        self._inbox = Inbox()
        self._changed = asyncio.Event()
        self._links: list[Link] = []
        self._site: Site | None = None

    async def __aenter__(self) -> Self:
        self._site = site_of(self._app)
        try:
            await self._open()
        except BaseException:
            await self._let_go()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await self._let_go()
        except Exception:
            if error is None:  # what the test says comes first
                raise

    @property
    def site(self) -> Site:
        """Where it is a client."""
        assert self._site is not None, "enter it first: async with client(…)"
        return self._site

    @property
    def frames(self) -> list[Frame]:
        """All that came, in order, decoded; of all its connections."""
        return self._inbox.frames

    @property
    def closed(self) -> int | None:
        """The close code; 1006 where the link was cut; None while it is open."""
        return self._link.code

    @property
    def frozen(self) -> bool:
        """Whether it has stopped reading."""
        return self._link.frozen

    def send(self, message: Frame | str) -> None:
        """Say something; a string goes out as it is. Returns at once.

        Raises:
            ConnectionError: it is closed.
        """
        if not isinstance(message, str):
            self._speech.said(message)
            message = json.dumps(message)
        self._link.say(message)

    # -- inside -----------------------------------------------------------------------------

    @property
    def _link(self) -> Link:
        assert self._links, "enter it first: async with client(…)"
        return self._links[-1]

    async def _open(self) -> None:
        self.hello, start = None, len(self.frames)
        link = Link(self.site, self._scope(), self._hear, self._changed.set)
        self._links.append(link)
        opening = self._speech.opening()
        if opening is not None:
            self.send({**opening, "id": next(self._ids)})
        await self._wait(lambda: len(self.frames) > start or link.over, PATIENCE)
        if link.denied is not None:
            raise link.denied
        if len(self.frames) == start and not link.over:
            raise AssertionError(f"the application did not answer within {PATIENCE:g} s")
        if len(self.frames) > start:
            first = self.frames[start]
            if self._speech.type_of(first) in _HELLOS:
                self.hello = self._inbox.answered(start)

    async def _open_again(self) -> None:
        old = self._link
        if old.code is None:
            old.cut()
        if not old.silent:
            await old.end()
        self._inbox.start_over()
        await self._open()

    async def _let_go(self) -> None:
        failed = await asyncio.gather(*(link.end() for link in self._links), return_exceptions=True)
        for error in filter(None, failed):
            raise error

    def _scope(self) -> dict[str, Any]:
        query = [self._query] if self._query else []
        shown, since = self._token(), self._speech.query()
        query += [f"token={quote(shown)}"] if shown is not None else []
        query += [f"since={since}"] if since is not None else []
        given = {name.lower(): value for name, value in self._headers.items()}
        headers = {"host": "testserver", **given}
        return {
            "type": "websocket",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "scheme": "ws",
            "server": ("testserver", 80),
            "client": ("testclient", 50000),
            "root_path": "",
            "path": unquote(self._path),
            "raw_path": self._path.encode(),
            "query_string": "&".join(query).encode(),
            "headers": [(k.encode(), v.encode("latin-1")) for k, v in headers.items()],
            "subprotocols": [],
            "extensions": {"websocket.http.response": {}},
        }

    def _come_as(self, token: str | None, identity: Identity | str | None) -> None:
        if token is not None and identity is not None:
            raise TypeError("token or identity, not both")
        self._identity = Identity(identity) if isinstance(identity, str) else identity
        self._pass = token

    def _token(self) -> str | None:
        if self._pass is None and self._identity is not None:
            self._pass = self.site.token(self._identity)
        return self._pass

    def _hear(self, text: str) -> None:
        if not self.frames and type(self._speech) is Plain and "event_type" in json.loads(text):
            self._speech = Rooms()
        for frame in self._speech.hear(text):
            answer = self._speech.answer(frame)
            if answer is None:
                self.frames.append(frame)
            else:
                self._link.say(answer)

    async def _until(self, condition: Callable[[], bool], within: float) -> None:
        """Return when `condition` holds, or when `within` seconds of the hub's have passed."""
        clock = self.site.hub.clock
        if not isinstance(clock, FakeClock):
            await self._wait(condition, within)
            return
        if await self._wait(condition, GRACE):
            return
        if not await clock.advance_until(condition, within):
            await self._wait(condition, LINGER)

    async def _wait(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Whether `condition` came to hold within `seconds` that really pass.

        Raises:
            Exception: what the application failed with, if it did.
        """
        await settle()
        try:
            async with asyncio.timeout(seconds):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            pass
        self._link.check()
        return condition()

    def _report(self) -> str:
        state = "it is open"
        if self.closed is not None:
            state = f"it was closed with {self.closed} {self._link.reason}".rstrip()
        elif self.frozen:
            state = "it is frozen and reads nothing"
        return f"{state}; {self._inbox.report()}"
