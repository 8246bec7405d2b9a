"""The board and its columns."""

from __future__ import annotations

from typing import Any

import pytest

from cardume.storage.tables import boards
from tests.apps.cards.wall import Viewer, Wall

DEFAULT = ["backlog", "plan", "implement", "test", "review", "done"]


async def test_there_is_a_board_from_the_start(wall: Wall) -> None:
    board = await wall.ok("GET", "/board")
    assert board == {
        "board_id": "main",
        "columns": DEFAULT,
        "version": 1,
        "updated_at": board["updated_at"],
        "updated_by": "system",
    }


async def test_columns_are_replaced_and_viewers_are_told(wall: Wall) -> None:
    viewer = await wall.subscribe("cards")
    await wall.clock.advance(3)
    columns = ["done", "ideas", "backlog"]
    board = await wall.ok("PUT", "/board", {"columns": columns}, who="eva")
    assert (board["columns"], board["version"], board["updated_by"]) == (columns, 2, "eva")
    assert await wall.ok("GET", "/board") == board
    (told,) = viewer.of_type("board_updated")
    assert (told["data"], told["channel"], told["offset"]) == (board, "cards", 1)
    assert Viewer().hear(viewer.frames).board == board
    assert await wall.ok("PUT", "/board", {"columns": columns, "version": 2}) == board
    assert len(viewer.of_type("board_updated")) == 1


async def test_a_column_that_holds_cards_cannot_go(wall: Wall) -> None:
    await wall.cards("a", "b", column_id="plan")
    card = await wall.card("c", "test")
    before = await wall.rows(boards)
    refused = await wall.call("PUT", "/board", {"columns": ["backlog", "done"]})
    said = refused.json()
    assert (refused.status_code, said["code"]) == (409, "conflict")
    assert said["columns"] == ["plan", "test"]
    assert "plan (2), test (1)" in said["detail"]
    assert await wall.rows(boards) == before
    await wall.moved(card, "plan")
    board = await wall.ok("PUT", "/board", {"columns": ["plan"]})
    assert board["columns"] == ["plan"]


async def test_columns_may_change_places_under_their_cards(wall: Wall) -> None:
    await wall.cards("a", column_id="plan")
    await wall.cards("b", column_id="done")
    await wall.ok("PUT", "/board", {"columns": ["done", "plan"]})
    (snapshot,) = (await wall.subscribe("cards")).of_type("snapshot")
    assert [card["title"] for card in snapshot["data"]["cards"]] == ["b", "a"]


async def test_with_a_version_a_stale_board_is_409_and_carries_the_current_one(wall: Wall) -> None:
    board = await wall.ok("PUT", "/board", {"columns": ["a", "b"], "version": 1})
    refused = await wall.call("PUT", "/board", {"columns": ["c"], "version": 1})
    assert (refused.status_code, refused.json()["board"]) == (409, board)
    assert await wall.ok("GET", "/board") == board


@pytest.mark.parametrize(
    "columns",
    [
        [],
        ["plan", "plan"],
        ["Plan"],
        ["1st"],
        ["x" * 65],
        ["plan\n"],
        [""],
        [None],
        "plan",
        None,
        [f"c{n}" for n in range(51)],
    ],
    ids=str,
)
async def test_wrong_columns_are_422_and_change_nothing(wall: Wall, columns: Any) -> None:
    refused = await wall.call("PUT", "/board", {"columns": columns})
    assert refused.status_code == 422
    assert refused.json()["detail"].startswith("columns")
    assert (await wall.ok("GET", "/board"))["columns"] == DEFAULT


async def test_as_many_columns_as_are_allowed(wall: Wall) -> None:
    columns = [f"{'c' * 60}-{n}" for n in range(50)]
    assert (await wall.ok("PUT", "/board", {"columns": columns}))["columns"] == columns
