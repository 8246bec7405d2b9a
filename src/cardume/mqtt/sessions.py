"""What the server remembers of one client, §3.1.2.4: subscriptions and what is owed to it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from cardume.hub.rejects import Rejects
from cardume.mqtt.limits import Limits
from cardume.mqtt.message import Message, Quota
from cardume.mqtt.packets import Publish, encode_publish
from cardume.mqtt.ports import session_name
from cardume.mqtt.retained import Retained
from cardume.mqtt.topics import matches


class Outlet(Protocol):
    """The connection of a client that is here."""

    @property
    def choked(self) -> bool:
        """Whether it has more to write than it likes; it asks for more when it has not."""

    def fits(self, size: int) -> bool:
        """Whether `size` more bytes stay within its bound."""

    def send(self, data: bytes) -> None: ...

    def end(self, reason: str) -> None: ...


@dataclass(slots=True)
class Depot:
    """What all sessions draw from."""

    limits: Limits
    rejects: Rejects
    retained: Retained
    room: Quota
    sent: int = field(default=0)


class _Sent(NamedTuple):
    message: Message
    retain: bool
    weight: int


class Session:
    """One (user, client id). Nothing here awaits: it writes to its outlet or keeps."""

    __slots__ = (
        "_depot",
        "_inflight",
        "_last_id",
        "_owed",
        "_queue",
        "_resend",
        "_weight",
        "clean",
        "client_id",
        "name",
        "outlet",
        "subscriptions",
        "user",
    )

    def __init__(self, user: str, client_id: str, *, clean: bool, depot: Depot) -> None:
        self.user = user
        self.client_id = client_id
        self.name = session_name(user, client_id)
        self.clean = clean
        self.outlet: Outlet | None = None
        self.subscriptions: dict[str, int] = {}
        self._depot = depot
        self._queue: deque[Message] = deque()
        self._inflight: dict[int, _Sent] = {}
        self._resend: deque[int] = deque()
        # Topics whose retained message is due, looked up when it is sent: so a newer one that was
        # delivered live meanwhile is never followed by an older one.
        self._owed: dict[str, int] = {}
        self._weight = 0
        self._last_id = 0

    def attach(self, outlet: Outlet) -> None:
        """The client is here. What it had not acknowledged goes first, with DUP (§4.4)."""
        self.outlet = outlet
        self._resend = deque(self._inflight)

    def detach(self) -> None:
        """The client is gone; QoS 1 messages wait for it."""
        self.outlet = None
        self._owed.clear()

    def discard(self) -> None:
        """Forget everything, and give back the room it took."""
        self._queue.clear()
        self._inflight.clear()
        self._depot.room.give(self._weight)
        self._weight = 0

    def owe(self, topics: Iterable[tuple[str, int]]) -> None:
        """Deliver the retained messages of `topics` as room allows, at most at this QoS."""
        self._owed.update(topics)

    def write(self, frame: bytes) -> None:
        """Deliver an encoded QoS 0 publish now or never."""
        if self.outlet is None:
            self._depot.rejects.note("qos0_while_away", self.name)
        elif self.outlet.fits(len(frame)):
            self.outlet.send(frame)
            self._depot.sent += 1
        else:
            self._depot.rejects.note("qos0_slow_reader", self.name)

    def queue(self, message: Message) -> None:
        """Deliver at QoS 1, now or when the client can take it."""
        weight = message.weight
        limits = self._depot.limits
        if (
            len(self._queue) >= limits.session_messages
            or self._weight + weight > limits.session_bytes
            or not self._depot.room.take(weight)
        ):
            self._depot.rejects.note("session_queue_full", self.name)
            return
        self._weight += weight
        self._queue.append(message)
        self.pump()

    def acknowledge(self, packet_id: int) -> None:
        """The client has it (PUBACK). An id that is not outstanding says nothing."""
        sent = self._inflight.pop(packet_id, None)
        if sent is not None:
            self._release(sent.weight)
            self.pump()

    def pump(self) -> None:
        """Send what is waiting, as far as the client and the window allow."""
        outlet = self.outlet
        if outlet is not None:
            while not outlet.choked and self._step(outlet):
                pass

    def forget_unsubscribed(self) -> None:
        """Drop what waits for a subscription that is no more."""
        self._owed = {t: qos for t, qos in self._owed.items() if self._selects(t)}
        keep: deque[Message] = deque()
        for message in self._queue:
            if self._selects(message.topic):
                keep.append(message)
            else:
                self._release(message.weight)
        self._queue = keep

    def _selects(self, topic: str) -> bool:
        return any(matches(name, topic) for name in self.subscriptions)

    def _step(self, outlet: Outlet) -> bool:
        if self._resend:
            packet_id = self._resend.popleft()
            if (sent := self._inflight.get(packet_id)) is not None:
                self._send(outlet, sent.message, 1, packet_id, retain=sent.retain, dup=True)
            return True
        if self._owed:
            return self._step_owed(outlet)
        if self._queue and len(self._inflight) < self._depot.limits.window:
            message = self._queue.popleft()
            self._send_tracked(outlet, message, message.weight, retain=False)
            return True
        return False

    def _step_owed(self, outlet: Outlet) -> bool:
        topic, granted = next(iter(self._owed.items()))
        message = self._depot.retained.get(topic)
        qos = min(granted, message.qos) if message is not None else 0
        if qos and len(self._inflight) >= self._depot.limits.window:
            return False
        del self._owed[topic]
        if message is not None and qos:
            self._send_tracked(outlet, message, 0, retain=True)
        elif message is not None:
            self._send(outlet, message, 0, 0, retain=True)
        return True

    def _send_tracked(self, outlet: Outlet, message: Message, weight: int, *, retain: bool) -> None:
        packet_id = self._next_id()
        self._inflight[packet_id] = _Sent(message, retain, weight)
        self._send(outlet, message, 1, packet_id, retain=retain)

    def _send(
        self,
        outlet: Outlet,
        message: Message,
        qos: int,
        packet_id: int,
        *,
        retain: bool,
        dup: bool = False,
    ) -> None:
        packet = Publish(message.topic, message.payload, qos, retain, dup, packet_id)
        outlet.send(encode_publish(packet))
        self._depot.sent += 1

    def _next_id(self) -> int:
        while True:
            self._last_id = self._last_id % 0xFFFF + 1
            if self._last_id not in self._inflight:
                return self._last_id

    def _release(self, weight: int) -> None:
        self._weight -= weight
        self._depot.room.give(weight)
