"""True numbers: plain integers, counted where the thing happens."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class HubStats:
    """Since the hub was made; `active_connections` is now."""

    active_connections: int = 0
    total_connections: int = 0
    total_disconnections: int = 0
    messages_sent: int = 0
    """Messages handed to a transport; not those still queued, not pings."""
    messages_received: int = 0
    publications: int = 0
    superseded_or_dropped: int = 0
    closes: Counter[int] = field(default_factory=Counter)
    """Closes that we began, by code."""
