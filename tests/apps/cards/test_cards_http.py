"""Cards by HTTP: what is made, changed, moved and deleted, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.apps.cards.wall import Wall
from tests.support.databases import on_both

pytestmark = on_both

DEFAULT = ["backlog", "plan", "implement", "test", "review", "done"]


def problem(response: httpx2.Response, status: int) -> Any:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    return response.json()


async def test_a_card_is_made_read_changed_and_deleted(wall: Wall) -> None:
    made = await wall.ok("POST", "/cards", {"title": "Feed the fish"}, who="eva")
    assert made == {
        "id": "card-1",
        "board_id": "main",
        "column_id": "backlog",
        "title": "Feed the fish",
        "description": "",
        "labels": [],
        "position": made["position"],
        "version": 1,
        "created_at": made["created_at"],
        "updated_at": made["created_at"],
        "updated_by": "eva",
    }
    assert await wall.ok("GET", "/cards/card-1") == made
    await wall.clock.advance(5)
    patch = {"version": 1, "title": "Feed them", "description": "Twice\n", "labels": ["daily"]}
    changed = await wall.ok("PATCH", "/cards/card-1", patch)
    assert changed == {
        **made,
        **patch,
        "version": 2,
        "updated_at": changed["updated_at"],
        "updated_by": "ana",
    }
    assert changed["updated_at"] > made["updated_at"]
    assert await wall.ok("GET", "/cards/card-1") == changed
    assert await wall.ok("DELETE", "/cards/card-1?version=2") is None
    for method, body in (("GET", None), ("PATCH", {"version": 2})):
        problem(await wall.call(method, "/cards/card-1", body), 404)
    problem(await wall.move(changed, "plan"), 404)
    problem(await wall.call("DELETE", "/cards/card-1?version=2"), 404)
    assert (await wall.card())["id"] == "card-2"  # an id is never given twice


async def test_a_stale_write_is_409_and_carries_the_current_card(wall: Wall) -> None:
    card = await wall.card()
    current = await wall.ok("PATCH", f"/cards/{card['id']}", {"version": 1, "title": "Mine"})
    stale = [
        await wall.call("PATCH", f"/cards/{card['id']}", {"version": 1, "title": "Yours"}),
        await wall.call("DELETE", f"/cards/{card['id']}?version=1"),
        await wall.call("DELETE", f"/cards/{card['id']}?version={10**30}"),
        await wall.move(card, "plan"),
    ]
    for response in stale:
        said = problem(response, 409)
        assert (said["code"], said["card"]) == ("conflict", current)
    assert await wall.stored() == {card["id"]: current}


async def test_new_cards_go_to_the_end_of_the_first_column_or_of_theirs(wall: Wall) -> None:
    await wall.ok("PUT", "/board", {"columns": ["new", "old"]})
    for title in ("a", "b"):
        await wall.ok("POST", "/cards", {"title": title})
    await wall.cards("c", "d", column_id="old")
    assert await wall.order("new") == ["a", "b"]
    assert await wall.order("old") == ["c", "d"]


async def test_a_card_moves_to_the_top_and_behind_others(wall: Wall) -> None:
    a, b, c = await wall.cards("a", "b", "c")
    c = await wall.moved(c, "backlog")
    assert await wall.order() == ["c", "a", "b"]
    c = await wall.moved(c, "backlog", a)
    assert await wall.order() == ["a", "c", "b"]
    a = await wall.moved(a, "backlog", b)
    assert await wall.order() == ["c", "b", "a"]
    await wall.moved(b, "plan")
    await wall.moved(c, "plan", b)
    assert (await wall.order(), await wall.order("plan")) == (["a"], ["b", "c"])
    assert (a["version"], c["version"]) == (2, 3)


async def test_moving_one_card_touches_no_other(wall: Wall) -> None:
    a, b, c = await wall.cards("a", "b", "c")
    moved = await wall.moved(c, "backlog", a)
    assert await wall.stored() == {a["id"]: a, b["id"]: b, c["id"]: moved}


async def test_a_move_to_where_the_card_is_changes_and_announces_nothing(wall: Wall) -> None:
    a, b = await wall.cards("a", "b")
    viewer = await wall.subscribe("cards")
    assert await wall.moved(a, "backlog") == a
    assert await wall.moved(b, "backlog", a) == b
    patch = {"version": 1, "title": "b", "column_id": "backlog", "labels": []}
    assert await wall.ok("PATCH", f"/cards/{b['id']}", patch) == b
    assert await wall.ok("PATCH", f"/cards/{b['id']}", {"version": 1}) == b
    assert [frame["type"] for frame in viewer.frames] == ["snapshot"]


async def test_a_patch_with_another_column_goes_to_its_end(wall: Wall) -> None:
    (card,) = await wall.cards("a")
    await wall.cards("b", "c", column_id="plan")
    patch = {"version": 1, "column_id": "plan", "title": "A"}
    await wall.ok("PATCH", f"/cards/{card['id']}", patch)
    assert await wall.order("plan") == ["b", "c", "A"]


async def test_a_card_goes_behind_no_card_that_is_elsewhere(wall: Wall) -> None:
    a, b, gone = await wall.cards("a", "b", "gone")
    b = await wall.moved(b, "plan")
    await wall.ok("DELETE", f"/cards/{gone['id']}?version=1")
    before = await wall.stored()
    said = problem(await wall.move(a, "backlog", b), 409)
    assert (said["after_id"], said["column_id"]) == (b["id"], "plan")
    assert problem(await wall.move(a, "backlog", gone), 409)["column_id"] is None
    assert "behind itself" in problem(await wall.move(a, "backlog", a), 422)["detail"]
    assert await wall.stored() == before


async def test_an_unknown_column_is_422_and_names_those_there_are(wall: Wall) -> None:
    card = await wall.card()
    asked = [
        await wall.call("POST", "/cards", {"title": "x", "column_id": "attic"}),
        await wall.call("PATCH", f"/cards/{card['id']}", {"version": 1, "column_id": "attic"}),
        await wall.move(card, "attic"),
        await wall.call("GET", "/cards?column_id=attic"),
    ]
    for response in asked:
        said = problem(response, 422)
        assert (said["code"], said["columns"]) == ("invalid_fields", DEFAULT)
    assert await wall.stored() == {card["id"]: card}


WRONG: list[dict[str, Any]] = [
    {"title": ""},
    {"title": "  "},
    {"title": "\t\n"},
    {"title": "\u2003"},
    {"title": "x" * 301},
    {"title": "two\nlines"},
    {"title": None},
    {"description": "x" * (16 * 1024 + 1)},
    {"description": "é" * (8 * 1024 + 1)},
    {"description": "\0"},
    {"labels": [str(n) for n in range(33)]},
    {"labels": ["x" * 65]},
    {"labels": [""]},
    {"labels": ["x", " "]},
    {"labels": "x"},
    {"column_id": "Backlog"},
    {"column_id": "backlog\n"},
    {"column_id": 7},
    {"colour": "red"},
]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
async def test_a_wrong_field_is_422_and_changes_nothing(wall: Wall, wrong: dict[str, Any]) -> None:
    card = await wall.card()
    (field,) = wrong
    said = problem(await wall.call("POST", "/cards", {"title": "x", **wrong}), 422)
    assert said["detail"].startswith(field)
    patched = await wall.call("PATCH", f"/cards/{card['id']}", {"version": 1, **wrong})
    assert problem(patched, 422)["detail"].startswith(field)
    assert await wall.stored() == {card["id"]: card}


@pytest.mark.parametrize("version", [None, "1", 1.5, 0, -1, True])
async def test_a_version_is_a_number_from_1_on(wall: Wall, version: Any) -> None:
    card = await wall.card()
    body = {"version": version, "column_id": "plan"}
    problem(await wall.call("PATCH", f"/cards/{card['id']}", body), 422)
    problem(await wall.call("POST", f"/cards/{card['id']}/move", body), 422)
    problem(await wall.call("DELETE", f"/cards/{card['id']}"), 422)
    problem(await wall.call("DELETE", f"/cards/{card['id']}?version=0"), 422)
    assert await wall.stored() == {card["id"]: card}


async def test_what_is_allowed_is_allowed_to_the_last_character(wall: Wall) -> None:
    most = {
        "title": "é" * 300,
        "description": "é" * (8 * 1024),
        "labels": [f"{n:064}" for n in range(32)],
    }
    made = await wall.ok("POST", "/cards", most)
    assert {name: made[name] for name in most} == most


async def test_blanks_around_and_labels_given_twice_are_left_out(wall: Wall) -> None:
    sent = {"title": f" {'x' * 300}\n", "labels": ["b", "a", " b", "a "]}
    made = await wall.ok("POST", "/cards", sent)
    assert (made["title"], made["labels"]) == ("x" * 300, ["b", "a"])
    patch = {"version": 1, "title": f"{'x' * 300} ", "labels": ["b", "a", "a"]}
    assert await wall.ok("PATCH", f"/cards/{made['id']}", patch) == made
    patch = {"version": 1, "title": " y  z ", "labels": ["c", "c"]}
    changed = await wall.ok("PATCH", f"/cards/{made['id']}", patch)
    assert (changed["title"], changed["labels"]) == ("y  z", ["c"])


async def test_the_schema_gives_what_a_patch_leaves_out_no_value(wall: Wall) -> None:
    schemas = (await wall.client.get("/openapi.json")).json()["components"]["schemas"]
    patches = {name: schema for name, schema in schemas.items() if name.endswith("Patch")}
    assert list(patches) == ["CardPatch"]
    for schema in patches.values():
        assert schema["required"] == ["version"]
        assert not [name for name, member in schema["properties"].items() if "default" in member]
    assert schemas["NewCard"]["properties"]["labels"]["default"] == []


async def test_pages_hold_every_card_once_in_order(wall: Wall) -> None:
    plan = [card["id"] for card in await wall.cards(*"abcde", column_id="plan")]
    done = [card["id"] for card in await wall.cards(*"fg", column_id="done")]
    assert list(await wall.stored()) == [*done, *plan]
    found: list[str] = []
    more = ""
    for size in (2, 2, 1):
        page = await wall.ok("GET", f"/cards?column_id=plan&limit=2{more}")
        assert len(page["items"]) == size
        found += [card["id"] for card in page["items"]]
        more = f"&cursor={page['next']}"
    assert page["next"] is None
    assert found == plan
    # {"a": 1}, [1, 2] and ["x"]: cursors that nobody here wrote
    for wrong in ("eyJhIjoxfQ==", "WzEsMl0=", "WyJ4Il0=", "!"):
        problem(await wall.call("GET", f"/cards?cursor={wrong}"), 422)


async def test_nobody_without_a_token_and_anybody_with_one(wall: Wall) -> None:
    card = await wall.card()
    for method, path in (
        ("GET", "/board"),
        ("PUT", "/board"),
        ("GET", "/cards"),
        ("POST", "/cards"),
        ("GET", f"/cards/{card['id']}"),
        ("PATCH", f"/cards/{card['id']}"),
        ("POST", f"/cards/{card['id']}/move"),
        ("DELETE", f"/cards/{card['id']}?version=1"),
    ):
        assert (await wall.call(method, path, who=None)).status_code == 401
    changed = await wall.ok(
        "PATCH", f"/cards/{card['id']}", {"version": 1, "title": "x"}, who="zoe"
    )
    assert changed["updated_by"] == "zoe"


async def test_cards_and_their_order_survive_a_restart(wall: Wall, database: Path) -> None:
    a, _, c = await wall.cards("a", "b", "c")
    await wall.moved(c, "backlog", a)
    await wall.ok("PUT", "/board", {"columns": ["backlog", "done"]})
    before = await wall.stored()
    async with Wall.running(database, wall.clock) as again:
        assert await again.stored() == before
        assert await again.order() == ["a", "c", "b"]
        assert (await again.ok("GET", "/board"))["columns"] == ["backlog", "done"]
        assert (await again.card())["id"] == "card-4"
