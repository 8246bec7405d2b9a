"""Whatever is asked of a board, in any order: a list of lists says what has to come of it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.apps.cards.wall import Viewer, Wall, order_of

COLUMNS = ["a", "b", "c"]

RELAXED = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@dataclass
class Model:
    """The board as lists."""

    columns: dict[str, list[str]] = field(default_factory=lambda: {c: [] for c in COLUMNS})
    versions: dict[str, int] = field(default_factory=dict)

    def column_of(self, id: str) -> str:
        return next(name for name, ids in self.columns.items() if id in ids)

    def take(self, id: str) -> None:
        self.columns[self.column_of(id)].remove(id)

    def order(self) -> dict[str, list[str]]:
        return {name: ids for name, ids in self.columns.items() if ids}


class Walk:
    """Asks the app and the model, and compares what they say."""

    def __init__(self, wall: Wall) -> None:
        self.wall = wall
        self.model = Model()

    async def ask(self, method: str, path: str, status: int, body: Any = None) -> Any:
        response = await self.wall.call(method, path, body)
        assert response.status_code == status, (method, path, body, response.text)
        return response.json() if response.content else None

    def pick(self, number: int) -> str:
        ids = sorted(self.model.versions)
        return ids[number % len(ids)] if ids else "card-0"

    def expected(self, id: str, version: int, column_id: str | None = None) -> int:
        if id not in self.model.versions:
            return 404
        if version != self.model.versions[id]:
            return 409
        return 200 if column_id is None or column_id in self.model.columns else 422

    async def create(self, column_id: str) -> None:
        status = 201 if column_id in self.model.columns else 422
        made = await self.ask("POST", "/cards", status, {"title": "x", "column_id": column_id})
        if status == 201:
            self.model.columns[column_id].append(made["id"])
            self.model.versions[made["id"]] = 1

    async def move(self, number: int, column_id: str, behind: int | None, stale: int) -> None:
        id = self.pick(number)
        version = max(1, self.model.versions.get(id, 1) - stale)
        after = None if behind is None else self.pick(behind)
        status = self.expected(id, version, column_id)
        if after == id:
            status = 422
        elif status == 200 and after is not None and after not in self.model.columns[column_id]:
            status = 409
        body = {"column_id": column_id, "version": version, "after_id": after}
        await self.ask("POST", f"/cards/{id}/move", status, body)
        if status == 200:
            before = [list(ids) for ids in self.model.columns.values()]
            self.model.take(id)
            column = self.model.columns[column_id]
            column.insert(0 if after is None else column.index(after) + 1, id)
            if before != list(self.model.columns.values()):
                self.model.versions[id] += 1

    async def patch(self, number: int, column_id: str, stale: int) -> None:
        id = self.pick(number)
        version = max(1, self.model.versions.get(id, 1) - stale)
        status = self.expected(id, version, column_id)
        body = {"version": version, "column_id": column_id}
        await self.ask("PATCH", f"/cards/{id}", status, body)
        if status == 200 and self.model.column_of(id) != column_id:
            self.model.take(id)
            self.model.columns[column_id].append(id)
            self.model.versions[id] += 1

    async def delete(self, number: int, stale: int) -> None:
        id = self.pick(number)
        version = max(1, self.model.versions.get(id, 1) - stale)
        status = self.expected(id, version)
        await self.ask("DELETE", f"/cards/{id}?version={version}", 204 if status == 200 else status)
        if status == 200:
            self.model.take(id)
            del self.model.versions[id]

    async def board(self, columns: list[str]) -> None:
        keeps = all(not ids or name in columns for name, ids in self.model.columns.items())
        await self.ask("PUT", "/board", 200 if keeps else 409, {"columns": columns})
        if keeps:
            self.model.columns = {name: self.model.columns.get(name, []) for name in columns}


names = st.sampled_from([*COLUMNS, "d"])
numbers = st.integers(0, 5)
stales = st.sampled_from([0, 0, 0, 1])
steps = st.one_of(
    st.tuples(st.just("create"), names),
    st.tuples(st.just("move"), numbers, names, st.none() | numbers, stales),
    st.tuples(st.just("move"), numbers, st.just("a"), st.none() | numbers, st.just(0)),
    st.tuples(st.just("patch"), numbers, names, stales),
    st.tuples(st.just("delete"), numbers, stales),
    st.tuples(st.just("board"), st.lists(names, min_size=1, unique=True)),
)


@settings(RELAXED, max_examples=30)
@given(path=st.lists(steps, min_size=5, max_size=30))
async def test_the_board_is_what_a_list_of_lists_would_be(wall: Wall, path: list[Any]) -> None:
    for card in (await wall.stored()).values():
        await wall.ok("DELETE", f"/cards/{card['id']}?version={card['version']}")
    await wall.ok("PUT", "/board", {"columns": COLUMNS})
    walk = Walk(wall)
    peer = await wall.subscribe("cards")
    for name, *arguments in path:
        await getattr(walk, name)(*arguments)
        stored = await wall.stored()
        assert order_of(stored) == walk.model.order()
        assert {id: card["version"] for id, card in stored.items()} == walk.model.versions
    viewer = Viewer().hear(peer.frames)
    peer.leave()
    assert (viewer.cards, viewer.order()) == (stored, walk.model.order())
    assert viewer.board == await wall.ok("GET", "/board")
    assert viewer.board["columns"] == list(walk.model.columns)


# -- whatever is sent ---------------------------------------------------------------------------

texts = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["card-1", "plan", "\ud800", "\0", "x" * 300, "~", "-1", "1e9"]),
)
odd = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, 1, 2, 2**53, 2**63, 10**30, -1, 0.5, float("nan"), float("inf")]),
    texts,
    st.lists(texts, max_size=3),
    st.dictionaries(texts, texts, max_size=2),
)
FIELDS = ["title", "description", "labels", "column_id", "after_id", "version", "columns", "x"]
bodies = st.one_of(
    st.fixed_dictionaries(
        {},
        optional={
            **{name: odd for name in FIELDS},
            "version": st.just(1) | odd,
            "column_id": names | odd,
        },
    ),
    odd,
)
queries = st.dictionaries(
    st.sampled_from(["column_id", "limit", "cursor", "version"]),
    st.one_of(texts, st.sampled_from(["plan", "1", "WyJhIiwiYiJd", "W10=", "WzFlOTksMV0="])),
)
paths = st.one_of(
    st.sampled_from(["board", "cards", "cards/card-1", "cards/card-1/move"]),
    texts.map(lambda text: f"cards/{quote(text, errors='replace', safe='')}"),
)
methods = st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"])


@settings(RELAXED, max_examples=120)
@given(method=methods, path=paths, query=queries, body=bodies)
async def test_no_request_is_our_fault(
    wall: Wall, method: str, path: str, query: dict[str, str], body: Any
) -> None:
    response = await wall.client.request(
        method,
        f"/api/v1/{path}?{urlencode(query, errors='replace')}",
        content=json.dumps(body),
        headers={"Authorization": f"Bearer {wall.token()}", "Content-Type": "application/json"},
    )
    assert response.status_code < 500, response.text
    if response.status_code >= 400 and response.status_code not in (404, 405):
        assert response.headers["content-type"] == "application/problem+json"
    assert wall.storage.healthy


@pytest.fixture
async def wall(tmp_path: Path) -> AsyncIterator[Wall]:
    """One board for all examples of a test; the first card is there."""
    async with Wall.running(tmp_path / "cards.db") as wall:
        await wall.card()
        yield wall
