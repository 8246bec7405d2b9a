"""The link to a real broker: devices speak to it, and we subscribe to what they say.

One owner, one connection, one persistent session. A message goes to the same `Intake` as one of
the listener, and the broker hears of it once it is committed and published: what we did not
acknowledge it sends again. Order is kept, for the intake keeps it. Losing the broker is no event
of any device; `up` and `down` tell who counts their silence.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
from collections.abc import Callable
from typing import Final, Literal, NamedTuple

from cardume.clock import Clock
from cardume.errors import Invalid
from cardume.hub.rejects import Rejects
from cardume.mqtt.codec.reasons import REFUSED, Reason
from cardume.mqtt.faults import Faults
from cardume.mqtt.intake import Intake
from cardume.mqtt.link.client import ANSWER_WITHIN, Conversation, LinkOptions
from cardume.mqtt.link.dial import dial
from cardume.mqtt.link.ends import Ended
from cardume.mqtt.link.frames import Message, TooBig
from cardume.mqtt.link.retry import Retry
from cardume.mqtt.link.url import BrokerAddress
from cardume.mqtt.ports import Delivery, Inbound, session_name
from cardume.mqtt.topics import valid_topic

log = logging.getLogger("cardume.mqtt")

TEND_EVERY: Final = 1.0

Protocol = Literal["auto", "5", "3.1.1"]


class LinkStats(NamedTuple):
    """What there is now, and counts since the start."""

    up: bool
    in_flight: int
    """Messages that are not acknowledged yet."""
    received: int
    reconnects: int
    """Connections after the first that came as far as the subscription."""
    faults: int
    drops: dict[str, int]
    """Messages passed over, by reason."""


def _nothing() -> None:
    """Nobody counts anybody's silence."""


