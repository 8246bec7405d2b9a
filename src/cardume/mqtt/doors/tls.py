"""The door for MQTT over TLS: its certificate, and the handshakes under way."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Final, NamedTuple

from cardume.certificates import Certificates
from cardume.clock import Clock
from cardume.mqtt.connection import Connection
from cardume.mqtt.doors.deadlines import Deadlines
from cardume.mqtt.doors.sealed import Sealed
from cardume.mqtt.doors.wire import READ_AT_ONCE

HANDSHAKE_WITHIN: Final = 10.0
"""Seconds from accept to the end of the handshake."""
LINGER: Final = 1.0
"""Seconds for the alert that says what was wrong to leave."""


class TlsPort(NamedTuple):
    """Where TLS is spoken, and what is shown there."""

    port: int
    certificates: Certificates
    host: str | None = None
    """Where it binds; None: where the plain port does."""


class Handshakes:
    """The door for TLS: everybody in it has a deadline, and there are only so many at once."""

    def __init__(
        self,
        certificates: Certificates,
        accept: Callable[[], Connection | None],
        note: Callable[[str, str], None],
        deadlines: Deadlines,
        clock: Clock,
        limit: int,
    ) -> None:
        self.accept = accept
        self.note = note
        self.view = memoryview(bytearray(READ_AT_ONCE))
        self.loop = asyncio.get_running_loop()
        self._certificates = certificates
        self._deadlines = deadlines
        self._clock = clock
        self._limit = limit
        self._pending: set[Sealed] = set()

    def __call__(self) -> asyncio.BaseProtocol:
        """The protocol of a new socket."""
        return Sealed(self)

    def __len__(self) -> int:
        return len(self._pending)

    def begin(self, client: Sealed) -> ssl.SSLContext | None:
        """The context for a client that has just come; None: there are too many."""
        if len(self._pending) >= self._limit:
            self.note("too_many_handshakes", client.peer)
            return None
        now = self._clock.monotonic()
        self._pending.add(client)
        self._deadlines.arm(client, now + HANDSHAKE_WITHIN)
        self._certificates.refresh(now)
        return self._certificates.context

    def linger(self, client: Sealed) -> None:
        """It failed; its alert has a moment to leave."""
        self._deadlines.arm(client, self._clock.monotonic() + LINGER)

    def end(self, client: Sealed) -> None:
        """Its handshake is over, or it is gone."""
        self._pending.discard(client)
        self._deadlines.discard(client)

    def stop(self) -> None:
        """Hang up on everybody who has not got through yet."""
        for client in list(self._pending):
            client.abort()
