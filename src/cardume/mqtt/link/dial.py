"""Reaching a broker: name, TCP, TLS and CONNECT, with an end to the waiting."""

from __future__ import annotations

import asyncio
import ssl

from cardume.mqtt.link.client import ANSWER_WITHIN, Conversation, LinkOptions, Listening
from cardume.mqtt.link.ends import Ended, failure
from cardume.mqtt.link.url import BrokerAddress


async def dial(
    address: BrokerAddress,
    options: LinkOptions,
    listening: Listening,
    tls: ssl.SSLContext | None,
    *,
    v5: bool,
) -> Conversation | Ended:
    """Reach a broker and say CONNECT; or why that could not be."""
    try:
        async with asyncio.timeout(ANSWER_WITHIN):
            _, conversation = await asyncio.get_running_loop().create_connection(
                lambda: Conversation(address, options, listening, v5=v5),
                address.host,
                address.port,
                ssl=tls,
                server_hostname=address.host if tls else None,
            )
    except TimeoutError:
        return Ended(f"nobody answers within {ANSWER_WITHIN:g} s")
    except UnicodeError:  # from the encoding of international names
        return Ended("its host is no name")
    except OSError as error:
        return Ended(failure(error))
    return conversation
