"""Many sockets at once: what a publication costs beyond the kernel's share is spent here.

`_sockets.c` says the same bytes to a whole audience in one call, for 17 to 20 % less than a call
of each transport's `write`. Without it, where nothing compiled it, those calls it is.
"""

from __future__ import annotations

import asyncio
from typing import Final

try:
    from cardume.hub import _sockets
except ImportError:  # no compiler where it was installed, or Windows
    COMPILED = False
else:
    COMPILED = True
    send_each = _sockets.send_each

NONE: Final = -1
"""No socket's number."""

_LOOPS = ("uvloop.loop", "asyncio.selector_events")
"""Whose transports keep a socket open until `connection_lost` has returned. With another loop a
number could be somebody else's by then."""


def number_of(transport: asyncio.Transport) -> int:
    """The socket's behind `transport`, if all it does with bytes is to hand them to the kernel.

    `NONE` otherwise. It may be written to directly as long as nothing waits in the transport.
    """
    if not COMPILED or type(transport).__module__ not in _LOOPS:
        return NONE
    if transport.get_extra_info("sslcontext") is not None:
        return NONE
    socket = transport.get_extra_info("socket")
    number: int = NONE if socket is None else socket.fileno()
    return number
