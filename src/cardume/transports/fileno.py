"""Which transports may be passed by: `cardume.hub.sockets` says what has to hold."""

from __future__ import annotations

import asyncio

from cardume.hub.sockets import COMPILED, NO_FILENO

_LOOPS = ("uvloop.loop", "asyncio.selector_events")
"""Whose transports close a socket only after `connection_lost` has returned."""


def fileno_of(transport: asyncio.Transport) -> int:
    """The file descriptor under `transport`, if all it does with bytes is to hand them to that.

    `NO_FILENO` otherwise: TLS, or a loop of which we do not know when it closes a socket.
    """
    if not COMPILED or type(transport).__module__ not in _LOOPS:
        return NO_FILENO
    if transport.get_extra_info("sslcontext") is not None:
        return NO_FILENO
    socket = transport.get_extra_info("socket")
    fileno: int = NO_FILENO if socket is None else socket.fileno()
    return fileno
