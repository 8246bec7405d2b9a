"""The control packets of MQTT 3.1.1 and 5.0 (OASIS): values. Their bytes are `encoder`'s matter.

Section numbers are those of 5.0. In 3.1.1 reasons are 0 and properties `NONE`.
"""

from __future__ import annotations

from typing import Final

import msgspec

from cardume.mqtt.codec.properties import NONE, Properties, weight_of

LEVEL: Final = 4
"""§3.1.2.2 of 3.1.1: its protocol level."""
LEVEL_5: Final = 5

# §3.8.3.1: a subscription's options, beside the QoS in the lowest two bits.
NO_LOCAL: Final = 4
AS_PUBLISHED: Final = 8
RETAIN_HANDLING: Final = 0x30


class Will(msgspec.Struct, frozen=True, gc=False):
    """What to publish when the client is lost."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    properties: Properties = NONE

    @property
    def weight(self) -> int:
        """Bytes it is counted as while its delay runs."""
        return len(self.topic) + len(self.payload) + weight_of(self.properties)


class Connect(msgspec.Struct, frozen=True, gc=False):
    """§3.1. Of a protocol level we do not speak only `level` is known.

    `clean` is Clean Session in 3.1.1, Clean Start in 5.0.
    """

    client_id: str
    clean: bool = True
    keepalive: int = 0
    username: str | None = None
    password: bytes | None = None
    will: Will | None = None
    level: int = LEVEL
    properties: Properties = NONE

    def __repr__(self) -> str:
        return f"Connect({self.client_id!r}, level={self.level})"  # never the password


class Connack(msgspec.Struct, frozen=True, gc=False):
    """§3.2"""

    code: int
    session_present: bool = False
    properties: Properties = NONE


class Publish(msgspec.Struct, frozen=True, gc=False):
    """§3.3. `packet_id` is 0 at QoS 0; `topic` is empty where an alias stands for it."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    dup: bool = False
    packet_id: int = 0
    properties: Properties = NONE


class Puback(msgspec.Struct, frozen=True, gc=False):
    """§3.4"""

    packet_id: int
    reason: int = 0
    properties: Properties = NONE


class Pubrec(msgspec.Struct, frozen=True, gc=False):
    """§3.5: QoS 2, first answer."""

    packet_id: int
    reason: int = 0
    properties: Properties = NONE


class Pubrel(msgspec.Struct, frozen=True, gc=False):
    """§3.6: QoS 2, the sender lets go."""

    packet_id: int
    reason: int = 0
    properties: Properties = NONE


class Pubcomp(msgspec.Struct, frozen=True, gc=False):
    """§3.7: QoS 2, the end."""

    packet_id: int
    reason: int = 0
    properties: Properties = NONE


class Subscribe(msgspec.Struct, frozen=True, gc=False):
    """§3.8. Filters with the options asked for: in 3.1.1 a QoS, in 5.0 the byte of §3.8.3.1."""

    packet_id: int
    filters: tuple[tuple[str, int], ...]
    properties: Properties = NONE


class Suback(msgspec.Struct, frozen=True, gc=False):
    """§3.9"""

    packet_id: int
    codes: tuple[int, ...]
    properties: Properties = NONE


class Unsubscribe(msgspec.Struct, frozen=True, gc=False):
    """§3.10"""

    packet_id: int
    filters: tuple[str, ...]
    properties: Properties = NONE


class Unsuback(msgspec.Struct, frozen=True, gc=False):
    """§3.11. 3.1.1 has no codes here."""

    packet_id: int
    codes: tuple[int, ...] = ()
    properties: Properties = NONE


class Pingreq(msgspec.Struct, frozen=True, gc=False):
    """§3.12"""


class Pingresp(msgspec.Struct, frozen=True, gc=False):
    """§3.13"""


class Disconnect(msgspec.Struct, frozen=True, gc=False):
    """§3.14"""

    reason: int = 0
    properties: Properties = NONE


class Auth(msgspec.Struct, frozen=True, gc=False):
    """§3.15, only in 5.0."""

    reason: int = 0
    properties: Properties = NONE


Packet = (
    Connect | Connack | Publish | Puback | Pubrec | Pubrel | Pubcomp | Subscribe | Suback
    | Unsubscribe | Unsuback | Pingreq | Pingresp | Disconnect | Auth
)  # fmt: skip
