"""Topics, availability and state as real devices send them, and as hostile ones do."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cardume.devices.payloads import (
    MAX_EXTRA,
    DeviceTopic,
    Signal,
    TopicKind,
    decode_availability,
    decode_state,
    parse_topic,
)
from cardume.errors import Invalid

TASMOTA_STATE = (
    b'{"Time":"2019-10-31T11:14:59","Uptime":"0T18:36:12","UptimeSec":66972,"Vcc":3.423,'
    b'"Heap":28,"SleepMode":"Dynamic","Sleep":50,"LoadAvg":19,"MqttCount":6,"POWER":"OFF",'
    b'"Wifi":{"AP":1,"SSId":"Tasmota","BSSId":"00:00:00:00:00:00","Channel":13,"RSSI":100,'
    b'"LinkCount":1,"Downtime":"0T00:00:06"}}'
)


# Topics


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        ("aquabook/t-1_A/availability", DeviceTopic("t-1_A", TopicKind.AVAILABILITY)),
        ("aquabook/t1/state", DeviceTopic("t1", TopicKind.STATE)),
        ("aquabook/t1/reading", DeviceTopic("t1", TopicKind.READING)),
        ("aquabook/t1/sensor/ph", DeviceTopic("t1", TopicKind.SENSOR, "ph")),
        ("aquabook/t1/sensor/Tank Temp", DeviceTopic("t1", TopicKind.SENSOR, "tank_temp")),
        ("aquabook/t1/sensor/tank_temp/state", DeviceTopic("t1", TopicKind.SENSOR, "tank_temp")),
        ("aquabook/t1/command", DeviceTopic("t1", TopicKind.COMMAND)),
        ("aquabook/t1/command/result", DeviceTopic("t1", TopicKind.COMMAND_RESULT)),
        (f"aquabook/{'x' * 64}/state", DeviceTopic("x" * 64, TopicKind.STATE)),
    ],
)
def test_topics_of_a_device(topic: str, expected: DeviceTopic) -> None:
    assert parse_topic("aquabook", topic) == expected


def test_a_prefix_may_have_slashes() -> None:
    topic = parse_topic("home/fish room", "home/fish room/t1/reading")
    assert topic == DeviceTopic("t1", TopicKind.READING)


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "aquabook",
        "aquabook/t1",
        "aquabook//state",
        "aquabook/t1/",
        "aquabook/t1/state/",
        "aquabook/t1/STATE",
        "aquabook/t1/sensor",
        "aquabook/t1/sensor/",
        "aquabook/t1/sensor/a/b",
        "aquabook/+/state",
        "aquabook/#",
        "aquabook/t 1/state",
        "aquabook/té/state",
        "aquabook/t1\n/state",
        f"aquabook/{'x' * 65}/state",
        f"aquabook/t1/sensor/{'x' * 65}",
        "aquabook2/t1/state",
        "x/aquabook/t1/state",
        "$SYS/brokers/emqx@127.0.0.1/clients/c1/disconnected",
    ],
)
def test_other_topics_are_none(topic: str) -> None:
    assert parse_topic("aquabook", topic) is None


# Availability


@pytest.mark.parametrize(
    ("payload", "state"),
    [
        (b"online", Signal.ONLINE),
        (b"Online", Signal.ONLINE),
        (b"OFFLINE ", Signal.OFFLINE),
        (b"\toffline\r\n", Signal.OFFLINE),
        (b'"offline"', Signal.OFFLINE),
        (b"1", Signal.ONLINE),
        (b"0", Signal.OFFLINE),
        (b"sleeping", Signal.SLEEPING),
        (b"DeepSleep", Signal.SLEEPING),
        (b'{"state":"online"}', Signal.ONLINE),
        (b' {"state": "Offline"} ', Signal.OFFLINE),
        (b'{"state":1}', Signal.ONLINE),
        (b"ready", Signal.ONLINE),
        (b"lost", Signal.OFFLINE),
        (b"disconnected", Signal.OFFLINE),
    ],
)
def test_every_way_to_say_it(payload: bytes, state: Signal) -> None:
    said = decode_availability(payload)
    assert (said.state, said.session) == (state, None)


@pytest.mark.parametrize(
    ("session", "expected"),
    [("17", "17"), ('"17"', "17"), ('"a b"', "a b"), ("null", None), ("[]", None), ("true", None)],
)
def test_a_session_is_text_whatever_its_type(session: str, expected: str | None) -> None:
    said = decode_availability(b'{"state":"online","session":%s}' % session.encode())
    assert said.session == expected


def test_a_sleeper_may_say_for_how_long() -> None:
    assert decode_availability(b'{"state":"sleeping","wake_in":600}').wake_in == 600
    assert decode_availability(b'{"state":"sleeping","wake_in":-1}').wake_in is None


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"  ",
        b"on line",
        b"2",
        b"true",
        b"null",
        b"{}",
        b'{"state":null}',
        b'{"state":true}',
        b'{"state":{"state":"online"}}',
        b'{"state":"online"',
        b'"online',
        b"\xffonline",
        b"online\x00",
        b"[" * 1000,
        b"online" + b" " * 2000,
    ],
)
def test_an_unknown_word_is_invalid(payload: bytes) -> None:
    with pytest.raises(Invalid):
        decode_availability(payload)


# State


def test_a_state_object() -> None:
    report = decode_state(b'{"uptime":3600,"rssi":-67,"firmware":"1.4.2","interval":60,"heap":28}')
    assert (report.uptime, report.rssi, report.firmware, report.interval) == (
        3600,
        -67,
        "1.4.2",
        60,
    )
    assert (report.extra, report.ignored) == ({"heap": 28}, 0)


def test_wrong_members_are_left_out_and_counted() -> None:
    report = decode_state(b'{"uptime":"long","rssi":-67,"interval":0,"firmware":7.1,"x":null}')
    assert (report.uptime, report.rssi, report.interval, report.firmware) == (None, -67, None, None)
    assert report.ignored == 4


def test_tasmota_state_keeps_its_scalars() -> None:
    report = decode_state(TASMOTA_STATE)
    assert report.extra["UptimeSec"] == 66972
    assert "Wifi" not in report.extra
    assert report.ignored == 1


@pytest.mark.parametrize("interval", [0.5, 86_401, -60, True, "60", 1e300])
def test_an_interval_is_bounded(interval: Any) -> None:
    report = decode_state(json.dumps({"interval": interval, "rssi": 1}).encode())
    assert report.interval is None


def test_extra_is_bounded() -> None:
    many = decode_state(json.dumps({f"m{n}": n for n in range(100)}).encode())
    assert len(many.extra) == MAX_EXTRA
    assert many.ignored == 100 - MAX_EXTRA
    long = decode_state(json.dumps({"a": "x" * 1500, "b": "y" * 1500, "c": 1}).encode())
    assert set(long.extra) == {"a", "c"}
    wild = decode_state(b'{"a":1' + b"0" * 30 + b',"nul":"\\u0000","k\\n":1,"ok":true}')
    assert wild.extra == {"ok": True}


def test_an_empty_state_is_still_a_heartbeat() -> None:
    assert decode_state(b"{}").ignored == 0


@pytest.mark.parametrize(
    "payload", [b"", b"[]", b"12", b"null", b'{"uptime":null}', b"\xff", b'{"a":[]}']
)
def test_an_unusable_state_is_invalid(payload: bytes) -> None:
    with pytest.raises(Invalid):
        decode_state(payload)
