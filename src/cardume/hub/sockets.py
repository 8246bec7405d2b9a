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

from typing import Final

try:
    from cardume.hub import _sockets
except ImportError:  # no compiler where it was installed, or Windows
    COMPILED = False
else:
    COMPILED = True
    send_each = _sockets.send_each

NO_FILENO: Final = -1
