"""A message on its way out."""

from __future__ import annotations

from typing import Final

import msgspec

from cardume.mqtt.codec.properties import NONE, Properties, weight_of

NEVER: Final = float("inf")

_OVERHEAD: Final = 96
"""Bytes that the objects around a short message weigh, roughly."""


class Message(msgspec.Struct, frozen=True, gc=False):
    """What subscribers receive, before anybody's packet id."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    properties: Properties = NONE
    """Those that travel unaltered."""
    expires: float = NEVER
    """Monotonic seconds; from then on nobody gets it any more (5.0 §3.3.2.3.3)."""

    @property
    def weight(self) -> int:
        """Bytes it is counted as where messages are kept."""
        return len(self.topic) + len(self.payload) + _OVERHEAD + weight_of(self.properties)


class Quota:
    """An amount shared by many takers."""

    __slots__ = ("limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    def has(self, amount: int) -> bool:
        """Whether so much is left."""
        return self.used + amount <= self.limit

    def take(self, amount: int) -> bool:
        """Whether it was still there to be taken."""
        if not self.has(amount):
            return False
        self.used += amount
        return True

    def give(self, amount: int) -> None:
        self.used -= amount