class Link:
    """Keeps one connection to `address`, for as long as it takes."""

    def __init__(
        self,
        address: BrokerAddress,
        intake: Intake,
        clock: Clock,
        *,
        filters: tuple[str, ...],
        tls: ssl.SSLContext | None = None,
        protocol: Protocol = "auto",
        keepalive: int = 10,
        answer_within: float = ANSWER_WITHIN,
    ) -> None:
        self.address = address
        self.up: Callable[[], None] = _nothing
        """Called when the broker has granted the subscription: from now on we hear."""
        self.down: Callable[[], None] = _nothing
        """Called when a connection that was up is lost."""
        self.why = "not connected yet"
        """Why there is no connection, while there is none."""
        self._intake = intake
        self._clock = clock
        self._filters = filters
        self._tls = tls
        self._protocol = protocol
        self._keepalive = keepalive
        self._answer_within = answer_within
        self._v5 = protocol != "3.1.1"
        self._client_id = ""
        self._session = ""
        self._conversation: Conversation | None = None
        self._is_up = False
        self._task: asyncio.Task[None] | None = None
        self._rejects = Rejects(log, clock)
        self._faults = Faults(log, clock)
        self._retry = Retry(address, clock)
        self._received = self._links = 0

    async def start(self, client_id: str) -> None:
        """Begin to connect; the broker may come later. `client_id` is the name of our session."""
        self._client_id = client_id
        self._session = session_name("link", client_id)
        self._intake.start()
        self._task = asyncio.create_task(self._stay(), name="mqtt-link")

    async def stop(self, grace: float) -> None:
        """Read no more, acknowledge what is kept within `grace` seconds, say goodbye."""
        if self._task is None:
            return
        conversation = self._conversation
        if conversation is not None:
            self._is_up = False  # it is us who leave: nobody went blind
            conversation.pause()
            await self._intake.settled(grace)
            conversation.leave()
        self._task.cancel()
        await asyncio.wait({self._task})
        self._task = None

    def hears(self) -> bool:
        """Whether the broker has said something lately: a stalled one is noticed before it is
        given up, and meanwhile the silence of devices proves nothing."""
        conversation = self._conversation
        if not self._is_up or conversation is None:
            return False
        silent = asyncio.get_running_loop().time() - conversation.heard_at
        return silent <= self._keepalive + 2 * TEND_EVERY

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
        """`cardume.mqtt.ports.Downlink`: as far as a broker tells, which is `SENT` at best.

        `NO_SESSION` where there is no link, or the broker says that nobody subscribed (MQTT 5).
        At most QoS 1 is used. `expiry` is passed on with MQTT 5, and not kept with 3.1.1.

        Raises:
            Invalid: no topic, or a QoS above 2.
        """
        if not valid_topic(topic) or qos not in (0, 1, 2):
            raise Invalid("a publish needs a topic without wildcards, and QoS 0 to 2")
        conversation = self._conversation
        if conversation is None:
            return Delivery.NO_SESSION
        answer = conversation.publish(topic, payload, min(qos, 1), expiry)
        if answer is None:
            return Delivery.NO_SESSION
        await asyncio.wait({answer}, timeout=patience)
        if not answer.done() or answer.cancelled():
            return Delivery.SENT
        if answer.result() >= REFUSED:
            return Delivery.REJECTED
        unheard = answer.result() == Reason.NO_SUBSCRIBERS  # MQTT 5 §3.4.2.1
        return Delivery.NO_SESSION if unheard else Delivery.SENT

    def stats(self) -> LinkStats:
        conversation = self._conversation
        return LinkStats(
            up=self._is_up,
            in_flight=0 if conversation is None else conversation.in_flight,
            received=self._received,
            reconnects=max(0, self._links - 1),
            faults=self._faults.count,
            drops=dict(self._rejects.counts),
        )

    # -- what a conversation asks -----------------------------------------------------------

    def on_message(self, message: Message, conversation: Conversation) -> bool:
        """Offer a message to the intake; False while that has too many."""
        self._received += 1
        inbound = Inbound(
            topic=message.topic,
            payload=message.payload,
            qos=0 if message.packet_id is None else 1,
            dup=message.dup,
            # A live message comes with RETAIN = 0 (3.1.1 §3.3.1.3), in MQTT 5 for we did not ask
            # for Retain As Published (§3.8.3.1).
            replay=message.retain,
            session=self._session,
            packet_id=message.packet_id,
            principal="link",
            received_at=self._clock.now(),
        )
        if self._intake.offer(inbound, conversation.settle):
            return True
        self._intake.when_roomy(conversation.resume)
        return False

    def on_too_big(self, message: TooBig) -> None:
        self._rejects.note("too_big", f"{message.size} bytes")

    # -- staying connected ------------------------------------------------------------------

    async def _stay(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            begun = loop.time()
            try:
                ended = await self._talk()
            except Exception as error:  # the next try may go better
                self._faults.note("the MQTT link", error)
                ended = Ended("a bug of ours")
            self.why = ended.why
            lasted = loop.time() - begun
            seconds = self._retry.wait(ended, lasted, self._client_id, random.random())
            await self._clock.sleep(seconds)

    async def _talk(self) -> Ended:
        """One connection, from its beginning to its end."""
        options = LinkOptions(
            client_id=self._client_id, filters=self._filters, keepalive=self._keepalive
        )
        conversation = await dial(self.address, options, self, self._tls, v5=self._v5)
        if isinstance(conversation, Ended):
            return conversation
        self._conversation = conversation
        ended = conversation.ended
        try:
            if not await conversation.enter(self._answer_within):
                self._choose_version(conversation)
                return ended.result()
            self._heard(conversation)
            while not ended.done():
                await asyncio.wait({ended}, timeout=TEND_EVERY)
                conversation.tend()
            return ended.result()
        finally:
            self._conversation = None
            self._intake.forget(conversation.resume)
            conversation.end(Ended("we left"))
            if self._is_up:
                self._is_up = False
                self._v5 = self._protocol != "3.1.1"
                self.down()

    def _heard(self, conversation: Conversation) -> None:
        self._links += 1
        self._is_up = True
        self._retry.linked()
        self.why = ""
        log.info(
            "linked to the MQTT broker at %s (MQTT %s, %s session)",
            self.address,
            "5" if conversation.v5 else "3.1.1",
            "the kept" if conversation.subscribed.result() else "a new",
        )
        self.up()

    def _choose_version(self, conversation: Conversation) -> None:
        """Some brokers say that they know no MQTT 5, others just hang up on it."""
        wrong = conversation.ended.result().wrong_version
        if self._protocol == "auto" and (wrong or not conversation.answered):
            self._v5 = not self._v5
            if wrong:
                self._protocol = "5" if self._v5 else "3.1.1"
