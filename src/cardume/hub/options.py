"""What can be set on a hub; every default is the safe one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cardume.auth.identity import Identity
from cardume.hub.namespaces import ChannelOptions
from cardume.hub.outbox import DEFAULT_LIMIT

Scope = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class HubOptions:
    """Limits and doors of one hub. Sizes in bytes, times in seconds."""

    outbox_limit: int = DEFAULT_LIMIT
    max_message: int = 64 * 1024
    messages_per_minute: float = 60
    """Per connection; a bucket with as large a burst. 0: no limit."""
    commands_per_frame: int = 256
    """In dialects that put several into one."""
    channels_per_connection: int = 128
    max_connections: int | None = None
    connections_per_user: int | None = None
    """By the identity's `sub`, whatever the dialect. None: no limit."""
    connections_per_address: int | None = None
    """By the peer's address as the server says it: behind a proxy that is the proxy's, unless
    the server was told to trust it. None: no limit."""
    handshakes_per_second: float = 2000
    handshakes_at_once: int = 10_000
    """Beyond the rate, after a time without any: an audience that comes back is no attack."""
    idle_timeout: float = 300
    """Of a connection that holds no channel and says nothing, where we see its pongs. 0: none."""
    replay_limit: int = 300
    """Publications in one replay, and in one answer of history."""
    allowed_origins: tuple[str, ...] = ()
    """Exact origins, or ``*``; none: the origin has to be the host that was asked."""
    undeclared: ChannelOptions | None = None
    """Options of channels that nobody declared. None: publishing to one is an error."""
    anonymous: Callable[[Scope], Identity | None] | None = None
    """Who comes without a token, by the ASGI scope. The demo lets its own machine in."""
