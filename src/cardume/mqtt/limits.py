"""Every bound of the listener in one place."""

from __future__ import annotations

from dataclasses import dataclass

_MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Sizes in bytes, times in seconds. What exceeds one is refused or dropped, and counted."""

    connect_timeout: float = 10.0
    """From accept to CONNACK."""
    stall_timeout: float = 10.0
    """How long a client may leave its full outbound buffer unread before it is cut."""
    linger: float = 5.0
    """How long the last bytes of a closed connection may take to leave."""
    max_connections: int = 10_000
    max_payload: int = 64 * 1024
    max_connect: int = 16 * 1024
    """The CONNECT packet, will and password included: it comes from strangers."""
    max_client_id: int = 128
    """Characters."""
    outbound: int = _MIB
    """Unsent per connection, the transport's buffer included."""
    window: int = 20
    """QoS 1 messages per client that are sent and not yet acknowledged."""
    max_subscriptions: int = 100
    """Per session."""
    session_messages: int = 1000
    session_bytes: int = _MIB
    """QoS 1 messages waiting for one client, connected or not."""
    all_sessions_bytes: int = 64 * _MIB
    max_parked: int = 10_000
    """Persistent sessions whose client is away; beyond it the one longest away is forgotten."""
    retained_messages: int = 10_000
    retained_bytes: int = 16 * _MIB

    @property
    def max_packet(self) -> int:
        """The payload and room for a reasonable topic."""
        return self.max_payload + 4096
