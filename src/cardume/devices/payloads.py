"""What devices say of themselves: topics, availability and state; `readings` has the rest.

Bytes in, frozen values out, or `Invalid`. Pure: it asks no clock, logs nothing and knows no
device.

JSON is decoded untyped, once: a typed msgspec decoder would save 0.2 of about 3 µs and need a
second, tolerant path beside it for messages with one bad member.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

import msgspec

from cardume.devices.names import is_device_id, metric_name
from cardume.errors import Invalid
from cardume.wire.json import parse

MAX_BYTES: Final = 65_536
MAX_EXTRA: Final = 32
MAX_EXTRA_BYTES: Final = 2_048
MAX_WORD: Final = 1_024
"""Bytes of a payload that is one word or one number."""


class TopicKind(StrEnum):
    AVAILABILITY = "availability"
    STATE = "state"
    READING = "reading"
    SENSOR = "sensor"
    COMMAND = "command"
    COMMAND_RESULT = "command/result"


class DeviceTopic(msgspec.Struct, frozen=True, gc=False):
    """A topic below a device; `metric` only where the kind is SENSOR."""

    device_id: str
    kind: TopicKind
    metric: str | None = None


class Signal(StrEnum):
    """What an availability topic can say."""

    ONLINE = "online"
    OFFLINE = "offline"
    SLEEPING = "sleeping"


class Availability(msgspec.Struct, frozen=True, gc=False):
    """One availability message.

    `session` is text even when a number was sent: it is compared after a trip through the
    database, and 17 must meet "17" there. `wake_in` is in seconds.
    """

    state: Signal
    session: str | None = None
    wake_in: float | None = None


class DeviceReport(msgspec.Struct, frozen=True, gc=False):
    """A device's own state: what we understood, what we keep, how many members we left out.

    `uptime` and `interval` (between two messages, as promised: 1..86400) are seconds; `extra` has
    at most `MAX_EXTRA` other scalars of `MAX_EXTRA_BYTES` together; `ignored` counts members of
    a wrong type, out of range or beyond the bounds.
    """

    uptime: float | None
    rssi: float | None
    firmware: str | None
    interval: float | None
    extra: Mapping[str, str | int | float | bool]
    ignored: int


_WORDS: Final = {
    "online": Signal.ONLINE,
    "1": Signal.ONLINE,
    "offline": Signal.OFFLINE,
    "0": Signal.OFFLINE,
    "sleeping": Signal.SLEEPING,
    "deepsleep": Signal.SLEEPING,  # Tasmota
    "init": Signal.ONLINE,  # Homie 5 `$state`, as are the next three
    "ready": Signal.ONLINE,
    "disconnected": Signal.OFFLINE,
    "lost": Signal.OFFLINE,
}
_KINDS: Final = {kind.value: kind for kind in TopicKind if kind is not TopicKind.SENSOR}


def parse_topic(prefix: str, topic: str) -> DeviceTopic | None:
    """Read ``{prefix}/{device_id}/…``; None if it is no topic of a device.

    ``sensor/{metric}/state`` is read too: what ESPHome publishes when nobody renamed it.
    """
    start = len(prefix) + 1
    if not topic.startswith(prefix) or topic[start - 1 : start] != "/":
        return None
    device_id, _, rest = topic[start:].partition("/")
    if is_device_id(device_id) is None:
        return None
    kind = _KINDS.get(rest)
    if kind is not None:
        return DeviceTopic(device_id, kind)
    if not rest.startswith("sensor/"):
        return None
    metric = metric_name(rest[7:].removesuffix("/state"))
    return None if metric is None else DeviceTopic(device_id, TopicKind.SENSOR, metric)


def decode_availability(payload: bytes) -> Availability:
    """Read a word in any case, ``1``/``0``, or JSON ``{"state": …, "session": …, "wake_in": …}``.

    Raises:
        Invalid: empty, unknown, or longer than a word could be.
    """
    if len(payload) > MAX_WORD:
        raise Invalid("too_big")
    try:
        word = payload.decode().strip()
    except UnicodeDecodeError:
        raise Invalid("bad_utf8") from None
    said: Any = parse(word) if word[:1] in ('"', "{") else word
    members: dict[str, Any] = said if isinstance(said, dict) else {"state": said}
    said = members.get("state")
    if type(said) is int:
        said = str(said)
    state = _WORDS.get(said.strip().lower()) if isinstance(said, str) else None
    if state is None:
        raise Invalid("unknown_availability")
    wake_in = _number(members.get("wake_in"), 1, 7 * 86_400)
    return Availability(state, _name(members.get("session")), wake_in)


def decode_state(payload: bytes) -> DeviceReport:
    """Read a device's state object; what is wrong in it is left out and counted.

    Raises:
        Invalid: not a JSON object, or one in which nothing is usable.
    """
    sent = json_object(payload)
    known = {
        "uptime": _number(sent.get("uptime"), 0, 1e10),
        "rssi": _number(sent.get("rssi"), -1_000, 1_000),
        "interval": _number(sent.get("interval"), 1, 86_400),
    }
    firmware = _name(sent.get("firmware"))
    extra = _extra({k: v for k, v in sent.items() if k not in known and k != "firmware"})
    usable = sum(value is not None for value in (*known.values(), firmware)) + len(extra)
    if sent and not usable:
        raise Invalid("nothing_usable")
    return DeviceReport(firmware=firmware, extra=extra, ignored=len(sent) - usable, **known)


def json_object(payload: bytes) -> dict[str, Any]:
    """The object that a payload is.

    Raises:
        Invalid: it is none.
    """
    if len(payload) > MAX_BYTES:
        raise Invalid("too_big")
    value = parse(payload)
    if not isinstance(value, dict):
        raise Invalid("not_an_object")
    return value


def _number(value: Any, low: float, high: float) -> float | None:
    if type(value) is int or type(value) is float:
        return float(value) if low <= value <= high else None
    return None


def _name(value: Any) -> str | None:
    text = str(value) if type(value) is int else value
    fits = isinstance(text, str) and 0 < len(text) <= 64 and text.isprintable()
    return text if fits else None


def _extra(members: dict[str, Any]) -> dict[str, str | int | float | bool]:
    kept: dict[str, str | int | float | bool] = {}
    room = MAX_EXTRA_BYTES
    for name, value in members.items():
        if not isinstance(value, str | int | float) or not 0 < len(name) <= 64:
            continue
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            continue
        text = f"{name}{value}"
        cost = len(text.encode())
        if len(kept) < MAX_EXTRA and cost <= room and text.isprintable():
            kept[name] = value
            room -= cost
    return kept
