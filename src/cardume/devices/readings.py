"""What devices measured: payloads in, readings out, their times and their names.

Bytes in, frozen values out, or `Invalid`. Pure, as `payloads`. DS18B20's error values -127 and
85.0 pass as they are: 85.0 is a legal temperature (and the sensor's own power-on value), so only a
rule of the owner can tell an error from a hot pump.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from cardume.devices.names import metric_name
from cardume.devices.payloads import MAX_WORD, json_object
from cardume.errors import Invalid
from cardume.wire.json import parse

MAX_READINGS: Final = 256
BACKFILL_MAX: Final = 30 * 86_400.0
"""Seconds a device's timestamp may lie in the past."""
AHEAD_MAX: Final = 300.0
"""Seconds a device's timestamp may lie in the future."""

_CLOCK_UNSET = 1_577_836_800.0  # 2020-01-01: older than this firmware could be, so never set
_CLOCK_WILD = 86_400.0
_MILLISECONDS = 1e11  # as seconds that is the year 5138

_date_time = re.compile(r"\d{4}-?\d\d-?\d\d[T ]\d\d:?\d\d.*", re.ASCII).fullmatch


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


_NOT_METRICS: Final = frozenset(
    ("ts", "id", "sensor", "unit", "seq", "time", "metric", "value", "readings")
)


def decode_readings(payload: bytes, *, metric: str | None = None) -> DecodedReadings:
    """Read one reading, ``{"readings": […]}``, or flat ``{"temperature": 25.3, "ph": 7.1}``.

    With `metric` (from the topic) the payload is the bare number. In a list, `unit`, `sensor` and
    `ts` of the message hold for items without their own; an `id` of the message becomes
    ``id/metric`` for each reading (``id/metric/n`` for the n-th of one metric).

    Raises:
        Invalid: no reading could be used; the message is the reason.
    """
    if metric is not None:
        if len(payload) > MAX_WORD:
            raise Invalid("too_big")
        return DecodedReadings((RawReading(_checked(metric), _value(parse(payload))),))
    message = json_object(payload)
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
    return _collect(message, [(k, v, {}) for k, v in named if metric_name(k) not in _NOT_METRICS])


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
    name = metric_name(metric) if isinstance(metric, str) else None
    if name is None:
        raise Invalid("bad_metric")
    return name


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
