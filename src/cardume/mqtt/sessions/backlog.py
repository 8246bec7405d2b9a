"""What waits for one client: bounded, QoS 0 the first to go."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

import msgspec

from cardume.mqtt.sessions.message import NEVER, Message
from cardume.mqtt.sessions.receipts import Receipt


class Parcel(msgspec.Struct, frozen=True, gc=False):
    """A message addressed to one session."""

    message: Message
    qos: int
    weight: int = 0
    """Bytes its session answers for until it is acknowledged."""
    retain: bool = False
    """Whether it goes out with RETAIN."""
    ids: tuple[int, ...] = ()
    """Its subscriptions' identifiers (5.0 §3.3.2.3.8)."""
    receipt: Receipt | None = None

    def expired(self, now: float) -> bool:
        return self.message.expires <= now


class Backlog:
    """Two lanes, each in order: QoS 0, which a client may miss, and QoS 1 and 2."""

    __slots__ = ("_soonest", "tracked", "zeros")

    def __init__(self) -> None:
        self.zeros: deque[Parcel] = deque()
        self.tracked: deque[Parcel] = deque()
        self._soonest = NEVER
        """Nothing in here expires before."""

    def __len__(self) -> int:
        return len(self.zeros) + len(self.tracked)

    def __iter__(self) -> Iterator[Parcel]:
        yield from self.tracked
        yield from self.zeros

    def add(self, parcel: Parcel) -> None:
        (self.tracked if parcel.qos else self.zeros).append(parcel)
        self._soonest = min(self._soonest, parcel.message.expires)

    def take_expired(self, now: float) -> list[Parcel]:
        """Remove what nobody may have any more."""
        if now < self._soonest:
            return []
        gone = self.take_unless(lambda parcel: not parcel.expired(now))
        self._soonest = min((parcel.message.expires for parcel in self), default=NEVER)
        return gone

    def take_unless(self, wanted: Callable[[Parcel], bool]) -> list[Parcel]:
        """Remove what is not wanted; what that was."""
        gone: list[Parcel] = []
        for lane in (self.tracked, self.zeros):
            for _ in range(len(lane)):
                parcel = lane.popleft()
                (lane if wanted(parcel) else gone).append(parcel)
        return gone
