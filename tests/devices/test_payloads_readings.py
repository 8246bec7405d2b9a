"""Readings as real devices send them, as hostile ones do, their time and their identity."""

from __future__ import annotations

import contextlib
import json
import math
import string
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cardume.devices.payloads import (
    MAX_BYTES,
    TopicKind,
    decode_availability,
    decode_state,
    parse_topic,
)
from cardume.devices.readings import (
    MAX_READINGS,
    RawReading,
    decode_readings,
    identity_of,
    reading_time,
)
from cardume.errors import Invalid

NOON = 1_795_176_000.0  # 2026-11-20T12:00:00Z
DAY = 86_400.0


def one(payload: bytes | str, metric: str | None = None) -> RawReading:
    data = payload.encode() if isinstance(payload, str) else payload
    decoded = decode_readings(data, metric=metric)
    assert decoded.rejected == ()
    (reading,) = decoded.readings
    return reading


def reading(ts: Any = None, value: float = 25.3, **members: Any) -> RawReading:
    if ts is not None:
        members["ts"] = ts
    return one(json.dumps({"metric": "temperature", "value": value, **members}))


# Readings


def test_a_single_reading() -> None:
    sent = one(
        '{"metric":"Temperature","value":25.3,"unit":"°C","ts":"2026-11-20T12:00:00Z",'
        '"sensor":"ds18b20","id":"r-1","note":"ignored"}'
    )
    assert sent == RawReading(
        "temperature", 25.3, "°C", "ds18b20", "r-1", NOON, "2026-11-20T12:00:00Z"
    )
    assert one('{"metric":"Tank Temp","value":7}') == RawReading("tank_temp", 7.0)


def test_a_list_inherits_from_its_message() -> None:
    decoded = decode_readings(
        b'{"id":"m1","ts":1795176000,"sensor":"s","readings":['
        b'{"metric":"ph","value":8},{"metric":"ph","value":8.1,"ts":1795176060},'
        b'{"metric":"orp","value":300,"id":7,"sensor":"t","unit":"mV"}]}'
    )
    assert decoded.readings == (
        RawReading("ph", 8.0, None, "s", "m1/ph", NOON, "1795176000"),
        RawReading("ph", 8.1, None, "s", "m1/ph/2", NOON + 60, "1795176060"),
        RawReading("orp", 300.0, "mV", "t", "7", NOON, "1795176000"),
    )


def test_a_flat_message() -> None:
    decoded = decode_readings(
        b'{"temperature":25.3,"pH":7.1,"id":"m2","ts":1795176000123,"seq":4,"Time":"x","unit":""}'
    )
    ts, raw = NOON + 0.123, "1795176000123"
    assert decoded.readings == (
        RawReading("temperature", 25.3, None, None, "m2/temperature", ts, raw),
        RawReading("ph", 7.1, None, None, "m2/ph", ts, raw),
    )
    assert decoded.rejected == ()


@pytest.mark.parametrize(
    ("payload", "value"),
    [(b"25.3", 25.3), (b"25.600000", 25.6), (b" 7\n", 7.0), (b"-127", -127.0), (b"85.0", 85.0)],
)
def test_a_bare_number(payload: bytes, value: float) -> None:
    assert one(payload, metric="ph") == RawReading("ph", value)


@pytest.mark.parametrize(
    "payload", [b"nan", b"NaN", b"inf", b"", b'"7"', b"7,1", b"true", b"null", b"{}", b"1e999"]
)
def test_a_bare_payload_that_is_no_number(payload: bytes) -> None:
    with pytest.raises(Invalid):
        decode_readings(payload, metric="ph")


