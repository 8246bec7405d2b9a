"""The rooms dialect against contracts/rooms.md: golden frames, and a decoder that never raises."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardume.wire import codes
from cardume.wire.dialects.rooms import RoomsDialect
from cardume.wire.events import EVENT_NAME, ROOMS, TASK_EVENTS, EventType
from cardume.wire.messages import (
    Command,
    Deselect,
    Fault,
    Filtered,
    Heartbeat,
    Info,
    Join,
    Joined,
    Known,
    Leave,
    Left,
    Malformed,
    Ping,
    Pong,
    Position,
    Publication,
    Reply,
    Result,
    Said,
    Select,
    Welcome,
)

DIALECT = RoomsDialect()
NOON = 1_795_176_000.123
WHEN = '"timestamp":"2026-11-20T12:00:00.123Z"'
TEXT = st.text(alphabet=st.characters(codec="utf-8"), max_size=30)


@pytest.mark.parametrize(
    ("channel", "publication", "frame"),
    [
        (
            "agents",
            Publication(type="agent_created", data=b'{"a":1}', time=NOON, offset=12),
            '{"event_type":"agent_created",%s,"data":{"a":1},"source":"agent_service",'
            '"room":"agents","offset":12}',
        ),
        (
            "tasks",
            Publication(type="task_created", data=b"{}", time=NOON),
            '{"event_type":"task_created",%s,"data":{},"source":"coordination_service",'
            '"room":"tasks","offset":null}',
        ),
        (
            "rooms",
            Publication(type="alert_triggered", data=b"{}", time=NOON, offset=3),
            '{"event_type":"alert_triggered",%s,"data":{},"source":"hub","room":null,"offset":3}',
        ),
        (
            "system",
            Publication(type='a"\\', data=b"[1]", time=NOON, source='s"'),
            '{"event_type":"a\\"\\\\",%s,"data":[1],"source":"s\\"","room":"system","offset":null}',
        ),
        (
            "coordination",
            Publication(data=b"{}", time=NOON),
            '{"event_type":"update",%s,"data":{},"source":"coordination_service",'
            '"room":"coordination","offset":null}',
        ),
    ],
)
def test_publications(channel: str, publication: Publication, frame: str) -> None:
    assert DIALECT.publication(channel, publication).decode() == frame % WHEN


def answer(success: str, message: str, data: str, tail: str = "") -> str:
    return (
        f'{{"success":{success},"message":"{message}","data":{data},'
        f'"event_type":"reply",{WHEN}{tail}}}'
    )


@pytest.mark.parametrize(
    ("reply", "id", "frame"),
    [
        (
            Pong(Position()),
            3,
            answer("true", "pong", '{"timestamp":"2026-11-20T12:00:00.123Z"}', ',"id":3'),
        ),
        (
            Joined("agents", 2, Position("e1", 4)),
            "x",
            answer(
                "true",
                "joined",
                '{"room":"agents","members":2,"epoch":"e1","offset":4}',
                ',"id":"x"',
            ),
        ),
        (
            Joined("agents", 2, Position("e1", 4), False),
            None,
            answer(
                "true",
                "joined",
                '{"room":"agents","members":2,"epoch":"e1","offset":4,"recovered":false}',
            ),
        ),
        (
            Left("agents", 0, Position()),
            None,
            answer("true", "left", '{"room":"agents","members":0,"epoch":null,"offset":null}'),
        ),
        (
            Filtered(("a", "b"), ("agents",), added=True),
            None,
            answer("true", "subscribed", '{"event_types":["a","b"],"rooms":["agents"]}'),
        ),
        (
            Filtered((), (), added=False),
            None,
            answer("true", "unsubscribed", '{"event_types":[],"rooms":[]}'),
        ),
        (
            Known("c-1", "label", ("agents",), (), {"k": 1}, NOON, 4, 5),
            None,
            answer(
                "true",
                "info",
                '{"connection_id":"c-1","client_id":"label","rooms":["agents"],"event_types":[],'
                '"metadata":{"k":1},"connected_at":"2026-11-20T12:00:00.123Z",'
                '"messages_sent":4,"messages_received":5}',
            ),
        ),
        (Result(b'{"ok":1}'), None, answer("true", "ok", '{"ok":1}')),
        (
            Fault(codes.CONFLICT, "older", {"version": 3, "code": "forged"}),
            9,
            answer("false", "older", '{"version":3,"code":"conflict"}', ',"id":9'),
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_replies(reply: Reply, id: int | str | None, frame: str) -> None:
    assert DIALECT.reply(reply, id=id, time=NOON).decode() == frame


def event(type: str, data: str, source: str = "hub") -> str:
    return (
        f'{{"event_type":"{type}",{WHEN},"data":{data},'
        f'"source":"{source}","room":null,"offset":null}}'
    )


def test_frames_for_one_connection() -> None:
    connected = DIALECT.reply(Welcome("c-1", "me", None), id=None, time=NOON).decode()
    data = '{"connection_id":"c-1","client_id":"me","expires_in":null}'
    assert connected == event("connected", data)
    said = DIALECT.reply(Said("error", b"{}", "me"), id=None, time=NOON).decode()
    assert said == event("error", "{}", "me")
    goodbye = DIALECT.goodbye(codes.SHUTDOWN, time=NOON)
    assert goodbye is not None
    assert goodbye.decode() == event("disconnected", '{"code":3001,"reason":"shutdown"}')


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ('{"action":"ping"}', Ping()),
        ('{"action":"ping","id":"five","data":null,"room":7}', Ping(id="five")),
        ('{"action":"join","room":"agents","id":1}', Join(room="agents", id=1)),
        (
            '{"action":"join","room":"agents","data":{"epoch":null,"offset":null}}',
            Join(room="agents"),
        ),
        (
            '{"action":"join","room":"agents","data":{"epoch":"e1","offset":0}}',
            Join(room="agents", since=Position("e1", 0)),
        ),
        ('{"action":"leave","room":"agents"}', Leave(room="agents")),
        ('{"action":"subscribe","data":{"event_types":["a"]}}', Select(types=("a",))),
        ('{"action":"subscribe","data":{"event_types":[]}}', Select(types=())),
        ('{"action":"unsubscribe","data":{"event_types":["a"]}}', Deselect(types=("a",))),
        ('{"action":"unsubscribe","data":{"event_types":[]}}', Deselect(types=None)),
        ('{"action":"info"}', Info()),
        ('{"action":"heartbeat","data":{"agent_id":"a1"}}', Heartbeat(agent_id="a1")),
    ],
)
def test_commands(text: str, command: Command) -> None:
    assert DIALECT.decode(text) == command
    assert DIALECT.decode(text.encode()) == command


@pytest.mark.parametrize(
    ("text", "code", "id"),
    [
        ("", codes.BAD_REQUEST, None),
        ("[]", codes.BAD_REQUEST, None),
        ('{"action":"ping","id":true}', codes.BAD_REQUEST, None),
        ('{"action":"ping","data":[],"id":1}', codes.BAD_REQUEST, 1),
        ('{"action":"dance","id":2}', codes.METHOD_NOT_FOUND, 2),
        ('{"type":"ping","id":2}', codes.METHOD_NOT_FOUND, 2),
        ('{"action":["ping"],"id":2}', codes.METHOD_NOT_FOUND, 2),
        ('{"action":"join","id":3}', codes.BAD_REQUEST, 3),
        ('{"action":"join","room":"","id":3}', codes.BAD_REQUEST, 3),
        ('{"action":"leave","room":5,"id":3}', codes.BAD_REQUEST, 3),
        ('{"action":"join","room":"a","data":{"epoch":"e"},"id":3}', codes.BAD_REQUEST, 3),
        ('{"action":"join","room":"a","data":{"offset":1},"id":3}', codes.BAD_REQUEST, 3),
        (
            '{"action":"join","room":"a","data":{"epoch":"e","offset":-1},"id":3}',
            codes.BAD_REQUEST,
            3,
        ),
        (
            '{"action":"join","room":"a","data":{"epoch":"e","offset":true},"id":3}',
            codes.BAD_REQUEST,
            3,
        ),
        ('{"action":"subscribe","id":4}', codes.BAD_REQUEST, 4),
        ('{"action":"unsubscribe","id":4}', codes.BAD_REQUEST, 4),
        ('{"action":"subscribe","data":{"event_types":"a"},"id":4}', codes.BAD_REQUEST, 4),
        ('{"action":"heartbeat","id":5}', codes.BAD_REQUEST, 5),
    ],
)
def test_what_is_no_command(text: str, code: codes.ErrorCode, id: int | str | None) -> None:
    command = DIALECT.decode(text)
    assert isinstance(command, Malformed)
    assert (command.code, command.id) == (code, id)
    assert command.message


MESSAGES = st.fixed_dictionaries(
    {},
    optional={
        "action": st.sampled_from(
            ["ping", "subscribe", "unsubscribe", "join", "leave", "info", "heartbeat"]
        )
        | TEXT,
        "id": st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
        "room": st.none() | st.integers() | TEXT,
        "data": st.none()
        | st.lists(st.integers())
        | st.dictionaries(
            st.sampled_from(["event_types", "epoch", "offset", "agent_id"]) | TEXT,
            st.none() | st.booleans() | st.integers() | TEXT | st.lists(TEXT, max_size=3),
        ),
    },
)


@given(st.binary() | st.text() | MESSAGES.map(json.dumps))
def test_decoding_never_raises_and_the_id_can_be_sent_back(data: bytes | str) -> None:
    command = DIALECT.decode(data)
    assert isinstance(command, Command)
    reply = DIALECT.reply(Pong(Position()), id=command.id, time=NOON)
    assert json.loads(reply).get("id") == command.id


@given(
    type=st.none() | TEXT,
    source=st.none() | TEXT,
    data=st.dictionaries(TEXT, TEXT | st.integers()),
    offset=st.integers(0, 2**50),
)
def test_every_publication_is_one_json_object(
    type: str | None, source: str | None, data: dict[str, Any], offset: int
) -> None:
    body = json.dumps(data).encode()
    publication = Publication(type=type, data=body, time=NOON, offset=offset, source=source)
    frame = json.loads(DIALECT.publication("agents", publication))
    assert frame.pop("timestamp")
    assert frame == {
        "event_type": type or "update",
        "data": data,
        "source": source or "agent_service",
        "room": "agents",
        "offset": offset or None,
    }


def test_the_21_events_and_their_rooms() -> None:
    assert len(EventType) == 21
    assert all(EVENT_NAME.fullmatch(event) for event in EventType)
    by_room = {room: [e for e in EventType if e.room == room] for room in (None, *ROOMS)}
    assert {room: len(events) for room, events in by_room.items()} == {
        None: 3,
        "agents": 5,
        "tasks": 6,
        "coordination": 4,
        "system": 3,
    }
    assert set(TASK_EVENTS.values()) == set(by_room["tasks"])
