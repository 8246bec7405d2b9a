"""What an agent may do in which status. Pure."""

from __future__ import annotations

from typing import Final

from cardume.documents.transitions import Transitions

ACTIVE: Final = "active"
PAUSED: Final = "paused"
INACTIVE: Final = "inactive"
"""Its lease lapsed: nobody decided it, and its next heartbeat ends it."""
STOPPED: Final = "stopped"

AGENT = Transitions(
    "agent",
    {
        "start": {STOPPED: ACTIVE, INACTIVE: ACTIVE},
        "pause": {ACTIVE: PAUSED},
        "resume": {PAUSED: ACTIVE},
        "stop": {ACTIVE: STOPPED, PAUSED: STOPPED, INACTIVE: STOPPED},
        "restart": {ACTIVE: ACTIVE, PAUSED: ACTIVE, INACTIVE: ACTIVE, STOPPED: ACTIVE},
        "heartbeat": {ACTIVE: ACTIVE, PAUSED: PAUSED, INACTIVE: ACTIVE},
    },
)
"""What people and agents do. That a lease lapses is no move of theirs: `LEASED` to inactive."""

LEASED: Final = frozenset({ACTIVE, PAUSED})
"""In these an agent that ever sent a heartbeat has to go on sending them."""

GIVES_BACK: Final = frozenset({INACTIVE, STOPPED})
"""Whoever comes into one of these has no tasks any more."""
