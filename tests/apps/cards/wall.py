"""The cards app on a real hub and a real database, and a viewer that only listens."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import httpx2
from fastapi import APIRouter

from cardume.apps import cards as cards_app
from cardume.apps.cards import Cards
from tests.support.life import Json, Life
from tests.support.peers import Frame


class Wall(Life):
    """One life of the cards app."""

    app: Cards

    def make(self, **options: Any) -> Cards:
        self.app = Cards(self.hub, self.storage)
        return self.app

    @staticmethod
    def router(app: Cards) -> APIRouter:
        return cards_app.router(app)

    async def card(self, title: str = "A card", column_id: str = "backlog", **more: Any) -> Json:
        return await self.ok("POST", "/cards", {"title": title, "column_id": column_id, **more})

    async def cards(self, *titles: str, column_id: str = "backlog") -> list[Json]:
        """New cards, one below the other."""
        return [await self.card(title, column_id) for title in titles]

    async def move(
        self, card: Json, column_id: str, after: Json | None = None, **who: Any
    ) -> httpx2.Response:
        """Ask to move `card` behind another; its `version` is what we know of it."""
        body = {"column_id": column_id, "version": card["version"]}
        body |= {} if after is None else {"after_id": after["id"]}
        return await self.call("POST", f"/cards/{card['id']}/move", body, **who)

    async def moved(self, card: Json, column_id: str, after: Json | None = None) -> Json:
        response = await self.move(card, column_id, after)
        assert response.status_code == 200, response.text
        return response.json()

    async def stored(self) -> dict[str, Json]:
        """All cards, by id, as the HTTP API pages them."""
        found: dict[str, Json] = {}
        path = "/cards?limit=1000"
        cursor = ""
        while True:
            page = await self.ok("GET", f"{path}{cursor}")
            found |= {card["id"]: card for card in page["items"]}
            if page["next"] is None:
                return found
            cursor = f"&cursor={page['next']}"

    async def order(self, column_id: str = "backlog") -> list[str]:
        """The titles in a column, from top to bottom."""
        items = (await self.ok("GET", f"/cards?column_id={column_id}&limit=1000"))["items"]
        return [card["title"] for card in items]


class Viewer:
    """What a client holds that was told a snapshot and applies events: no newer card gives way."""

    def __init__(self) -> None:
        self.board: Json = None
        self.cards: dict[str, Json] = {}
        self._gone: set[str] = set()

    def hear(self, frames: Iterable[Frame]) -> Viewer:
        for frame in frames:
            data = frame["data"]
            match frame["type"]:
                case "snapshot":
                    self.board = data["board"]
                    self.cards = {card["id"]: card for card in data["cards"]}
                case "board_updated":
                    if data["version"] >= self.board["version"]:
                        self.board = data
                case "card_deleted":
                    self._gone.add(data["id"])
                    self.cards.pop(data["id"], None)
                case "card_created" | "card_updated" | "card_moved":
                    self._put(data)
        return self

    def _put(self, card: Json) -> None:
        held = self.cards.get(card["id"])
        if card["id"] not in self._gone and (held is None or card["version"] >= held["version"]):
            self.cards[card["id"]] = card

    def order(self) -> dict[str, list[str]]:
        """Ids by column, in the order of their positions."""
        return order_of(self.cards)


def order_of(cards: dict[str, Json]) -> dict[str, list[str]]:
    """Ids by column, from top to bottom."""
    columns: dict[str, list[str]] = {}
    for card in sorted(cards.values(), key=lambda card: str(card["position"])):
        columns.setdefault(card["column_id"], []).append(card["id"])
    return columns
