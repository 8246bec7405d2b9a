"""The way to a client, and what it asked of us."""

from __future__ import annotations

from typing import Final, Protocol

import msgspec

from cardume.mqtt.codec.packets import LEVEL

UNLIMITED: Final = 0


class Terms(msgspec.Struct, frozen=True, gc=False):
    """What a client asked of us when it connected."""

    level: int = LEVEL
    window: int = 20
    """QoS 1 and 2 publishes it takes at a time."""
    max_packet: int = UNLIMITED

    def fits(self, size: int) -> bool:
        """Whether it takes a packet of `size` bytes."""
        return self.max_packet == UNLIMITED or size <= self.max_packet


class Outlet(Protocol):
    """The connection of a client that is here."""

    terms: Terms

    @property
    def choked(self) -> bool:
        """Whether it has more to write than it likes; it asks for more when it has not."""

    def send(self, data: bytes) -> None: ...

    def end(self, reason: str) -> None: ...
