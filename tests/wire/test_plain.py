"""The plain dialect against contracts/plain.md: golden frames, and a decoder that never raises."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardume.wire import codes
from cardume.wire.dialects.plain import PlainDialect
from cardume.wire.messages import (
    Call,
    Command,
    Connected,
    Deselect,
    Deselected,
    Fault,
    Malformed,
    Ping,
    Pong,
    Position,
    Publication,
    Refresh,
    Refreshed,
    Reply,
    Result,
    Select,
    Selected,
    Snapshot,
)

PLAIN = PlainDialect()
NOON = 1_795_176_000.123
WHEN = '"timestamp":"2026-11-20T12:00:00.123Z"'
TEXT = st.text(alphabet=st.characters(codec="utf-8"), max_size=30)


@pytest.mark.parametrize(
    ("publication", "frame"),
    [
        (
            Publication(type="reading", data=b'{"a":1}', time=NOON, offset=41),
            '{"type":"reading","data":{"a":1},%s,"channel":"aquarium:7","offset":41}',
        ),
        (
            Publication(type="reading", data=b"{}", time=NOON),
            '{"type":"reading","data":{},%s,"channel":"aquarium:7"}',
        ),
        (
            Publication(data=b"[1,2]", time=NOON, offset=1),
            '{"type":"update","data":[1,2],%s,"channel":"aquarium:7","offset":1}',
        ),
        (
            Publication(type='a"\\\n', data=b"{}", time=NOON, key="k", tags={"a": "b"}, source="s"),
            '{"type":"a\\"\\\\\\n","data":{},%s,"channel":"aquarium:7"}',
        ),
    ],
)
def test_publications(publication: Publication, frame: str) -> None:
    assert PLAIN.publication("aquarium:7", publication).decode() == frame % WHEN


@pytest.mark.parametrize(
    ("reply", "id", "frame"),
    [
        (
            Connected("c-1", "aquarium:7", Position("e1", 41), True, 60),
            None,
            '{"type":"connected","data":{"connection_id":"c-1","channel":"aquarium:7",'
            '"recovered":true,"expires_in":60,"epoch":"e1","offset":41},%s}',
        ),
        (
            Connected("c-1", "lobby", Position(), False, None),
            None,
            '{"type":"connected","data":{"connection_id":"c-1","channel":"lobby",'
            '"recovered":false,"expires_in":null},%s}',
        ),
        (
            Snapshot(b'{"cards":[]}', Position("e1", 41)),
            None,
            '{"type":"snapshot","data":{"cards":[]},%s,"offset":41}',
        ),
        (Snapshot(b"{}", Position("e1", 0)), None, '{"type":"snapshot","data":{},%s,"offset":0}'),
        (Snapshot(b"{}", Position()), None, '{"type":"snapshot","data":{},%s}'),
        (Pong(Position("e1", 7)), 5, '{"type":"pong","data":{"offset":7},%s,"id":5}'),
        (Pong(Position("e1", 0)), 0, '{"type":"pong","data":{"offset":0},%s,"id":0}'),
        (Pong(Position()), "x", '{"type":"pong","data":{},%s,"id":"x"}'),
        (
            Selected(("alert", "reading")),
            1,
            '{"type":"subscribed","data":{"types":["alert","reading"]},%s,"id":1}',
        ),
        (Deselected(()), 2, '{"type":"unsubscribed","data":{"types":[]},%s,"id":2}'),
        (Result(b'{"id":"k1"}'), 3, '{"type":"result","data":{"id":"k1"},%s,"id":3}'),
        (Refreshed(3600), 4, '{"type":"refreshed","data":{"expires_in":3600},%s,"id":4}'),
        (Refreshed(None), None, '{"type":"refreshed","data":{"expires_in":null},%s}'),
        (
            Fault(codes.BAD_REQUEST, "not valid JSON"),
            5,
            '{"type":"error","data":{"code":"bad_request","message":"not valid JSON"},%s,"id":5}',
        ),
        (
            Fault(codes.CONFLICT, "older", {"version": 3, "code": "forged"}),
            "é",
            '{"type":"error","data":{"version":3,"code":"conflict","message":"older"},%s,"id":"é"}',
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_replies(reply: Reply, id: int | str | None, frame: str) -> None:
    assert PLAIN.reply(reply, id=id, time=NOON).decode() == frame % WHEN


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ('{"type":"ping"}', Ping()),
        ('{"type":"ping","id":5}', Ping(id=5)),
        ('{"type":"ping","id":"five","data":null}', Ping(id="five")),
        ('{"type":"ping","data":{"more":1},"unknown":2}', Ping()),
        ('{"type":"subscribe","data":{"types":["a","b"]}}', Select(types=("a", "b"))),
        ('{"type":"subscribe","data":{"types":[]}}', Select(types=())),
        ('{"type":"unsubscribe","data":{"types":["a"]},"id":1}', Deselect(types=("a",), id=1)),
        ('{"type":"unsubscribe"}', Deselect(types=None)),
        ('{"type":"unsubscribe","data":{"types":null}}', Deselect(types=None)),
        (
            '{"type":"action","data":{"name":"ack_alert","note":"ok"},"id":9}',
            Call(name="ack_alert", body={"note": "ok"}, id=9),
        ),
        ('{"type":"refresh","data":{"token":"abc"}}', Refresh(token="abc")),
    ],
)
def test_commands(text: str, command: Command) -> None:
    assert PLAIN.decode(text) == command
    assert PLAIN.decode(text.encode()) == command


@pytest.mark.parametrize(
    ("text", "code", "id"),
    [
        ("", codes.BAD_REQUEST, None),
        ("nonsense", codes.BAD_REQUEST, None),
        ("null", codes.BAD_REQUEST, None),
        ("[]", codes.BAD_REQUEST, None),
        ('"ping"', codes.BAD_REQUEST, None),
        ('{"type":"ping","data":NaN}', codes.BAD_REQUEST, None),
        ('{"type":"ping","id":1e999}', codes.BAD_REQUEST, None),
        (r'{"type":"ping","id":"\ud800"}', codes.BAD_REQUEST, None),
        ('{"type":"ping","data":' + "[" * 32 + "]" * 32 + "}", codes.BAD_REQUEST, None),
        ('{"type":"ping","id":true}', codes.BAD_REQUEST, None),
        ('{"type":"ping","id":1.5}', codes.BAD_REQUEST, None),
        ('{"type":"ping","id":{}}', codes.BAD_REQUEST, None),
        ('{"type":"ping","id":"%s"}' % ("x" * 129), codes.BAD_REQUEST, None),
        ('{"type":"ping","id":%s}' % ("1" * 200), codes.BAD_REQUEST, None),
        ('{"type":"ping","data":[],"id":1}', codes.BAD_REQUEST, 1),
        ('{"type":"subscribe","id":1}', codes.BAD_REQUEST, 1),
        ('{"type":"subscribe","data":{"types":"a"},"id":1}', codes.BAD_REQUEST, 1),
        ('{"type":"subscribe","data":{"types":[1]},"id":1}', codes.BAD_REQUEST, 1),
        ('{"type":"subscribe","data":{"types":[""]},"id":1}', codes.BAD_REQUEST, 1),
        ('{"type":"action","id":1}', codes.BAD_REQUEST, 1),
        ('{"type":"action","data":{"name":3},"id":1}', codes.BAD_REQUEST, 1),
        ('{"type":"refresh","data":{},"id":1}', codes.BAD_REQUEST, 1),
        ('{"type":"dance","id":"x"}', codes.UNKNOWN_TYPE, "x"),
        ('{"id":"x"}', codes.UNKNOWN_TYPE, "x"),
        ('{"type":["ping"],"id":2}', codes.UNKNOWN_TYPE, 2),
        ('{"type":"PING"}', codes.UNKNOWN_TYPE, None),
    ],
)
def test_what_is_no_command(text: str, code: codes.ErrorCode, id: int | str | None) -> None:
    command = PLAIN.decode(text)
    assert isinstance(command, Malformed)
    assert (command.code, command.id) == (code, id)
    assert command.message


def test_an_unknown_type_learns_the_known_ones() -> None:
    command = PLAIN.decode('{"type":"dance"}')
    assert isinstance(command, Malformed)
    for name in ("ping", "subscribe", "unsubscribe", "action", "refresh"):
        assert name in command.message


def test_a_filter_has_a_bound() -> None:
    wanted = json.dumps({"type": "subscribe", "data": {"types": ["t"] * 65}})
    assert isinstance(PLAIN.decode(wanted), Malformed)


MESSAGES = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["ping", "subscribe", "unsubscribe", "action", "refresh"]) | TEXT,
        "id": st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
        "data": st.none()
        | st.lists(st.integers())
        | st.dictionaries(
            st.sampled_from(["types", "name", "token"]) | TEXT,
            st.none() | st.integers() | TEXT | st.lists(TEXT, max_size=3),
        ),
    },
)


@given(st.binary() | st.text() | MESSAGES.map(json.dumps))
def test_decoding_never_raises_and_the_id_can_be_sent_back(data: bytes | str) -> None:
    command = PLAIN.decode(data)
    assert isinstance(command, Command)
    reply = PLAIN.reply(Pong(Position()), id=command.id, time=NOON)
    assert json.loads(reply).get("id") == command.id


@given(
    type=st.none() | TEXT,
    data=st.dictionaries(TEXT, TEXT | st.integers()),
    offset=st.integers(0, 2**50),
    time=st.floats(0, 4_000_000_000),
)
def test_every_publication_is_one_json_object(
    type: str | None, data: dict[str, Any], offset: int, time: float
) -> None:
    body = json.dumps(data).encode()
    publication = Publication(type=type, data=body, time=time, offset=offset)
    frame = json.loads(PLAIN.publication("a:b", publication))
    assert frame.pop("timestamp")
    assert frame.pop("offset", 0) == offset
    assert frame == {"type": type or "update", "data": data, "channel": "a:b"}
    assert PLAIN.event_type(publication) == (type or "update")
