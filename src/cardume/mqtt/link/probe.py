"""Knocking at a broker: whether it would let us in and lets us subscribe. Takes no message."""

from __future__ import annotations

import asyncio
import secrets
import ssl
from typing import Any

from cardume.mqtt.link.client import Conversation, LinkOptions
from cardume.mqtt.link.dial import dial
from cardume.mqtt.link.ends import Ended
from cardume.mqtt.link.frames import Message, TooBig
from cardume.mqtt.link.url import BrokerAddress

ANSWER_WITHIN = 5.0


class _Ears:
    """What comes is somebody else's, and stays with the broker."""

    def on_message(self, message: Message, conversation: Conversation) -> bool:
        return False

    def on_too_big(self, message: TooBig) -> None:
        """Nobody's business here."""


async def probe(
    address: BrokerAddress, tls: ssl.SSLContext | None, filters: tuple[str, ...], protocol: str
) -> str | None:
    """Why there can be no link; None: there can. Under a name of its own, that nobody remembers."""
    name = f"cardume-doctor-{secrets.token_hex(4)}"
    options = LinkOptions(client_id=name, filters=filters, persistent=False)
    first = await _knock(address, tls, options, v5=protocol != "3.1.1")
    if first is None or protocol != "auto":
        return first
    # A broker of old refuses MQTT 5, or just hangs up on it.
    return None if await _knock(address, tls, options, v5=False) is None else first


async def _knock(
    address: BrokerAddress, tls: ssl.SSLContext | None, options: LinkOptions, *, v5: bool
) -> str | None:
    conversation = await dial(address, options, _Ears(), tls, v5=v5)
    if isinstance(conversation, Ended):
        return conversation.why
    either: set[asyncio.Future[Any]] = {conversation.subscribed, conversation.ended}
    await asyncio.wait(either, timeout=ANSWER_WITHIN, return_when=asyncio.FIRST_COMPLETED)
    if conversation.subscribed.done():
        conversation.leave()
        return None
    conversation.end(Ended("the broker took our connection and did not answer"))
    return conversation.ended.result().why
