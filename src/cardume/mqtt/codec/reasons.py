"""Why: the reason codes of MQTT 5.0 (§2.4), and which of them says what our own words say."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Final


class Reason(IntEnum):
    """Those that are sent or understood here."""

    SUCCESS = 0x00
    WITH_WILL = 0x04
    NO_SUBSCRIBERS = 0x10
    NO_SUBSCRIPTION_EXISTED = 0x11
    UNSPECIFIED = 0x80
    MALFORMED = 0x81
    PROTOCOL_ERROR = 0x82
    NOT_ACCEPTED = 0x83
    UNSUPPORTED_VERSION = 0x84
    BAD_CLIENT_ID = 0x85
    BAD_CREDENTIALS = 0x86
    NOT_AUTHORIZED = 0x87
    UNAVAILABLE = 0x88
    SHUTTING_DOWN = 0x8B
    BAD_AUTHENTICATION = 0x8C
    KEEP_ALIVE = 0x8D
    TAKEN_OVER = 0x8E
    BAD_FILTER = 0x8F
    UNKNOWN_PACKET_ID = 0x92
    RECEIVE_MAXIMUM = 0x93
    BAD_ALIAS = 0x94
    TOO_LARGE = 0x95
    QUOTA = 0x97
    BY_US = 0x98


REFUSED: Final = 0x80
"""Codes from here on say no. In 3.1.1 the one SUBACK code of a filter that was not granted."""

OF_END: Final[Mapping[str, Reason]] = {
    "alias_quota": Reason.QUOTA,
    "bad_alias": Reason.BAD_ALIAS,
    "disconnected_by_us": Reason.BY_US,
    "internal_error": Reason.UNSPECIFIED,
    "keepalive": Reason.KEEP_ALIVE,
    "malformed_packet": Reason.MALFORMED,
    "packet_too_large": Reason.TOO_LARGE,
    "payload_too_large": Reason.TOO_LARGE,
    "poisoned": Reason.NOT_ACCEPTED,
    "protocol_error": Reason.PROTOCOL_ERROR,
    "receive_maximum": Reason.RECEIVE_MAXIMUM,
    "second_connect": Reason.PROTOCOL_ERROR,
    "stopping": Reason.SHUTTING_DOWN,
    "takeover": Reason.TAKEN_OVER,
    "too_many_properties": Reason.QUOTA,
    "unexpected_packet": Reason.PROTOCOL_ERROR,
}
"""What DISCONNECT says when a connection ends for this reason. Others end without one."""
