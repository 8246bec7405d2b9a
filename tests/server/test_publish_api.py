from __future__ import annotations

import json
import socket
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.server import API_KEY, Server


def channel() -> str:
    return f"news-{uuid.uuid4().hex[:8]}"


def raw(live: Server, content: bytes | Iterator[bytes], key: str | None = API_KEY) -> Any:
    headers = {} if key is None else {"X-API-Key": key}
    return live.client.post("/api/publish", content=content, headers=headers)


def test_the_answer_is_the_position(live: Server) -> None:
    name = channel()
    results = [live.publish({"channel": name, "data": {"n": n}}).json()["result"] for n in range(3)]
    assert [result["offset"] for result in results] == [1, 2, 3]
    assert len({result["epoch"] for result in results}) == 1


@pytest.mark.parametrize("key", [None, "", "wrong", API_KEY + "x", "é"])
def test_without_the_key_nobody(live: Server, key: str | None) -> None:
    headers = {} if key is None else {b"X-API-Key": key.encode()}
    body = {"channel": "x", "data": 1}
    response = live.client.post("/api/publish", json=body, headers=headers)
    assert response.status_code == 401
    assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff",
        b'{"channel":"x","data":NaN}',
        b'{"channel":"x","data":1e999}',
        b'{"channel":"x","data":"\\ud800"}',
        b'{"channel":"x","data":' + b"[" * 40 + b"]" * 40 + b"}",
        b"[" * 50_000,
    ],
)
def test_what_is_no_json_is_400(live: Server, content: bytes) -> None:
    response = raw(live, content)
    assert response.status_code == 400
    assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        {"channel": "x"},
        {"data": 1},
        {"channel": 7, "data": 1},
        {"channel": "no spaces", "data": 1},
        {"channel": "x" * 300, "data": 1},
        {"channel": "x", "data": 1, "type": ""},
        {"channel": "x", "data": 1, "type": "t" * 65},
        {"channel": "x", "data": 1, "tags": {"a": 1}},
        {"channel": "x", "data": 1, "tags": {str(n): "x" for n in range(33)}},
        {"channel": "x", "data": 1, "idempotency_key": ""},
        {"channel": "x", "data": 1, "key": 5},
    ],
)
def test_what_is_asked_wrongly_is_answered_in_centrifugos_shape(live: Server, body: Any) -> None:
    response = live.publish(body)
    assert response.status_code == 200
    error = response.json()["error"]
    assert error["code"] == 107
    assert error["message"]


def test_fields_we_do_not_know_are_passed_over(live: Server) -> None:
    body = {"channel": channel(), "data": 1, "skip_history": True, "delta": True, "x": {}}
    assert live.publish(body).json()["result"]["offset"] == 1


def test_too_long_is_413_however_it_is_said(live: Server) -> None:
    content = json.dumps({"channel": "x", "data": "x" * 70_000}).encode()
    assert raw(live, content).status_code == 413
    assert raw(live, iter([content[:40_000], content[40_000:]])).status_code == 413  # chunked
    fits = json.dumps({"channel": channel(), "data": "x" * 60_000}).encode()
    assert raw(live, iter([fits[:30_000], fits[30_000:]])).status_code == 200


def test_a_length_that_never_comes_is_413_without_waiting(live: Server) -> None:
    with socket.create_connection(("127.0.0.1", live.port), timeout=10) as slow:
        slow.sendall(
            f"POST /api/publish HTTP/1.1\r\nHost: x\r\nX-API-Key: {API_KEY}\r\n"
            "Content-Length: 99999999\r\n\r\n{".encode()
        )
        assert slow.recv(4096).startswith(b"HTTP/1.1 413")


def test_the_same_key_adds_nothing_and_another_body_is_409(live: Server) -> None:
    body = {"channel": channel(), "data": {"n": 1}, "idempotency_key": "k1"}
    first = live.publish(body)
    assert live.publish(body).json() == first.json()
    conflict = live.publish({**body, "data": {"n": 2}})
    assert conflict.status_code == 409
    assert conflict.headers["content-type"] == "application/problem+json"
    assert live.publish({**body, "idempotency_key": "k2"}).json()["result"]["offset"] == 2


def test_it_reaches_who_listens(live: Server) -> None:
    with live.listen(1) as ws:
        sent = {"any": ["json", 1, None]}
        live.publish({"channel": "aquarium:1", "data": sent})
        live.publish({"channel": "aquarium:1", "type": "note", "data": {"a": 1}})
        frames: list[Any] = []
        while len(frames) < 2:
            frame = json.loads(ws.recv(timeout=15))
            frames += [frame] if frame["type"] in ("update", "note") else []
    assert [(frame["type"], frame["data"]) for frame in frames] == [
        ("update", sent),
        ("note", {"a": 1}),
    ]