def test_good_readings_survive_bad_neighbours() -> None:
    decoded = decode_readings(
        b'{"readings":[{"metric":"ph","value":7.1},{"metric":"ph"},5,{"metric":"p/h","value":1},'
        b'{"metric":"kh","value":"7"},{"metric":"kh","value":1,"unit":"0123456789abcdefg"},'
        b'{"metric":"kh","value":7,"ts":[]},{"metric":"orp","value":300}]}'
    )
    assert [r.metric for r in decoded.readings] == ["ph", "orp"]
    assert decoded.rejected == (
        "bad_value", "bad_metric", "bad_metric", "bad_value", "bad_unit", "bad_ts",
    )  # fmt: skip
    sensor = decode_readings(
        b'{"Time":"2021-01-13T23:58:41","DS18B20":{"Temperature":20.9},"Level":3,"TempUnit":"C"}'
    )
    assert sensor.readings == (RawReading("level", 3.0),)
    assert sensor.rejected == ("bad_value", "bad_value")


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"25.3",
        b"[]",
        b"{}",
        b'{"ts":1795176000}',
        b'{"value":25.3}',
        b'{"readings":[]}',
        b'{"readings":{}}',
        b'{"readings":[1]}',
        b'{"metric":"t"}',
        b'{"metric":"t","value":NaN}',
        b'{"metric":"t","value":Infinity}',
        b'{"metric":"t","value":1e999}',
        b'{"metric":"t","value":"25,3"}',
        b'{"metric":"t","value":"25.3"}',
        b'{"metric":"t","value":true}',
        b'{"metric":"t","value":null}',
        b'{"metric":"t","value":1' + b"0" * 400 + b"}",
        b'{"metric":"","value":1}',
        b'{"metric":7,"value":1}',
        '{"metric":"größe","value":1}'.encode(),
        b'{"metric":"t","value":1,"id":true}',
        b'{"metric":"t","value":1,"id":"a\\u0000b"}',
        b'{"metric":"t","value":1,"sensor":"' + b"s" * 65 + b'"}',
        b'{"metric":"t","value":1,"id":"' + b"i" * 129 + b'"}',
        b'{"metric":"t","value":1,"ts":true}',
        b'{"metric":"t","value":1,"ts":1e300}',
        b'{"metric":"t","value":1,"unit":"\\ud800"}',
        b'{"metric":"t","value":1,"sensor":"\xff"}',
        b'{"a":' * 100 + b"1" + b"}" * 100,
        b'{"temperature":25.3,"x":"' + b"y" * (300 * 1024) + b'"}',
    ],
)
def test_hostile_readings_are_invalid(payload: bytes) -> None:
    with pytest.raises(Invalid):
        decode_readings(payload)


def test_the_number_of_readings_is_bounded() -> None:
    flat = {f"m{n}": n for n in range(MAX_READINGS)}
    assert len(decode_readings(json.dumps(flat).encode()).readings) == MAX_READINGS
    with pytest.raises(Invalid, match="too_many"):
        decode_readings(json.dumps({**flat, "more": 1}).encode())
    items = [{"metric": "t", "value": 1}] * (MAX_READINGS + 1)
    with pytest.raises(Invalid, match="too_many"):
        decode_readings(json.dumps({"readings": items}).encode())
    with pytest.raises(Invalid, match="too_big"):
        decode_readings(b'{"t":1}' + b" " * MAX_BYTES)


# Time and identity


@pytest.mark.parametrize(
    ("sent", "seconds"),
    [
        ("2026-11-20T12:00:00Z", NOON),
        ("2026-11-20T12:00:00.250Z", NOON + 0.25),
        ("2026-11-20t12:00:00z", NOON),
        ("2026-11-20T14:00:00+02:00", NOON),
        ("2026-11-20T12:00:00", NOON),
        ("2026-11-20 12:00", NOON),
        (1_795_176_000, NOON),
        (1_795_176_000.5, NOON + 0.5),
        (1_795_176_000_500, NOON + 0.5),
        (0, 0.0),
        ("2026-11-20", None),
        ("1795176000", None),
        ("2026-13-45T99:00:00Z", None),
        ("yesterday", None),
    ],
)
def test_timestamps(sent: Any, seconds: float | None) -> None:
    raw = reading(sent)
    assert raw.ts == seconds
    assert raw.ts_raw == str(sent)


