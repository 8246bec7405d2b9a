"""From the hub to clients: to whoever subscribed, or to one user with word of what became of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from cardume.clock import Clock
from cardume.errors import Invalid
from cardume.mqtt.broker import Broker
from cardume.mqtt.limits import Limits
from cardume.mqtt.ports import Delivery
from cardume.mqtt.sessions.message import NEVER, Message
from cardume.mqtt.sessions.receipts import Receipt
from cardume.mqtt.topics import valid_topic


class ListenerDownlink:
    """`cardume.mqtt.ports.Downlink` over the listener's own sessions."""

    def __init__(self, broker: Broker, clock: Clock, limits: Limits) -> None:
        self._broker = broker
        self._clock = clock
        self._limits = limits

    def publish(self, topic: str, payload: bytes, *, qos: int, retain: bool) -> int:
        """Send to whoever subscribed; how many sessions that are, parked included."""
        return self._broker.publish(self._message(topic, payload, qos, None, retain=retain))

    def dispatch(
        self,
        user: str,
        topic: str,
        payload: bytes,
        *,
        qos: int = 1,
        expiry: float | None = None,
        tell: Callable[[Delivery], None] | None = None,
    ) -> Receipt:
        """Publish, and follow what becomes of it at the sessions of `user`.

        `tell` hears every change, the first ones before this returns; it must not raise. That a
        message expired is noticed when its turn comes, at the latest when the client is back:
        keep a lease of your own for what has to be known in time.

        Raises:
            Invalid: no topic, a QoS above 2, or a payload over the limit.
        """
        receipt = Receipt(tell)
        message = self._message(topic, payload, qos, expiry, retain=False)
        self._broker.publish(message, user=user, receipt=receipt)
        return receipt

    async def publish_to(
        self,
        user: str,
        topic: str,
        payload: bytes,
        *,
        qos: int = 1,
        expiry: float | None = None,
        patience: float = 5.0,
    ) -> Delivery:
        """See `cardume.mqtt.ports.Downlink`. A session that is away keeps QoS 1 and 2."""
        done = asyncio.Event()

        def tell(state: Delivery) -> None:
            if state.final:
                done.set()

        receipt = self.dispatch(user, topic, payload, qos=qos, expiry=expiry, tell=tell)
        if receipt.settled:
            return receipt.state
        timer = self._clock.call_later(patience, done.set)
        try:
            await done.wait()
        finally:
            timer.cancel()
        return receipt.state

    def _message(
        self, topic: str, payload: bytes, qos: int, expiry: float | None, *, retain: bool
    ) -> Message:
        if not valid_topic(topic) or qos not in (0, 1, 2):
            raise Invalid("a publish needs a topic without wildcards, and QoS 0, 1 or 2")
        if len(payload) > self._limits.max_payload:
            raise Invalid(f"a payload holds at most {self._limits.max_payload} bytes")
        expires = NEVER if expiry is None else self._clock.monotonic() + expiry
        return Message(topic, payload, qos, retain, expires=expires)
