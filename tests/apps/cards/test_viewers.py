"""What viewers are told: snapshots, events, and one order for all of them."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from cardume.apps.cards import changes
from cardume.apps.cards.overview import Latest
from cardume.errors import Refused
from cardume.hub.options import HubOptions
from cardume.wire import codes
from cardume.wire.messages import Position
from tests.apps.cards.wall import Viewer, Wall, order_of
from tests.support.peers import Peer


def types(peer: Peer) -> list[str]:
    return [frame["type"] for frame in peer.frames]


async def test_the_snapshot_is_the_board_by_columns_and_positions(wall: Wall) -> None:
    done = await wall.card("c", "done", description="Long ago")
    a, b = await wall.cards("a", "b")
    b = await wall.moved(b, "backlog")
    (snapshot,) = (await wall.subscribe("cards")).of_type("snapshot")
    assert snapshot["data"] == {
        "board": await wall.ok("GET", "/board"),
        "cards": [b, a, done],
        "total": 3,
        "truncated": False,
    }
    assert snapshot["offset"] == 4


async def test_each_change_goes_to_the_board_and_to_the_card(wall: Wall) -> None:
    card = await wall.card()
    await wall.card("another")
    board, one = await wall.subscribe("cards"), await wall.subscribe(f"card:{card['id']}")
    assert one.frames[0]["data"] == card
    changed = await wall.ok("PATCH", f"/cards/{card['id']}", {"version": 1, "title": "x"})
    moved = await wall.moved(changed, "plan")
    await wall.clock.advance(60)
    await wall.ok("DELETE", f"/cards/{card['id']}?version=3", who="eva")
    await wall.card("a third")
    events = ["card_updated", "card_moved", "card_deleted"]
    assert types(one) == ["snapshot", *events]
    assert types(board) == ["snapshot", *events, "card_created"]
    told = [frame["data"] for frame in one.frames[1:]]
    assert told == [frame["data"] for frame in board.frames[1:4]]
    assert told[:2] == [changed, moved]
    assert told[2] == {
        **moved,
        "version": 4,
        "updated_at": told[2]["updated_at"],
        "updated_by": "eva",
    }
    assert told[2]["updated_at"] > moved["updated_at"]


async def test_what_was_refused_is_announced_to_nobody(wall: Wall) -> None:
    card = await wall.card()
    viewer = await wall.subscribe("cards")
    await wall.call("PATCH", f"/cards/{card['id']}", {"version": 9, "title": "x"})
    await wall.move(card, "attic")
    await wall.call("PUT", "/board", {"columns": ["done"]})
    assert types(viewer) == ["snapshot"]


async def test_a_card_that_is_not_there_cannot_be_watched(wall: Wall) -> None:
    card = await wall.card()
    await wall.ok("DELETE", f"/cards/{card['id']}?version=1")
    for id in (card["id"], "card-9", "x"):
        with pytest.raises(Refused) as refused:
            await wall.subscribe(f"card:{id}")
        assert codes.close_of_status(refused.value.code.status) is codes.NOT_AVAILABLE_CLOSE


async def test_who_comes_back_gets_what_it_missed(wall: Wall) -> None:
    (card,) = await wall.cards("a")
    viewer = await Peer(wall.hub).enter("cards")
    held = Viewer().hear(viewer.frames)
    greeting = viewer.frames[0]["data"]
    viewer.leave()
    await wall.moved(card, "plan")
    since = Position(greeting["epoch"], greeting["offset"])
    again = await Peer(wall.hub).enter("cards", since)
    assert [f["type"] for f in again.frames] == ["connected", "card_moved"]
    assert held.hear(again.frames).order() == {"plan": [card["id"]]}


async def test_of_one_card_a_little_is_kept_for_those_who_come_back(wall: Wall) -> None:
    card = await wall.card(description="x" * 16_000)
    viewer = await Peer(wall.hub).enter(f"card:{card['id']}")
    start = viewer.frames[0]["data"]
    viewer.leave()

    async def recovered(since: int) -> bool:
        place = Position(start["epoch"], since)
        again = await Peer(wall.hub).enter(f"card:{card['id']}", place)
        again.leave()
        return bool(again.frames[0]["data"]["recovered"])

    for n in range(5):
        card = await wall.moved(card, ("plan", "done")[n % 2])
    assert await recovered(start["offset"] + 2)
    assert not await recovered(start["offset"])  # five times 16 KiB are more than 64
    await wall.ok("PATCH", f"/cards/{card['id']}", {"version": 6, "description": ""})
    for n in range(7, 62):
        await wall.moved({**card, "version": n}, ("plan", "done")[n % 2])
    top = start["offset"] + 5 + 1 + 55
    assert await recovered(top - 50)
    assert not await recovered(top - 51)


# -- many at once -------------------------------------------------------------------------------


async def test_of_two_who_move_one_card_at_once_one_is_told_what_the_other_did(
    wall: Wall,
) -> None:
    card = await wall.card()
    answers = await asyncio.gather(wall.move(card, "plan"), wall.move(card, "done", who="eva"))
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    kept, refused = sorted(answers, key=lambda answer: answer.status_code)
    assert refused.json()["card"] == kept.json() == (await wall.stored())[card["id"]]


async def test_hundreds_of_moves_at_once_end_in_one_order_for_all_viewers(wall: Wall) -> None:
    made = await wall.cards(*(str(n) for n in range(50)))
    early = [await wall.subscribe("cards") for _ in range(5)]
    chance = random.Random(7)
    statuses: set[int] = set()

    async def wander(card: Any) -> None:
        for _ in range(4):
            column_id = chance.choice(["backlog", "plan", "done"])
            after = chance.choice([None, *made])
            answer = await wall.move(card, column_id, after)
            statuses.add(answer.status_code)
            if answer.status_code == 200:
                card = answer.json()

    late: list[Peer] = []

    async def look_in() -> None:
        for _ in range(5):
            await asyncio.sleep(0.02)
            late.append(await wall.subscribe("cards"))

    await asyncio.gather(look_in(), *(wander(card) for card in made))
    await wall.quiet()
    stored = await wall.stored()
    assert statuses <= {200, 409, 422}
    assert sum(card["version"] > 1 for card in stored.values()) > 25
    for peer in [*early, *late]:
        viewer = Viewer().hear(peer.frames)
        assert viewer.cards == stored
        assert viewer.order() == order_of(stored)
    offsets = [peer.offsets() for peer in early]
    assert all(
        seen == offsets[0] == list(range(offsets[0][0], offsets[0][-1] + 1)) for seen in offsets
    )


async def test_cards_sent_behind_one_card_at_once_stand_in_reverse_commit_order(
    wall: Wall,
) -> None:
    (anchor, *others) = await wall.cards("anchor", *"abcdefgh")
    viewer = await wall.subscribe("cards")
    await asyncio.gather(*(wall.moved(card, "backlog", anchor) for card in reversed(others)))
    told = [frame["data"]["title"] for frame in viewer.of_type("card_moved")]
    stays = [card["title"] for card in others if card["title"] not in told]
    assert await wall.order() == ["anchor", *reversed(told), *stays]


async def test_a_board_is_read_once_until_it_changes_even_while_it_is_read(wall: Wall) -> None:
    latest = Latest(wall.storage)
    shown = await latest.read(100_000)
    assert await latest.read(100_000) is shown
    latest.changed()
    reading = asyncio.create_task(latest.read(100_000))
    await asyncio.sleep(0)
    latest.changed()  # what is being read may be older than this
    again = await reading
    assert await latest.read(100_000) is not again


async def test_who_comes_after_a_change_is_shown_it(wall: Wall) -> None:
    (card,) = await wall.cards("a")
    for column_id in ("plan", "done", "plan"):
        await wall.app.overview()
        card = await wall.moved(card, column_id)
        await wall.ok("PUT", "/board", {"columns": ["plan", "done", f"c{card['version']}"]})
        viewer = Viewer().hear((await wall.subscribe("cards")).frames)
        assert viewer.cards == {card["id"]: card}
        assert viewer.board == await wall.ok("GET", "/board")


# -- much at once -------------------------------------------------------------------------------


async def test_a_board_beyond_an_outbox_comes_without_descriptions_and_says_so(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Wall.running(database) as wall:
        monkeypatch.setattr(wall.hub, "options", HubOptions(outbox_limit=16_000))
        made = [await wall.card(str(n), description="x" * 500) for n in range(20)]
        (snapshot,) = (await wall.subscribe("cards")).of_type("snapshot")
        data = snapshot["data"]
        assert (data["truncated"], data["total"], len(data["cards"])) == (True, 20, 20)
        for card, shown in zip(made, data["cards"], strict=True):
            assert card == {**shown, "description": "x" * 500}
            assert "description" not in shown


async def test_a_board_with_too_many_cards_is_cut_at_its_end(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Wall.running(database) as wall:
        limit = 16_000
        monkeypatch.setattr(wall.hub, "options", HubOptions(outbox_limit=limit))
        first = await wall.cards(*(str(n) for n in range(60)))
        await wall.cards("last", column_id="done")
        (snapshot,) = (await wall.subscribe("cards")).of_type("snapshot")
        shown = snapshot["data"]["cards"]
        assert (snapshot["data"]["truncated"], snapshot["data"]["total"]) == (True, 61)
        assert 20 < len(shown) < 60
        assert [card["id"] for card in shown] == [card["id"] for card in first[: len(shown)]]
        assert len(str(shown)) < limit


async def test_a_board_holds_so_many_cards(wall: Wall, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "MAX_CARDS", 2)
    await wall.cards("a", "b")
    refused = await wall.call("POST", "/cards", {"title": "c"})
    assert refused.status_code == 409
    assert "at most 2 cards" in refused.json()["detail"]
    assert len(await wall.stored()) == 2
