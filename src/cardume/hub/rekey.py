"""Connections whose token was signed by a key that its issuer has withdrawn: sent away with 3500.

The verifier is asked about keys, of which there are a few, and not about tokens.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from cardume.auth.keys import Key
from cardume.hub.connection import Connection
from cardume.wire import codes

if TYPE_CHECKING:
    from cardume.hub.hub import Hub

EVERY = 30.0
"""Seconds between two rounds. An issuer is asked no more often than its verifier thinks fit."""

_BREATH = 100
"""Connections closed between two turns of the loop."""


@runtime_checkable
class KeyWatcher(Protocol):
    """A verifier whose keys can be withdrawn."""

    async def withdrawn(self, keys: Collection[Key]) -> frozenset[Key]:
        """Those of `keys` that must not vouch for anybody any more."""


async def check_keys(hub: Hub) -> None:
    """Close the connections whose key is withdrawn, but for those that got a new token by then."""
    verifier = hub.auth
    if not isinstance(verifier, KeyWatcher):
        return
    gone = await verifier.withdrawn(_by_key(hub).keys())
    if not gone:
        return
    leaving = [each for key, held in _by_key(hub).items() if key in gone for each in held]
    for number, connection in enumerate(leaving, 1):
        if number % _BREATH == 0:
            await asyncio.sleep(0)
        if connection.identity.vouched_by in gone and not connection.closing:
            hub.rejects.note("key_withdrawn", connection.id)
            connection.close(codes.INVALID_TOKEN)


def _by_key(hub: Hub) -> dict[Key, list[Connection]]:
    held: defaultdict[Key, list[Connection]] = defaultdict(list)
    for connection in hub.connections():
        key = connection.identity.vouched_by
        if isinstance(key, Key):
            held[key].append(connection)
    return held
