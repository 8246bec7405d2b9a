"""The centrifuge dialect against client.proto: golden frames, and a decoder that never raises."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardume.wire import codes
from cardume.wire.dialects.centrifuge import CentrifugeDialect
from cardume.wire.messages import (
    Admitted,
    AskHistory,
    AskPresence,
    AskPresenceStats,
    Call,
    Command,
    Connect,
    Fault,
    Malformed,
    Member,
    Past,
    Ping,
    Pong,
    Position,
    Presence,
    PresenceStats,
    Publication,
    Publish,
    Published,
    Put,
    Refresh,
    Refreshed,
    Reply,
    Result,
    Said,
    Send,
    Subscribe,
    Subscribed,
    SubscriptionRefresh,
    SubscriptionRefreshed,
    Taken,
    Unsubscribe,
    Unsubscribed,
)

DIALECT = CentrifugeDialect()
NOON = 1_795_176_000.123
WHEN = "2026-11-20T12:00:00.123Z"
MILLIS = 1_795_176_000_123
HERE = Position("e1", 7)


def reply(reply: Reply, id: int | None = 3) -> Any:
    return json.loads(DIALECT.reply(reply, id=id, time=NOON))


@pytest.mark.parametrize(
    ("publication", "pub"),
    [
        (
            Publication(type="said", data=b'{"a":1}', time=NOON, offset=12),
            {
                "data": {"type": "said", "data": {"a": 1}, "timestamp": WHEN},
                "offset": 12,
                "tags": {"type": "said"},
                "time": MILLIS,
            },
        ),
        (
            Publication(type="said", data=b"[]", time=NOON, source="bot", tags={"a": "b"}, key="k"),
            {
                "data": {"type": "said", "data": [], "timestamp": WHEN, "source": "bot"},
                "tags": {"a": "b", "type": "said"},
                "key": "k",
                "time": MILLIS,
            },
        ),
        (Publication(data=b'"bare"', time=NOON), {"data": "bare", "time": MILLIS}),
        (
            Publication(data=b"null", time=NOON, source='a"b', tags={"t": "1"}),
            {
                "data": None,
                "info": {"user": 'a"b', "client": ""},
                "tags": {"t": "1"},
                "time": MILLIS,
            },
        ),
    ],
)
def test_publications(publication: Publication, pub: Any) -> None:
    frame = json.loads(DIALECT.publication("room:7", publication))
    assert frame == {"push": {"channel": "room:7", "pub": pub}}


@pytest.mark.parametrize(
    ("message", "frame"),
    [
        (
            Admitted("c1", None, 25),
            {
                "connect": {
                    "client": "c1",
                    "version": "cardume",
                    "ping": 25,
                    "pong": True,
                    "time": MILLIS,
                }
            },
        ),
        (
            Admitted("c1", 60, 25, (Subscribed("a", HERE), Subscribed("b", Position())), "s"),
            {
                "connect": {
                    "client": "c1",
                    "version": "cardume",
                    "expires": True,
                    "ttl": 60,
                    "ping": 25,
                    "pong": True,
                    "session": "s",
                    "node": "",
                    "subs": {
                        "a": {"recoverable": True, "positioned": True, "epoch": "e1", "offset": 7},
                        "b": {},
                    },
                    "time": MILLIS,
                }
            },
        ),
        (Subscribed("a", Position()), {"subscribe": {}}),
        (
            Subscribed("a", HERE, False, (), b'{"n":1}', 30),
            {
                "subscribe": {
                    "expires": True,
                    "ttl": 30,
                    "recoverable": True,
                    "positioned": True,
                    "epoch": "e1",
                    "offset": 7,
                    "was_recovering": True,
                    "data": {"snapshot": {"n": 1}},
                }
            },
        ),
        (
            Subscribed("a", HERE, True, (Publication(data=b"1", time=NOON, offset=8),)),
            {
                "subscribe": {
                    "recoverable": True,
                    "positioned": True,
                    "epoch": "e1",
                    "offset": 7,
                    "was_recovering": True,
                    "recovered": True,
                    "publications": [{"data": 1, "offset": 8, "time": MILLIS}],
                }
            },
        ),
        (Unsubscribed(), {"unsubscribe": {}}),
        (Published(), {"publish": {}}),
        (Pong(Position()), {"ping": {}}),
        (
            Presence({"c1": Member("c1", "ana"), "c2": Member("c2", "bo", {"x": 1})}),
            {
                "presence": {
                    "presence": {
                        "c1": {"user": "ana", "client": "c1"},
                        "c2": {"user": "bo", "client": "c2", "conn_info": {"x": 1}},
                    }
                }
            },
        ),
        (PresenceStats(3, 2), {"presence_stats": {"num_clients": 3, "num_users": 2}}),
        (
            Past(HERE, (Publication(data=b"1", time=NOON, offset=7),)),
            {
                "history": {
                    "publications": [{"data": 1, "offset": 7, "time": MILLIS}],
                    "epoch": "e1",
                    "offset": 7,
                }
            },
        ),
        (Result(b'{"a":1}'), {"rpc": {"data": {"a": 1}}}),
        (
            Refreshed(60, "c1"),
            {"refresh": {"client": "c1", "version": "cardume", "expires": True, "ttl": 60}},
        ),
        (SubscriptionRefreshed(9), {"sub_refresh": {"expires": True, "ttl": 9}}),
        (SubscriptionRefreshed(None), {"sub_refresh": {}}),
        (
            Fault(codes.PERMISSION_DENIED, "no"),
            {"error": {"code": 103, "message": "no"}},
        ),
        (
            Fault(codes.NOT_AVAILABLE, "later"),
            {"error": {"code": 108, "message": "later", "temporary": True}},
        ),
    ],
)
def test_replies(message: Reply, frame: dict[str, Any]) -> None:
    assert reply(message) == {"id": 3, **frame}


@pytest.mark.parametrize(
    ("message", "push"),
    [
        (
            Said("hello", b"[1]", "bot"),
            {
                "message": {
                    "data": {"type": "hello", "data": [1], "timestamp": WHEN, "source": "bot"}
                }
            },
        ),
        (
            Put(Subscribed("a", HERE)),
            {
                "channel": "a",
                "subscribe": {
                    "recoverable": True,
                    "positioned": True,
                    "epoch": "e1",
                    "offset": 7,
                },
            },
        ),
        (
            Taken("a", 2501, "over"),
            {"channel": "a", "unsubscribe": {"code": 2501, "reason": "over"}},
        ),
        (
            Fault(codes.RATE_LIMITED, "slower"),
            {
                "message": {
                    "data": {
                        "type": "error",
                        "data": {"code": 111, "message": "slower"},
                        "timestamp": WHEN,
                    }
                }
            },
        ),
    ],
)
def test_what_nobody_asked_for_is_a_push(message: Reply, push: dict[str, Any]) -> None:
    """A reply with an id of 0 would read as a ping."""
    assert reply(message, id=None) == {"push": push}


@pytest.mark.parametrize(("joined", "word"), [(True, "join"), (False, "leave")])
def test_who_comes_and_goes(joined: bool, word: str) -> None:
    said = DIALECT.membership("room:7", Member("c1", "ana"), joined)
    assert said is not None
    info = {"info": {"user": "ana", "client": "c1"}}
    assert json.loads(said) == {"push": {"channel": "room:7", word: info}}


def test_a_disconnect_says_whether_to_come_back() -> None:
    assert json.loads(DIALECT.disconnect(codes.FORCE_DISCONNECT)) == {
        "push": {"disconnect": {"code": 3503, "reason": "force disconnect", "reconnect": False}}
    }
    assert DIALECT.goodbye(codes.FORCE_DISCONNECT, time=NOON) is None


@pytest.mark.parametrize(
    ("message", "command"),
    [
        ({}, Ping()),
        ({"id": 2, "ping": {}}, Ping(id=2)),
        ({"id": 1, "connect": {}}, Connect(id=1)),
        (
            {
                "id": 1,
                "connect": {
                    "token": "t",
                    "name": "js",
                    "data": {"x": 1},
                    "subs": {"a": {"recover": True, "epoch": "e1", "offset": 7}, "b": {}},
                },
            },
            Connect(id=1, token="t", since={"a": HERE, "b": None}),
        ),
        ({"id": 1, "subscribe": {"channel": "a"}}, Subscribe(id=1, channel="a")),
        (
            {
                "id": 1,
                "subscribe": {
                    "channel": "a",
                    "token": "t",
                    "recover": True,
                    "epoch": "e1",
                    "offset": 7,
                    "join_leave": True,
                    "flag": 3,
                    "tf": {"key": "k", "cmp": "ex"},
                },
            },
            Subscribe(
                id=1,
                channel="a",
                token="t",
                since=HERE,
                joins=True,
                strict=True,
                filter={"key": "k", "cmp": "ex"},
            ),
        ),
        (
            {"id": 1, "subscribe": {"channel": "a", "recover": True}},
            Subscribe(id=1, channel="a", since=Position("-", 0)),
        ),
        (
            {"id": 1, "subscribe": {"channel": "a", "epoch": "e1", "offset": 7, "flag": 1}},
            Subscribe(id=1, channel="a"),
        ),
        ({"id": 1, "unsubscribe": {"channel": "a"}}, Unsubscribe(id=1, channel="a")),
        (
            {"id": 1, "publish": {"channel": "a", "data": None}},
            Publish(id=1, channel="a", data=None),
        ),
        ({"id": 1, "presence": {"channel": "a"}}, AskPresence(id=1, channel="a")),
        ({"id": 1, "presence_stats": {"channel": "a"}}, AskPresenceStats(id=1, channel="a")),
        ({"id": 1, "history": {"channel": "a"}}, AskHistory(id=1, channel="a")),
        (
            {
                "id": 1,
                "history": {
                    "channel": "a",
                    "limit": -1,
                    "reverse": True,
                    "since": {"epoch": "e1", "offset": 7},
                },
            },
            AskHistory(id=1, channel="a", limit=-1, reverse=True, since=HERE),
        ),
        ({"id": 1, "rpc": {"method": "m"}}, Call(id=1, name="m", body={})),
        ({"id": 1, "rpc": {"method": "m", "data": {"a": 1}}}, Call(id=1, name="m", body={"a": 1})),
        ({"send": {"data": [1]}}, Send(data=[1])),
        ({"id": 1, "refresh": {"token": "t"}}, Refresh(id=1, token="t")),
        (
            {"id": 1, "sub_refresh": {"channel": "a", "token": "t"}},
            SubscriptionRefresh(id=1, channel="a", token="t"),
        ),
    ],
)
def test_commands(message: dict[str, Any], command: Command) -> None:
    assert DIALECT.decode(json.dumps(message)) == command


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"id":"1","ping":{}}',
        '{"id":-1}',
        '{"id":true}',
        '{"id":4294967296}',
        '{"subscribe":{"channel":"a"}}',
        '{"connect":{}}',
        '{"id":0,"rpc":{}}',
        '{"id":1.5}',
    ],
)
def test_what_cannot_be_answered_has_no_id(text: str) -> None:
    command = DIALECT.decode(text)
    assert isinstance(command, Malformed)
    assert command.id is None


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({}, 104),
        ({"fly": {}}, 104),
        ({"subscribe": []}, 107),
        ({"subscribe": {}}, 107),
        ({"subscribe": {"channel": 7}}, 107),
        ({"subscribe": {"channel": "a" * 256}}, 107),
        ({"subscribe": {"channel": "a", "type": 1}}, 107),
        ({"subscribe": {"channel": "a", "recover": True, "offset": -1}}, 107),
        ({"subscribe": {"channel": "a", "recover": True, "epoch": "e" * 129}}, 107),
        ({"subscribe": {"channel": "a", "token": 1}}, 107),
        ({"connect": {"subs": [1]}}, 107),
        ({"publish": {"channel": "a"}}, 107),
        ({"publish": {"channel": "a", "data": 1, "type": 1}}, 107),
        ({"history": {"channel": "a", "limit": "1"}}, 107),
        ({"history": {"channel": "a", "since": 3}}, 107),
        ({"rpc": {"method": "m", "data": [1]}}, 107),
        ({"refresh": {}}, 107),
        ({"sub_refresh": {"channel": "a"}}, 107),
    ],
)
def test_what_is_wrong_with_a_command_is_said(request_: dict[str, Any], code: int) -> None:
    command = DIALECT.decode(json.dumps({"id": 9, **request_}))
    assert isinstance(command, Malformed)
    assert (command.id, command.code.number) == (9, code)


NAMES = ["id", "connect", "subscribe", "publish", "history", "rpc", "send", "channel", "data"]
WORDS = [*NAMES, "subs", "recover", "epoch", "offset", "token", "tf", "flag", "since", "limit"]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=4) | VALUES)
def test_the_decoder_never_raises(message: Any) -> None:
    assert isinstance(DIALECT.decode(json.dumps(message)), Command)


@given(st.text(max_size=40) | st.binary(max_size=40))
def test_nor_on_what_is_no_json(text: str | bytes) -> None:
    assert isinstance(DIALECT.decode(text), Command)


TEXT = st.text(alphabet=st.characters(codec="utf-8"), max_size=20)


@given(
    type=st.none() | TEXT,
    source=st.none() | TEXT,
    key=st.none() | TEXT,
    tags=st.none() | st.dictionaries(TEXT, TEXT, max_size=3),
    data=VALUES,
    offset=st.integers(0, 2**40),
)
def test_a_publication_is_always_one_line_of_json(
    type: str | None,
    source: str | None,
    key: str | None,
    tags: dict[str, str] | None,
    data: Any,
    offset: int,
) -> None:
    publication = Publication(
        type=type,
        source=source,
        key=key,
        tags=tags,
        data=json.dumps(data).encode(),
        offset=offset,
        time=NOON,
    )
    frame = DIALECT.publication("a:b", publication)
    assert b"\n" not in frame
    pub = json.loads(frame)["push"]["pub"]
    assert pub.get("offset", 0) == offset
    assert (pub["data"] if type is None else pub["data"]["data"]) == data
