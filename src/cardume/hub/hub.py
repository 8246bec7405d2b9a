"""The hub: connections on one side, channels in the middle, publishers on the other.

Flows in: identities with a transport, commands, publications. Flows out: frames, through each
connection's outbox. It knows ports (`Engine`, `Verifier`, `Transport`), opens no socket and
keeps no truth.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Self

from cardume.auth.identity import Identity
from cardume.clock import Clock
from cardume.engines.base import Engine
from cardume.hub import rekey, watch
from cardume.hub.actions import Actions, Handler
from cardume.hub.core import Verifier
from cardume.hub.namespaces import Namespace
from cardume.hub.options import HubOptions
from cardume.hub.people import People
from cardume.hub.publishing import Publishing
from cardume.hub.watch import Watch
from cardume.wire import codes
from cardume.wire.events import EventType

__all__ = ["Hearer", "Hub", "Verifier"]

LEAVE_WITHIN = 2.0
"""Seconds that connections have at the hub's end."""

Hearer = Callable[[Identity], None]
"""Told who speaks, at every message of a client. Returns at once and raises nothing."""

logger = logging.getLogger("cardume.hub")


class Hub(Publishing, People):
    """One per process; an async context manager that may be entered again without harm."""

    def __init__(
        self,
        *,
        auth: Verifier | None = None,
        engine: Engine | str = "memory://",
        clock: Clock | None = None,
        options: HubOptions | None = None,
    ) -> None:
        super().__init__(auth=auth, engine=engine, clock=clock, options=options)
        self.actions = Actions()
        self.event_names: set[str] = {*EventType}
        """What events in rooms may be called: the built-in ones and those of `Rooms(events=…)`."""
        self.hearers: list[Hearer] = []
        self._farewells: list[asyncio.Event] = []
        self._watch = Watch(self.engine, self._roster, self.rejects, self.clock)

    # -- life -------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._entered == 0:
            if self._auth is None:
                self._auth = self._default_verifier()
            await self.engine.start(self._deliver)
            self._loop = asyncio.get_running_loop()
            self.draining = False
            self.tasks.every(watch.EVERY, self._watch.round, "position check")
            self.tasks.every(rekey.EVERY, partial(rekey.check_keys, self), "signing keys")
        self._entered += 1
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._entered -= 1
        if self._entered > 0:
            return
        try:
            await self.drain(timeout=LEAVE_WITHIN)
        finally:
            for connection in self.connections():  # they had their time
                self.disconnect(connection)
            for timer in self._timers:
                timer.stop()
            self.pulse.stop()
            await self.tasks.cancel()
            self._roster.clear()
            self._presence.clear()
            await self.engine.stop()
            self._loop = None

    async def drain(self, *, window: float = 0.0, timeout: float = 10.0) -> None:
        """Send everyone away with 3001, spread over `window` seconds, and wait until they left.

        What is queued for them is written first. Returns after `timeout` more seconds at the
        latest; new connections are refused from now on.
        """
        self.draining = True
        leaving = list(self._connections.values())
        batch = max(1, round(len(leaving) * 0.05 / window)) if window else len(leaving)
        for index, connection in enumerate(leaving, 1):
            connection.close(codes.SHUTDOWN)
            if window and index % batch == 0 and index < len(leaving):
                await self.clock.sleep(0.05)
        if self._connections:
            # Made here and not once for all: an event belongs to the loop that waited on it.
            empty = asyncio.Event()
            self._farewells.append(empty)
            try:
                async with asyncio.timeout(timeout):
                    await empty.wait()
            except TimeoutError:
                logger.warning("%d connections did not leave in time", len(self._connections))
            finally:
                self._farewells.remove(empty)

    # -- declaring --------------------------------------------------------------------------

    def declare(self, namespace: Namespace) -> None:
        """Make a kind of channel known."""
        self.namespaces.add(namespace)

    def action(self, name: str) -> Callable[[Handler], Handler]:
        """Let clients call the decorated ``async (identity, body)`` by `name`."""

        def register(handler: Handler) -> Handler:
            self.actions.add(name, handler)
            return handler

        return register

    def on_speech(self, hearer: Hearer) -> Hearer:
        """Have `hearer` called with the identity behind each message that a client sends."""
        self.hearers.append(hearer)
        return hearer

    def _emptied(self) -> None:
        for empty in self._farewells:
            empty.set()
