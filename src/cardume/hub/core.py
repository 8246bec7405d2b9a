"""What the parts of a hub share: its ports, its options, its numbers, whether it runs.

A `Hub` is put together from three parts over this one: what is published (`publishing`), who is
on which channel (`membership`), and who is connected (`people`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Protocol, TypeVar

from cardume.auth.identity import Identity
from cardume.clock import Clock, SystemClock
from cardume.engines import engine_from_url
from cardume.engines.base import Engine
from cardume.errors import ConfigurationError, HubNotRunning, Refused
from cardume.hub.census import Blocks, Index
from cardume.hub.channel import Channel
from cardume.hub.connection import Connection
from cardume.hub.limits import TokenBucket
from cardume.hub.namespaces import ChannelOptions, Namespaces
from cardume.hub.options import HubOptions
from cardume.hub.presence import Presence
from cardume.hub.pulse import Pulse
from cardume.hub.rejects import Rejects
from cardume.hub.roster import Roster
from cardume.hub.schedule import LeaseTimer, Tasks
from cardume.hub.snapshots import Snapshots
from cardume.hub.stats import HubStats
from cardume.hub.subscription import Subscription
from cardume.wire import codes
from cardume.wire.messages import Member, check_channel

K = TypeVar("K", bound=Hashable)

logger = logging.getLogger("cardume.hub")


class Verifier(Protocol):
    """Who a token speaks for."""

    async def verify(self, token: str) -> Identity:
        """Raises `InvalidToken`, or `Unavailable` where an issuer's keys are out of reach."""


class Core:
    """The state of a hub."""

    def __init__(
        self,
        *,
        auth: Verifier | None = None,
        engine: Engine | str = "memory://",
        clock: Clock | None = None,
        options: HubOptions | None = None,
    ) -> None:
        self.clock: Clock = clock or SystemClock()
        self.options = options or HubOptions()
        self.engine = engine_from_url(engine, self.clock) if isinstance(engine, str) else engine
        self.namespaces = Namespaces(self.options.undeclared)
        self.stats = HubStats()
        self.rejects = Rejects(logger, self.clock)
        self.tasks = Tasks(self.clock)
        self.snapshots = Snapshots(self.tasks)
        self.pulse: Pulse[Any] = Pulse(self.clock)
        """Of the connections whose pongs we see."""
        rate, burst = self.options.handshakes_per_second, self.options.handshakes_at_once
        self.handshakes = TokenBucket(rate, burst, self.clock.monotonic())
        self.draining = False
        self._auth = auth
        self._entered = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timers: list[LeaseTimer[Any]] = []
        self._connections: dict[str, Connection] = {}
        self._by_user: Index[Connection] = Index()
        self._by_address: Index[Connection] = Index()
        self._blocks = Blocks()
        self._presence = Presence(
            lambda on_expire: self.leases(on_expire, "presence grace"), self._tell_membership
        )
        self._roster = Roster(self.engine, self.tasks, self._make_channel)

    @property
    def running(self) -> bool:
        return self._entered > 0

    @property
    def auth(self) -> Verifier:
        """Who decides whose token it is.

        Raises:
            HubNotRunning: there is none yet.
        """
        if self._auth is None:
            raise HubNotRunning
        return self._auth

    def verify_with(self, verifier: Verifier) -> None:
        """Let `verifier` decide from now on; who is here already stays."""
        self._auth = verifier

    def check_running(self) -> None:
        """Raise a clear error outside the lifespan, and on a loop that is not the hub's.

        Raises:
            HubNotRunning: so that the developer learns it at the first connection.
        """
        if self._loop is not asyncio.get_running_loop():
            raise HubNotRunning

    def leases(self, on_expire: Callable[[list[K]], Awaitable[None]], name: str) -> LeaseTimer[K]:
        """Leases on the hub's clock; `on_expire` gets the keys that were not renewed in time."""
        timer = LeaseTimer(self.clock, self.tasks, on_expire, name)
        self._timers.append(timer)
        return timer

    def options_of(self, channel: str) -> ChannelOptions:
        """The options of a channel that exists or may exist.

        Raises:
            Invalid: no name of a channel.
            Refused: nobody declared it.
        """
        known = self._roster.get(channel)
        if known is not None:
            return known.options
        options = self.namespaces.options(check_channel(channel))
        if options is None:
            raise Refused(codes.UNKNOWN_CHANNEL, f"nobody declared a channel like {channel!r}")
        return options

    def _default_verifier(self) -> Verifier:
        raise ConfigurationError("Hub(auth=…) needs a verifier; see cardume.auth.tokens")

    def _make_channel(self, name: str, options: ChannelOptions) -> Channel:
        return Channel(name, options, self._arrived, self._soon, self.stats)

    def _soon(self, call: Callable[[], object]) -> None:
        if self._loop is not None:
            self._loop.call_soon(call)

    def _arrived(self, subscription: Subscription) -> None:
        self._presence.arrive(subscription)

    def _tell_membership(self, channel: str, member: Member, joined: bool) -> None:
        here = self._roster.get(channel)
        # Everybody leaves a hub that drains: that is no news about any of them.
        if here is not None and not self.draining:
            here.tell_membership(member, joined)
