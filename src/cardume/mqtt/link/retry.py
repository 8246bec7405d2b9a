"""After a connection to the broker has ended: what is said of it, and how long to wait."""

from __future__ import annotations

import logging
from typing import Final

from cardume.clock import Clock
from cardume.mqtt.link.ends import Ended
from cardume.mqtt.link.url import BrokerAddress

log = logging.getLogger("cardume.mqtt")

FIRST_WAIT: Final = 0.5
LONGEST_WAIT: Final = 20.0
"""Seconds: bounds of the longest wait before the next try."""
STEADY: Final = 30.0
"""Seconds that a connection has to last before the waits begin anew."""
SAY_AGAIN: Final = 300.0
"""Seconds until a reason that stays the same is said again in the log."""
_BRIEF: Final = 5.0
_BRIEF_ONES: Final = 3
"""Connections that end so soon after their SUBACK, in a row: somebody takes them from us."""


class Retry:
    """Waits that grow; a reason is said when it is new, a rival once."""

    def __init__(self, address: BrokerAddress, clock: Clock) -> None:
        self._address = address
        self._clock = clock
        self._ceiling = FIRST_WAIT
        self._brief = 0
        self._told_of_rival = False
        self._said: tuple[str, float] | None = None

    def linked(self) -> None:
        """It came as far as the subscription: the next end is news."""
        self._said = None

    def wait(self, ended: Ended, lasted: float, client_id: str, chance: float) -> float:
        """Seconds until the next try. `chance` is in [0, 1), for full jitter: servers that lost
        their broker together do not come back together."""
        self._say(ended.why)
        if lasted >= STEADY:
            self._ceiling = FIRST_WAIT
        if self._has_rival(ended, lasted):
            self._ceiling = LONGEST_WAIT
            self._tell_of_rival(client_id)
        seconds = chance * self._ceiling
        self._ceiling = min(LONGEST_WAIT, self._ceiling * 2)
        return seconds

    def _has_rival(self, ended: Ended, lasted: float) -> bool:
        """Whether another client uses our id: then each takes the session from the other."""
        brief = ended.hung_up and lasted < _BRIEF
        self._brief = self._brief + 1 if brief else 0
        return ended.taken_over or self._brief >= _BRIEF_ONES

    def _tell_of_rival(self, client_id: str) -> None:
        if not self._told_of_rival:
            self._told_of_rival = True
            log.error(
                "somebody else takes the link to %s from us: does another client use the client "
                "id %s? Give one of them another CARDUME_MQTT_CLIENT_ID",
                self._address,
                client_id,
            )

    def _say(self, why: str) -> None:
        now = self._clock.monotonic()
        if self._said is None or self._said[0] != why or now - self._said[1] >= SAY_AGAIN:
            self._said = (why, now)
            log.warning("no link to the MQTT broker at %s: %s; trying again", self._address, why)
