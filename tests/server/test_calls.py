"""The server API answers alike past the application's middleware and through it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.server import API_KEY, Server

KEY = {"X-API-Key": API_KEY}
JSON = {"Content-Type": "application/json"}
SAID = {"channel": "calls", "data": {"n": 1}}


def pieces(body: bytes) -> Iterator[bytes]:
    half = len(body) // 2
    yield body[:half]
    yield body[half:]


def both(live: Server, path: str, content: Any, headers: dict[str, str]) -> tuple[Any, Any]:
    """The answers past the middleware, and through it: there goes what a page sends."""
    said = []
    for more in ({}, {"Origin": live.url}):
        body = pieces(content[0]) if isinstance(content, tuple) else content
        response = live.client.post(path, content=body, headers={**headers, **more})
        kept = {name: value for name, value in response.headers.items() if name != "date"}
        said.append((response.status_code, response.content, kept))
    return said[0], said[1]


def encoded(value: Any) -> bytes:
    return json.dumps(value).encode()


@pytest.mark.parametrize(
    ("path", "content", "headers", "status"),
    [
        ("publish", encoded(SAID), {}, 401),
        ("publish", encoded(SAID), {"X-API-Key": "wrong"}, 401),
        ("publish", b"", KEY, 400),
        ("publish", b"{", KEY, 400),
        ("publish", b"\xff", KEY | JSON, 400),
        ("publish", b"[" * 40 + b"]" * 40, KEY, 400),
        ("publish", b"7", KEY, 200),
        ("publish", encoded({"channel": "calls"}), KEY, 200),
        ("publish", encoded({**SAID, "channel": ""}), KEY, 200),
        ("publish", encoded({**SAID, "data": "x" * 70_000}), KEY, 413),
        ("publish", (encoded({**SAID, "data": "x" * 70_000}),), KEY, 413),
        ("publish", (encoded({"channel": 1}),), KEY, 200),
        ("batch", (b"{" + b" " * 1_100_000,), KEY, 413),
        ("batch", encoded({"commands": [{"nothing": {}}, {"presence": {}}]}), KEY, 200),
        ("broadcast", encoded({"channels": [], "data": 1}), KEY, 200),
        ("presence_stats", (encoded({"channel": "calls"}),), KEY | JSON, 200),
        ("nothing", b"{}", KEY, 404),
    ],
)  # fmt: skip
def test_both_ways_answer_alike(
    live: Server, path: str, content: Any, headers: dict[str, str], status: int
) -> None:
    past, through = both(live, f"/api/{path}", content, headers)
    assert past == through
    assert past[0] == status


def test_what_is_said_both_ways_is_on_one_channel(live: Server) -> None:
    for body in (encoded(SAID), (encoded(SAID),)):
        past, through = both(live, "/api/publish", body, KEY)
        offsets = [json.loads(said[1])["result"]["offset"] for said in (past, through)]
        assert offsets[1] == offsets[0] + 1


def test_a_key_used_with_another_body_is_a_conflict_both_ways(live: Server) -> None:
    keyed = {**SAID, "idempotency_key": "of the calls"}
    assert both(live, "/api/publish", encoded(keyed), KEY)[0][0] == 200
    past, through = both(live, "/api/publish", encoded({**keyed, "data": 2}), KEY)
    assert past == through
    assert past[0] == 409
