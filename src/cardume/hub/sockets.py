"""Many sockets at once: what a publication costs beyond the kernel's share is spent here.

`_sockets.c` sends the same bytes to a whole audience in one call, for 17 to 20 % less than a call
of each transport's `write`. Without it, where nothing compiled it, those calls it is.

It goes past the transports, so this has to hold: a file descriptor is in a group's list only while
its transport is open and buffers nothing. `Connection.write` says so, with limits of 0 for the
transport's buffer: `pause_writing` (`stall`) and a goodbye (`close`) take it off every group at
once, and `connection_lost` before it does anything else, for the number may be somebody else's as
soon as that has returned.
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

NO_FILENO: Final = -1

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
