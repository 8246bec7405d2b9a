"""paho-mqtt without its socket.

Its own connects, resolves and shakes hands for TLS while the whole loop waits, and reads a message
in four system calls. So it is given a `Wire` for one, and asyncio moves the bytes, the same way
with TLS and without.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from cardume.mqtt.link.frames import MAX_MESSAGE
from cardume.mqtt.link.url import BrokerAddress

try:
    from paho.mqtt.client import Client
    from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode as Reason
except ImportError as error:  # `pip install cardume` alone
    raise ImportError("a link to a broker needs paho-mqtt: pip install 'cardume[mqtt]'") from error

__all__ = ["RECEIVE_MAXIMUM", "Paho", "Reason", "Wire"]

RECEIVE_MAXIMUM: Final = 1024
"""Messages that a broker may have under way to us (MQTT 5). Less than the intake takes, so QoS 1
alone never makes us stop reading; two batches of it, so the broker never waits for a commit."""
SESSION_EXPIRY: Final = 7 * 86_400
"""Seconds that a broker keeps what we missed (MQTT 5; with 3.1.1 it is the broker's to say)."""


class Wire:
    """A socket as paho sees it: whole packets to read, and a write that never blocks."""

    def __init__(self, transport: asyncio.WriteTransport) -> None:
        self._transport = transport
        self._in = bytearray()
        self._out = bytearray()
        self.congested = False
        self.closed = False

    def put(self, packet: bytes) -> None:
        self._in += packet

    def flush(self) -> None:
        if self._out:
            self._transport.write(bytes(self._out))
            self._out.clear()

    # -- what paho calls --------------------------------------------------------------------

    def recv(self, size: int) -> bytes:
        if not self._in:
            raise BlockingIOError
        taken = bytes(self._in[:size])
        del self._in[:size]
        return taken

    def send(self, data: bytes) -> int:
        if self.congested:
            raise BlockingIOError
        self._out += data
        return len(data)

    def close(self) -> None:
        self.flush()
        self.closed = True
        self._transport.close()

    def fileno(self) -> int:
        return -1

    def setblocking(self, flag: bool) -> None:
        """It never blocks."""


class Paho(Client):
    """paho's client on a `Wire`. `_create_socket` is its own seam between TCP, TLS and WebSocket;
    a test says so if a later version moves it."""

    def __init__(self, wire: Wire, client_id: str, *, v5: bool, persistent: bool) -> None:
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            clean_session=None if v5 else not persistent,
            protocol=MQTTProtocolVersion.MQTTv5 if v5 else MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,  # it would reconnect by itself, and block meanwhile
            manual_ack=True,
        )
        self._wire = wire
        self._v5 = v5
        self._persistent = persistent

    def greet(self, address: BrokerAddress, keepalive: int) -> None:
        """Say CONNECT."""
        if address.username is not None:
            self.username_pw_set(address.username, address.password)
        if not self._v5:
            self.connect(address.host, address.port, keepalive)
            return
        wishes = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        wishes.ReceiveMaximum = RECEIVE_MAXIMUM
        wishes.MaximumPacketSize = MAX_MESSAGE
        if self._persistent:
            wishes.SessionExpiryInterval = SESSION_EXPIRY
        fresh = not self._persistent
        self.connect(address.host, address.port, keepalive, clean_start=fresh, properties=wishes)

    def send(self, topic: str, payload: bytes, qos: int, expiry: float | None) -> int | None:
        """Publish; its packet id, or None if that cannot be now."""
        wishes = None
        if self._v5 and expiry is not None:
            wishes = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            wishes.MessageExpiryInterval = max(1, round(expiry))
        sent = self.publish(topic, payload, qos, properties=wishes)
        return sent.mid if sent.rc == MQTTErrorCode.MQTT_ERR_SUCCESS else None

    def _create_socket(self) -> Any:
        return self._wire
