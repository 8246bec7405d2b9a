"""What devices say: topics and payloads in, values out.

Bytes in, frozen values out, or `Invalid`. Pure: it asks no clock, logs nothing and knows no
device. DS18B20's error values -127 and 85.0 pass as they are: 85.0 is a legal temperature (and
the sensor's own power-on value), so only a rule of the owner can tell an error from a hot pump.

JSON is decoded untyped, once: a typed msgspec decoder would save 0.2 of about 3 µs and need a
second, tolerant path beside it for messages with one bad member.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

import msgspec

from cardume.devices.names import is_device_id, is_metric
from cardume.errors import Invalid
from cardume.wire.json import parse

MAX_BYTES: Final = 65_536
MAX_READINGS: Final = 256
MAX_EXTRA: Final = 32
MAX_EXTRA_BYTES: Final = 2_048
BACKFILL_MAX: Final = 30 * 86_400.0
"""Seconds a device's timestamp may lie in the past."""
AHEAD_MAX: Final = 300.0
"""Seconds a device's timestamp may lie in the future."""

_CLOCK_UNSET = 1_577_836_800.0  # 2020-01-01: older than this firmware could be, so never set
_CLOCK_WILD = 86_400.0
_MILLISECONDS = 1e11  # as seconds that is the year 5138
_WORD_BYTES = 1_024

_date_time = re.compile(r"\d{4}-?\d\d-?\d\d[T ]\d\d:?\d\d.*", re.ASCII).fullmatch


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


class RawReading(msgspec.Struct, frozen=True, gc=False):
    """One measured value, as sent."""

    metric: str
    value: float
    unit: str | None = None
    sensor: str | None = None
    id: str | None = None
    ts: float | None = None
    """Epoch seconds; None when not sent, or sent and unreadable."""
    ts_raw: str | None = None
    """Canonical text of what was sent, or None."""


class DecodedReadings(msgspec.Struct, frozen=True, gc=False):
    """The good readings of a message, and one reason for each that was not."""

    readings: tuple[RawReading, ...]
    rejected: tuple[str, ...] = ()


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
_NOT_METRICS: Final = frozenset(
    ("ts", "id", "sensor", "unit", "seq", "time", "metric", "value", "readings")
)


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
    metric = _metric_name(rest[7:].removesuffix("/state"))
    return None if metric is None else DeviceTopic(device_id, TopicKind.SENSOR, metric)


def decode_availability(payload: bytes) -> Availability:
    """Read a word in any case, ``1``/``0``, or JSON ``{"state": …, "session": …, "wake_in": …}``.

    Raises:
        Invalid: empty, unknown, or longer than a word could be.
    """
    if len(payload) > _WORD_BYTES:
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
    sent = _object(payload)
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


def decode_readings(payload: bytes, *, metric: str | None = None) -> DecodedReadings:
    """Read one reading, ``{"readings": […]}``, or flat ``{"temperature": 25.3, "ph": 7.1}``.

    With `metric` (from the topic) the payload is the bare number. In a list, `unit`, `sensor` and
    `ts` of the message hold for items without their own; an `id` of the message becomes
    ``id/metric`` for each reading (``id/metric/n`` for the n-th of one metric).

    Raises:
        Invalid: no reading could be used; the message is the reason.
    """
    if metric is not None:
        if len(payload) > _WORD_BYTES:
            raise Invalid("too_big")
        return DecodedReadings((RawReading(_checked(metric), _value(parse(payload))),))
    message = _object(payload)
    if "readings" in message:
        items = message["readings"]
        if not isinstance(items, list):
            raise Invalid("bad_readings")
        dicts = [item if isinstance(item, dict) else {} for item in items]
        return _collect(message, [(d.get("metric"), d.get("value"), d) for d in dicts])
    if "metric" in message:
        metric, value = _checked(message["metric"]), _value(message.get("value"))
        return DecodedReadings((RawReading(metric, value, *_details(message, _NO_DETAILS)),))
    named = message.items()
    return _collect(message, [(k, v, {}) for k, v in named if _metric_name(k) not in _NOT_METRICS])


def reading_time(raw: RawReading, received_at: float) -> tuple[float, bool]:
    """When it was measured (epoch seconds), and whether the device's clock could not be used.

    A device's time holds within [-30 d, +5 min] of our receive time; else ours does.
    """
    if raw.ts_raw is None:
        return received_at, False
    if raw.ts is None or not -BACKFILL_MAX <= raw.ts - received_at <= AHEAD_MAX:
        return received_at, True
    return raw.ts, False


