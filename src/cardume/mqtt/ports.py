"""What the listener is handed: who judges logins and rights, and who takes the messages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from typing import Protocol

import msgspec


class Login(msgspec.Struct, frozen=True):
    """Who a CONNECT claims to be."""

    client_id: str
    username: str | None
    password: bytes | None
    peer: str
    """Address and port of the other end."""

    def __repr__(self) -> str:
        return f"Login({self.client_id!r}, {self.username!r}, peer={self.peer!r})"


class Principal(Protocol):
    """A client that was let in, and what it may do. Asked for every message: answer at once."""

    @property
    def name(self) -> str:
        """Who it is: sessions belong to this name, and to nobody else's."""

    def may_publish(self, topic: str) -> bool: ...

    def may_subscribe(self, topic_filter: str) -> bool:
        """Of a shared subscription (``$share/group/filter``) the whole and its filter are asked."""


class Gatekeeper(Protocol):
    """Decides who comes in."""

    async def authenticate(self, login: Login) -> Principal | None:
        """The principal behind `login`, or None.

        Raises:
            Unavailable: it cannot be told now; the client is asked to come back (CONNACK 3).
        """


class Inbound(msgspec.Struct, frozen=True, gc=False):
    """One message on its way to the handler."""

    topic: str
    payload: bytes
    qos: int
    dup: bool
    replay: bool
    """Whether a broker handed it out as retained. A client's own publish is always live."""
    session: str
    """An injective name of (user, client id)."""
    packet_id: int | None
    """None at QoS 0 and for wills."""
    principal: str
    received_at: float
    """Wall-clock seconds since the Unix epoch."""
    will: bool = False


Handler = Callable[[Sequence[Inbound]], Awaitable[None]]
"""Keeps a batch, whole or not at all; returning means it may be acknowledged.

Raises `Unavailable` to be asked again with the same batch. After anything else each message is
tried alone once, and refused for good if it fails again.
"""


class Delivery(StrEnum):
    """How far a message to a device has come."""

    NO_SESSION = "no_session"
    """The device is not connected, or has not subscribed: nothing was kept."""
    QUEUED = "queued"
    """Kept in the memory of this process for a device that is away or busy."""
    SENT = "sent"
    """Written to its connection. At QoS 0 there is nothing more to know."""
    ACKNOWLEDGED = "acknowledged"
    """The device's MQTT client has it."""
    REJECTED = "rejected"
    """The device's MQTT 5 client answered that it will not take it."""
    EXPIRED = "expired"
    DROPPED = "dropped"
    """Its queue was full, or its session ended."""

    @property
    def final(self) -> bool:
        """Whether this is the end of it."""
        return self in _FINAL


_FINAL = frozenset({Delivery.ACKNOWLEDGED, Delivery.REJECTED, Delivery.EXPIRED, Delivery.DROPPED})


class Downlink(Protocol):
    """The way from the hub to a device, whoever carries it."""

    async def publish_to(
        self,
        user: str,
        topic: str,
        payload: bytes,
        *,
        qos: int = 1,
        expiry: float | None = None,
        patience: float = 5.0,
    ) -> Delivery:
        """Publish `payload` on `topic`, and tell how far it came to `user` (a device's id).

        Returns at the end of its way, or after `patience` seconds with what is known then: a
        message that is `QUEUED` or `SENT` stays under way. After `expiry` seconds it is not
        delivered any more.

        Raises:
            Invalid: no topic, a QoS above 2, or a payload over the limit.
        """


def session_name(user: str, client_id: str) -> str:
    """``user/client_id`` with the user's slashes escaped, so that no two pairs share a name."""
    return f"{user.replace('%', '%25').replace('/', '%2F')}/{client_id}"
