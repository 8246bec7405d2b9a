"""Whether the hub hears its devices at all: up, resync, or down (rows 21 to 23).

The second axis beside the status of a device, never mixed with it: a hub that is blind calls
nobody offline, it says `unknown`. The listener hears as long as the app runs; a link to a broker
says when it does. Losing it is one `hub_status`, and after a minute one critical alert.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from enum import StrEnum, auto
from typing import Final

from typing_extensions import TypedDict

from cardume.alerts.lifecycle import AlertKind, ClearReason
from cardume.apps.aquarium.catalogue import Catalogue
from cardume.apps.aquarium.ingest import Ingest
from cardume.apps.aquarium.views import channel_of
from cardume.errors import CardumeError
from cardume.hub.hub import Hub
from cardume.storage.database import Storage
from cardume.storage.tables import alerts
from cardume.wire.messages import stamp

RESYNC_S: Final = 10.0
"""Seconds after the subscription in which a broker hands out what it retained and kept for us."""

BLIND_ALERT_S: Final = 60.0
"""Seconds without a link that people have to know of."""

logger = logging.getLogger("cardume.aquarium")


class LinkState(StrEnum):
    UP = auto()
    RESYNC = auto()
    """We hear, but what we hear first may be old."""
    DOWN = auto()


class Link(TypedDict):
    """Whether we hear devices at all; the data of `hub_status`."""

    link: str
    since: str | None


class Matter(StrEnum):
    """What is to be done by the clock."""

    STEADY = auto()
    BLIND = auto()
    OVER = auto()


def _nothing() -> None:
    """Nobody waits for us to hear."""


class Hearing:
    """The hub's own link as a state. Kept in monotonic time: it follows when the clock is set."""

    def __init__(self, hub: Hub, storage: Storage, catalogue: Catalogue, ingest: Ingest) -> None:
        self.state = LinkState.DOWN
        self.on_up: Callable[[], None] = _nothing
        """Called whenever silence begins to count again."""
        self._hub = hub
        self._storage = storage
        self._catalogue = catalogue
        self._ingest = ingest
        self._clock = hub.clock
        self._since = self._clock.monotonic()
        self._blind_since = self._since
        self._alert_at = self._since + BLIND_ALERT_S
        self._heard_since: float | None = None
        self._matters = hub.leases(self._due, "the hub's link")
        self._unsaid: deque[Link] = deque()
        self._saying: asyncio.Task[None] | None = None

    @property
    def is_up(self) -> bool:
        return self.state is LinkState.UP

    @property
    def up_since(self) -> float | None:
        """Wall time since which we hear devices; None: we are blind, and nobody is offline."""
        return None if self._heard_since is None else self._wall(self._heard_since)

    def view(self) -> Link:
        return {"link": self.state, "since": stamp(self._wall(self._since))}

    # -- what happens to it -----------------------------------------------------------------

    def begin(self, *, linked: bool) -> None:
        """The app starts. `linked`: somebody will say when we hear; else we do from now on."""
        self._since = self._blind_since = self._clock.monotonic()
        if linked:
            self._alert_at = self._since + BLIND_ALERT_S
            self._matters.touch_in(Matter.BLIND, BLIND_ALERT_S)
            return
        self.state, self._heard_since = LinkState.UP, self._since
        self._matters.touch_in(Matter.OVER, 0.0)

    def end(self) -> None:
        """The app stops: nothing is counted or said any more."""
        self.state, self._heard_since = LinkState.DOWN, None
        self._matters.stop()

    def heard(self) -> None:
        """The broker has granted the subscription."""
        self._heard_since = self._clock.monotonic()
        self._matters.touch_in(Matter.STEADY, RESYNC_S)
        self._move(LinkState.RESYNC)

    def lost(self) -> None:
        """The link is gone. No device is touched: that would be a thousand rows for one event."""
        if self.is_up:
            self._blind_since = self._clock.monotonic()
            self._alert_at = self._blind_since + BLIND_ALERT_S
        self._heard_since = None
        self._matters.drop(Matter.STEADY)
        if Matter.BLIND not in self._matters:  # one that falls again before it is up stays blind
            left = self._alert_at - self._clock.monotonic()
            self._matters.touch_in(Matter.BLIND, max(0.0, left))
        self._move(LinkState.DOWN)

    def _move(self, state: LinkState) -> None:
        self.state = state
        self._since = self._clock.monotonic()
        self._unsaid.append(self.view())
        if self._saying is None or self._saying.done():
            self._saying = self._hub.tasks.spawn(self._say(), "hub status")

    async def _say(self) -> None:
        while self._unsaid:
            data = self._unsaid.popleft()
            for aquarium_id in list(self._catalogue.members):
                try:
                    await self._hub.publish(
                        channel_of(aquarium_id), "hub_status", data, key="hub_status"
                    )
                except CardumeError as error:
                    logger.warning("a hub_status was not published: %s", type(error).__name__)

    # -- by the clock -----------------------------------------------------------------------

    async def _due(self, matters: list[Matter]) -> None:
        for matter in matters:
            # In resync we hear again; should that not last, `lost` asks for it anew.
            if matter is Matter.BLIND and self.state is LinkState.DOWN:
                await self._raise_alert()
            elif matter is Matter.STEADY and self.state is LinkState.RESYNC:
                self._matters.drop(Matter.BLIND)
                self._move(LinkState.UP)
                self.on_up()
                self._matters.touch_in(Matter.OVER, 0.0)
            elif matter is Matter.OVER and self.is_up:
                await self._clear_alert()

    async def _raise_alert(self) -> None:
        """One for each aquarium with devices, for each has people of its own."""
        watched = {device.aquarium_id for device in self._catalogue.devices.all()}
        async with self._storage.write() as tx:
            if self.state is not LinkState.DOWN:  # meanwhile
                return
            changes = self._ingest.changes(tx)
            await changes.alarms.link_down(sorted(watched), self._wall(self._blind_since))
        self._alert_at = self._clock.monotonic() + BLIND_ALERT_S

    async def _clear_alert(self) -> None:
        kind = alerts.c.kind == AlertKind.HUB_LINK_DOWN
        async with self._storage.write() as tx:
            if self.is_up:
                await self._ingest.changes(tx).alarms.clear_all(ClearReason.AUTO, kind)

    def _wall(self, monotonic: float) -> float:
        return self._clock.now() - (self._clock.monotonic() - monotonic)