def identity_of(raw: RawReading, received_at: float) -> str | None:
    """Under which name this device's reading is stored once; at most 256 characters.

    None when neither id nor ts was sent: the caller has the MQTT session for that. A clock that
    was never set (before 2020), runs a day ahead or cannot be read may be stuck, so there the
    value is part of the name and different values under one ts all count; the same value again
    counts once. The bounds are wider than those of `reading_time` because a redelivery comes
    later and must find the same name: a clock six minutes ahead is implausible now and fine soon.
    """
    if raw.id is not None:
        return f"i:{raw.id}"
    if raw.ts_raw is None:
        return None
    # Injective: a metric has no slash, the ts says its length, the sensor is the rest.
    name = f"{raw.metric}/{len(raw.ts_raw)}:{raw.ts_raw}/{raw.sensor or ''}"
    stuck = raw.ts is None or not _CLOCK_UNSET <= raw.ts <= received_at + _CLOCK_WILD
    return f"t:{raw.value!r}/{name}" if stuck else f"t:{name}"


_Details = tuple[str | None, str | None, str | None, float | None, str | None]
"""The members of `RawReading` that follow its value."""
_NO_DETAILS: Final[_Details] = (None, None, None, None, None)
_Entry = tuple[Any, Any, dict[str, Any]]
"""Metric, value, and the object whose details go before the message's."""


def _object(payload: bytes) -> dict[str, Any]:
    if len(payload) > MAX_BYTES:
        raise Invalid("too_big")
    value = parse(payload)
    if not isinstance(value, dict):
        raise Invalid("not_an_object")
    return value


def _collect(message: dict[str, Any], entries: list[_Entry]) -> DecodedReadings:
    if len(entries) > MAX_READINGS:
        raise Invalid("too_many_readings")
    outer = _details(message, _NO_DETAILS)
    outer_id = outer[2]
    readings: list[RawReading] = []
    rejected: list[str] = []
    seen: dict[str, int] = {}
    for metric, value, own in entries:
        try:
            reading = RawReading(_checked(metric), _value(value), *_details(own, outer))
        except Invalid as reason:
            rejected.append(str(reason))
            continue
        if outer_id is not None and reading.id is None:
            nth = seen[reading.metric] = seen.get(reading.metric, 0) + 1
            name = f"{outer_id}/{reading.metric}" + (f"/{nth}" if nth > 1 else "")
            reading = msgspec.structs.replace(reading, id=name)
        readings.append(reading)
    if not readings:
        raise Invalid(rejected[0] if rejected else "no_readings")
    return DecodedReadings(tuple(readings), tuple(rejected))


def _details(sent: dict[str, Any], outer: _Details) -> _Details:
    get = sent.get
    own_id = get("id")
    if type(own_id) is int:
        own_id = str(own_id)
    ts, ts_raw = _timestamp(get("ts"))
    if ts_raw is None:
        ts, ts_raw = outer[3:]
    unit = _text(get("unit"), 16, "bad_unit") or outer[0]
    sensor = _text(get("sensor"), 64, "bad_sensor") or outer[1]
    return unit, sensor, _text(own_id, 128, "bad_id"), ts, ts_raw


def _checked(metric: Any) -> str:
    name = _metric_name(metric) if isinstance(metric, str) else None
    if name is None:
        raise Invalid("bad_metric")
    return name


def _metric_name(name: str) -> str | None:
    if is_metric(name) is not None:
        return name
    name = name.strip().lower().replace(" ", "_")
    return name if is_metric(name) is not None else None


def _value(value: Any) -> float:
    if type(value) is float:
        return value
    if type(value) is not int:  # bool, null, and "25.3": a string is not a measurement
        raise Invalid("bad_value")
    try:
        return float(value)
    except OverflowError:
        raise Invalid("bad_value") from None


def _text(value: Any, limit: int, reason: str) -> str | None:
    if value is None or value == "":
        return None
    # Not printable includes NUL, which PostgreSQL refuses: a message that could never be stored.
    if not isinstance(value, str) or len(value) > limit or not value.isprintable():
        raise Invalid(reason)
    return value


def _timestamp(sent: Any) -> tuple[float | None, str | None]:
    """Epoch seconds if readable, and the canonical text of what was sent.

    ISO 8601 without a zone is taken as UTC: that is what `datetime.utcnow().isoformat()` and most
    firmware mean. A device that sends its local time must send the offset with it.
    """
    if sent is None:
        return None, None
    if type(sent) is int or type(sent) is float:
        try:
            seconds = float(sent)
        except OverflowError:
            raise Invalid("bad_ts") from None
        text = str(int(sent)) if seconds.is_integer() else repr(sent)
        if len(text) > 64:
            raise Invalid("bad_ts")
        return (seconds / 1000 if abs(seconds) > _MILLISECONDS else seconds), text
    iso = _text(sent, 64, "bad_ts")
    if iso is None or _date_time(iso.upper()) is None:
        return None, iso
    try:
        moment = datetime.fromisoformat(iso.upper())
    except ValueError:
        return None, iso
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp(), iso


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
