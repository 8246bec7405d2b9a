"""Where a gap is full, the cards around it make room; all others stay, and so do versions."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert

from cardume.apps.cards import ranks
from cardume.apps.cards.places import NARROW, WIDE
from cardume.apps.cards.ranks import DIGITS, HEAD, MAX_LENGTH, between, spread
from cardume.storage.tables import cards as stored_cards
from tests.apps.cards.test_walk import RELAXED
from tests.apps.cards.wall import Viewer, Wall

LAST = DIGITS[-1] * MAX_LENGTH


def spread_out(count: int) -> list[str]:
    keys = spread(count)
    assert keys is not None
    return keys


def filled(before: str, after: str | None, *, downwards: bool = True) -> list[str]:
    """Keys between two, until there is no room behind `before`, or else ahead of `after`."""
    low, high, keys = before, after, []
    while (key := between(low, high)) is not None:
        keys.append(key)
        low, high = (low, key) if downwards else (key, high)
    return sorted(keys)


@cache
def _tails() -> list[str]:
    return [key[HEAD:] for key in filled("V00000", "V00001")]


def full_gap(head: str) -> list[str]:
    """Keys right behind `head`, with no room ahead of the first."""
    return [head + tail for tail in _tails()]


async def put(wall: Wall, positions: list[str]) -> None:
    """Cards "0", "1"... at these positions of the first column, and nothing else there."""
    same = {
        "board_id": "main",
        "column_id": "backlog",
        "description": "",
        "labels": [],
        "version": 1,
        **dict.fromkeys(("created_at", "updated_at"), wall.clock.now()),
        **dict.fromkeys(("created_by", "updated_by"), "ana"),
    }
    rows = [
        {**same, "card_id": f"old-{n}", "title": str(n), "position": position}
        for n, position in enumerate(positions)
    ]
    async with wall.storage.write() as tx:
        await tx.execute(delete(stored_cards))
        await tx.execute(insert(stored_cards), rows)
        tx.on_commit(wall.app._latest.changed)


async def titles(wall: Wall) -> list[str]:
    return [card["title"] for card in (await wall.stored()).values()]


async def squeeze_in(wall: Wall, positions: list[str], at: int) -> int:
    """Put a card behind number `at`; how many others were given a new position for it."""
    await put(wall, positions)
    before = await wall.stored()
    card = await wall.card("new", "plan")
    viewer = await wall.subscribe("cards")
    moved = await wall.moved(card, "backlog", {"id": f"old-{at}"})
    viewer.leave()
    wanted = [str(n) for n in range(len(positions))]
    wanted.insert(at + 1, "new")
    stored = await wall.stored()
    assert list(stored) == [f"old-{t}" if t != "new" else card["id"] for t in wanted]
    told = viewer.of_type("card_moved")
    changed = [id for id, was in before.items() if stored[id] != was]
    assert [frame["data"]["id"] for frame in told] == [*changed, card["id"]]
    for id, was in before.items():
        assert stored[id] == {**was, "position": stored[id]["position"]}
    assert stored[card["id"]] == moved
    assert len(moved["position"]) < MAX_LENGTH
    # The board's snapshot is of that time, and has what fits; the rest comes from pages.
    viewer_holds = Viewer()
    viewer_holds.cards = {**before, card["id"]: card}
    assert viewer_holds.hear(told).cards == stored
    return len(changed)


@pytest.mark.parametrize("downwards", [True, False])
async def test_of_a_long_column_only_the_cards_around_a_full_gap_move(
    wall: Wall, downwards: bool
) -> None:
    keys = spread_out(2000)
    squeezed = filled(keys[999], keys[1000], downwards=downwards)
    keys[1000:1000] = squeezed
    assert len(keys) > 2470
    at = 999 if downwards else 999 + len(squeezed)
    assert between(keys[at], keys[at + 1]) is None
    assert 0 < await squeeze_in(wall, keys, at) <= NARROW


async def test_where_all_of_a_column_was_squeezed_no_more_than_a_window_moves(wall: Wall) -> None:
    keys = spread(2500, "V00000", "V00001", longest=MAX_LENGTH)
    assert keys is not None
    assert min(map(len, keys)) > HEAD
    keys[1200:1200] = filled(keys[1199], keys[1200])
    assert NARROW < await squeeze_in(wall, keys, 1199) <= WIDE


async def test_the_window_grows_until_positions_are_of_normal_length(wall: Wall) -> None:
    keys = ["V00000", *filled("V00000", "V00001"), "V00001"]
    at = next(n for n in range(40, len(keys)) if len(keys[n]) > 80 and len(keys[n - 1]) > 80)
    keys[at:at] = filled(keys[at - 1], keys[at])
    at = next(n for n in range(len(keys) - 1) if between(keys[n], keys[n + 1]) is None and n > 9)
    moved = await squeeze_in(wall, keys, at)
    assert NARROW < moved <= WIDE
    stored = await wall.stored()
    assert sum(len(card["position"]) == HEAD for card in stored.values()) > moved


async def test_the_top_of_a_column_may_run_out_of_room(wall: Wall) -> None:
    keys = ["000000", *spread_out(50)]
    await put(wall, keys)
    card = await wall.card("new", "plan")
    await wall.moved(card, "backlog")
    assert await titles(wall) == ["new", *(str(n) for n in range(51))]
    moved = [id for id, card in (await wall.stored()).items() if card["position"] not in keys]
    assert len(moved) <= NARROW // 2 + 1


async def test_the_end_of_a_column_may_run_out_of_room_as_well(wall: Wall) -> None:
    low, new, *_ = spread_out(3)  # what they will be given: of one it is the other's place now
    await put(wall, [low[:-1], low, LAST])
    assert new not in (low[:-1], low, LAST)
    viewer = await wall.subscribe("cards")
    fourth = await wall.card("d")
    assert await titles(wall) == ["0", "1", "2", "d"]
    assert len(fourth["position"]) == HEAD
    assert sorted(f["data"]["title"] for f in viewer.frames[1:]) == ["0", "1", "2", "d"]
    stored = await wall.stored()
    assert Viewer().hear(viewer.frames).cards == stored
    assert {card["version"] for card in stored.values()} == {1}


async def test_the_end_of_a_long_column_is_spread_by_its_last_cards_alone(wall: Wall) -> None:
    keys = [*spread_out(100), LAST]
    await put(wall, keys)
    await wall.card("new")
    assert await titles(wall) == [*(str(n) for n in range(101)), "new"]
    moved = [id for id, card in (await wall.stored()).items() if card["position"] not in keys]
    assert len(moved) <= NARROW // 2 + 1


async def test_a_column_that_runs_out_of_room_again_and_again_keeps_its_order(
    wall: Wall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranks, "MAX_LENGTH", HEAD)
    cards = await wall.cards("top", *(str(n) for n in range(20)))
    other = await wall.card("elsewhere", "plan")
    viewer = await wall.subscribe("cards")
    wanted = [card["title"] for card in cards[1:]]
    for card in cards[1:]:
        moved = await wall.moved(card, "backlog", cards[0])
        assert moved["version"] == 2 or card is cards[1]
        wanted.remove(card["title"])
        wanted.insert(0, card["title"])
        assert await wall.order() == ["top", *wanted]
    stored = await wall.stored()
    # Nineteen moves, for the first card was there already; and some more, to make room.
    assert 19 < len(viewer.of_type("card_moved")) <= 19 + len(cards)
    assert stored[other["id"]] == other
    assert {card["version"] for card in stored.values()} == {1, 2}
    assert Viewer().hear(viewer.frames).cards == stored


heads = st.text(DIGITS, min_size=HEAD, max_size=HEAD)


@settings(RELAXED, max_examples=25)
@given(
    column=st.lists(heads, min_size=1, max_size=12, unique=True),
    squeezed=st.lists(st.integers(0, 11), min_size=1, max_size=3),
    count=st.integers(1, 200),
)
async def test_whatever_there_is_around_a_full_gap_the_order_stays(
    wall: Wall, column: list[str], squeezed: list[int], count: int
) -> None:
    chosen = sorted(column)[squeezed[0] % len(column)]
    keys = sorted(
        {key for at in squeezed for key in full_gap(column[at % len(column)])[:count]}
        | set(full_gap(chosen)[:count])
        | set(column)
    )
    assert between(chosen, keys[keys.index(chosen) + 1]) is None
    assert 0 < await squeeze_in(wall, keys, keys.index(chosen)) <= WIDE
