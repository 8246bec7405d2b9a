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
    max_handshakes: int = 2_000
    """TLS clients whose handshake is under way: they come on top, and each may take 10 s."""
    max_payload: int = 64 * 1024
    max_connect: int = 16 * 1024
    """The CONNECT packet, will and password included: it comes from strangers."""
    max_client_id: int = 128
    """Characters."""
    outbound: int = _MIB
    """Unsent per connection, the transport's buffer included."""
    window: int = 20
    """QoS 1 and 2 messages per client that are sent and not yet acknowledged; fewer if it asks."""
    receive_maximum: int = 256
    """The same the other way, told to MQTT 5 clients."""
    max_received: int = 10_000
    """QoS 2 messages of one session without their PUBREL; a 3.1.1 client cannot be told a bound."""
    topic_aliases: int = 16
    alias_bytes: int = 4096
    """Topics that one connection may have us remember under a number, all together."""
    max_keepalive: int = 3600
    """MQTT 5 clients that promise less often, or never, to speak are told to speak this often."""
    max_subscriptions: int = 100
    """Per session."""
    session_messages: int = 1000
    session_bytes: int = _MIB
    """Messages waiting for one client, connected or not: of QoS 1 and 2, and while it reads slowly
    also of QoS 0."""
    all_sessions_bytes: int = 64 * _MIB
    session_expiry: int = 7 * 86_400
    """The longest a session waits for its client."""
    max_group: int = 100
    """Members of one shared subscription."""
    max_parked: int = 10_000
    """Persistent sessions whose client is away; beyond it the one longest away is forgotten."""
    retained_messages: int = 10_000
    retained_bytes: int = 16 * _MIB

    @property
    def max_packet(self) -> int:
        """The payload and room for a reasonable topic."""
        return self.max_payload + 4096
