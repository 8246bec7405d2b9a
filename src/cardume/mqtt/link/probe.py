"""Knocking at a broker: whether it would let us in, lets us subscribe, and lets us hear.

Some brokers grant every subscription and hand out nothing of what their ACL forbids (mosquitto
2.0), so we say something and listen whether it comes back. Nobody else's message is touched: what
we are given is a copy of our own, for a session that nobody remembers.
"""

from __future__ import annotations

import asyncio
import secrets
import ssl
from typing import Any

from cardume.mqtt.codec.reasons import REFUSED
from cardume.mqtt.link.client import Conversation, LinkOptions
from cardume.mqtt.link.dial import dial
from cardume.mqtt.link.ends import Ended
from cardume.mqtt.link.frames import Message, TooBig
from cardume.mqtt.link.url import BrokerAddress

ANSWER_WITHIN = 5.0
ECHO_WITHIN = 3.0
"""Seconds in which what we say has to come back."""


class _Ears:
    """Listens for our own word and for nothing else."""

    def __init__(self, word: bytes) -> None:
        self.heard: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._word = word

    def on_message(self, message: Message, conversation: Conversation) -> bool:
        if message.payload == self._word and not self.heard.done():
            self.heard.set_result(None)
        if message.packet_id is not None:
            conversation.acknowledge(message.packet_id)
        return True

    def on_too_big(self, message: TooBig) -> None:
        """Nobody's business here."""


class _Deaf:
    """What comes is somebody else's, and nothing is taken of it."""

    def on_message(self, message: Message, conversation: Conversation) -> bool:
        return False

    def on_too_big(self, message: TooBig) -> None:
        """Nobody's business here."""


async def probe(
    address: BrokerAddress,
    tls: ssl.SSLContext | None,
    filters: tuple[str, ...],
    echo: str,
    protocol: str,
) -> str | None:
    """Why there can be no link; None: there can. Under a name of its own, that nobody remembers.

    `echo` is a topic that we publish to and listen to ourselves, and that nobody else does.
    """
    name = f"cardume-doctor-{secrets.token_hex(4)}"
    options = LinkOptions(client_id=name, filters=filters, persistent=False)
    v5 = protocol != "3.1.1"
    why = await _knock(address, tls, options, v5=v5)
    if why is not None and protocol == "auto":
        # A broker of old refuses MQTT 5, or just hangs up on it.
        v5 = False
        if await _knock(address, tls, options, v5=v5) is None:
            why = None
    return why or await _say(address, tls, name, echo, v5=v5)


async def _knock(
    address: BrokerAddress, tls: ssl.SSLContext | None, options: LinkOptions, *, v5: bool
) -> str | None:
    conversation = await _enter(address, tls, options, _Deaf(), v5=v5)
    if isinstance(conversation, Ended):
        return conversation.why
    conversation.leave()
    return None


async def _say(
    address: BrokerAddress, tls: ssl.SSLContext | None, name: str, topic: str, *, v5: bool
) -> str | None:
    """Why we do not hear ourselves. A connection for it alone: there nothing retained is in the
    way, of which a broker drops what is more than its queue."""
    options = LinkOptions(client_id=name, filters=(topic,), persistent=False)
    word = secrets.token_hex(8).encode()
    ears = _Ears(word)
    conversation = await _enter(address, tls, options, ears, v5=v5)
    if isinstance(conversation, Ended):
        return conversation.why
    answer = conversation.publish(topic, word, 1, ECHO_WITHIN)
    either: set[asyncio.Future[Any]] = {ears.heard, conversation.ended}
    await asyncio.wait(either, timeout=ECHO_WITHIN, return_when=asyncio.FIRST_COMPLETED)
    ended = conversation.ended.done()
    conversation.leave()
    if ears.heard.done():
        return None
    how = conversation.ended.result()
    # mosquitto 2.0.11 says no, and hangs up as well.
    if how.hung_up or _is_refused(answer):
        return f"it lets us in, but lets us not publish to {topic}: check the ACL"
    if ended:
        return how.why
    return f"it lets us in, but the hub hears nothing back of {topic}: check the ACL"


def _is_refused(answer: asyncio.Future[int] | None) -> bool:
    if answer is None or answer.cancelled() or not answer.done():
        return False
    return answer.result() >= REFUSED


async def _enter(
    address: BrokerAddress,
    tls: ssl.SSLContext | None,
    options: LinkOptions,
    ears: _Ears | _Deaf,
    *,
    v5: bool,
) -> Conversation | Ended:
    """Come as far as the subscription, or why not."""
    conversation = await dial(address, options, ears, tls, v5=v5)
    if isinstance(conversation, Ended):
        return conversation
    entered = await conversation.enter(ANSWER_WITHIN)
    return conversation if entered else conversation.ended.result()