@pytest.fixture
def brazil(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "BRT3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("brazil")
def test_without_a_zone_it_is_utc_wherever_we_run() -> None:
    assert reading("2026-11-20T12:00:00").ts == NOON


@pytest.mark.parametrize("sent", [None, ""])
def test_no_timestamp(sent: Any) -> None:
    raw = one(json.dumps({"metric": "t", "value": 1, "ts": sent}))
    assert (raw.ts, raw.ts_raw) == (None, None)
    assert reading_time(raw, NOON) == (NOON, False)
    assert identity_of(raw, NOON) is None


@pytest.mark.parametrize(
    ("ts", "expected"),
    [
        (NOON, (NOON, False)),
        (NOON - 30 * DAY, (NOON - 30 * DAY, False)),
        (NOON - 30 * DAY - 1, (NOON, True)),
        (NOON + 300, (NOON + 300, False)),
        (NOON + 301, (NOON, True)),
        (12, (NOON, True)),
        (NOON + 365 * DAY, (NOON, True)),
        ("yesterday", (NOON, True)),
    ],
)
def test_an_implausible_clock_is_overruled(ts: Any, expected: tuple[float, bool]) -> None:
    assert reading_time(reading(ts), NOON) == expected


def test_an_id_is_the_identity() -> None:
    assert identity_of(reading(NOON, id="r1"), NOON) == "i:r1"
    assert identity_of(reading(id=17), NOON) == "i:17"


def test_a_timestamp_is_the_identity_whatever_the_value() -> None:
    first, again = reading(NOON, 25.3), reading(NOON, 25.4)
    assert identity_of(first, NOON) == identity_of(again, NOON + 60)
    assert identity_of(first, NOON) != identity_of(reading(NOON, sensor="s"), NOON)


@pytest.mark.parametrize("ts", [0, 1000, NOON + 365 * DAY, "yesterday", "1970-01-01T00:00:00Z"])
def test_a_stuck_clock_loses_no_reading(ts: Any) -> None:
    first, second = reading(ts, 25.3), reading(ts, 25.4)
    assert identity_of(first, NOON) != identity_of(second, NOON)
    assert identity_of(first, NOON) == identity_of(reading(ts, 25.3), NOON + 60)


@pytest.mark.parametrize("ahead", [290, 310, 3600])
def test_a_redelivery_finds_its_name_again_when_the_clock_runs_ahead(ahead: float) -> None:
    raw = reading(NOON + ahead)
    assert len({identity_of(raw, NOON + later) for later in (0, 20, 400, 7200)}) == 1


_text = st.text(alphabet=string.ascii_lowercase + string.digits + "/:._- ", max_size=12)
_raws = st.builds(
    RawReading,
    metric=st.text(alphabet="ab1._-", min_size=1, max_size=4),
    value=st.sampled_from([1.0, 2.0, 25.3]),
    sensor=st.none() | _text.filter(bool),
    ts=st.none() | st.sampled_from([0.0, NOON]),
    ts_raw=_text.filter(bool),
)


@given(_raws, _raws)
@example(
    RawReading("t", 1.0, None, "b/c", None, NOON, "a"),
    RawReading("t", 1.0, None, "c", None, NOON, "a/b"),
)
def test_identities_are_injective(a: RawReading, b: RawReading) -> None:
    same_text = identity_of(a, NOON) == identity_of(b, NOON)
    keys = [(r.metric, r.sensor, r.ts_raw, r.ts != NOON and r.value) for r in (a, b)]
    assert same_text == (keys[0] == keys[1])


# Fuzz

_scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
_names = st.sampled_from(
    ["metric", "value", "readings", "ts", "id", "sensor", "unit", "state", "session", "interval"]
) | st.text(max_size=8)
_json = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_names, inner, max_size=6),
    max_leaves=20,
)


def _decode_all(payload: bytes) -> None:
    try:
        decoded = decode_readings(payload)
    except Invalid:
        pass
    else:
        assert decoded.readings
        for raw in decoded.readings:
            assert math.isfinite(raw.value)
            assert len(identity_of(raw, NOON) or "") <= 256
            assert math.isfinite(reading_time(raw, NOON)[0])
    for decode in (decode_availability, decode_state, lambda p: decode_readings(p, metric="ph")):
        with contextlib.suppress(Invalid):
            msgspec.json.encode(decode(payload))


@given(st.binary(max_size=64))
@example(b"[" * 60_000)
@example(b'{"readings":[' + b"[" * 40)
@example(b'{"state":' * 100)
def test_any_bytes_are_decoded_or_invalid(payload: bytes) -> None:
    _decode_all(payload)


@given(_json)
def test_any_json_is_decoded_or_invalid(value: Any) -> None:
    _decode_all(json.dumps(value).encode("utf-8", "surrogatepass"))
    _decode_all(json.dumps({"readings": [value, {"metric": "t", "value": value}]}).encode())


@given(st.text(max_size=40))
def test_any_topic_is_parsed_or_none(rest: str) -> None:
    topic = parse_topic("aquabook", "aquabook/" + rest)
    assert topic is None or (topic.kind is TopicKind.SENSOR) == (topic.metric is not None)
