"""The app's HTTP API below ``/api/v1``."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from sqlalchemy import select, tuple_

from cardume.apps.cards.app import Cards, CurrentCards
from cardume.apps.cards.board import MAIN, check_column, read_board
from cardume.apps.cards.bodies import (
    BoardBody,
    CardDeletion,
    CardMove,
    CardPatch,
    ColumnId,
    NewCard,
)
from cardume.apps.cards.views import BoardView, CardView, card_view
from cardume.storage.tables import cards
from cardume.transports.apps import router_of
from cardume.transports.fastapi import CurrentIdentity
from cardume.transports.paging import Cursor, Limit, Page, foreign_cursor, page, position
from cardume.transports.problems import ProblemRoute

_routes = APIRouter(route_class=ProblemRoute, tags=["cards"])


def router(app: Cards) -> APIRouter:
    """Addresses for `app`; including the router starts the app with the application."""
    return router_of(app, _routes, prefix="/api/v1")


@_routes.get("/board")
async def get_board(app: CurrentCards, _who: CurrentIdentity) -> BoardView:
    async with app.storage.read() as connection:
        return await read_board(connection)


@_routes.put("/board")
async def replace_board(body: BoardBody, app: CurrentCards, who: CurrentIdentity) -> BoardView:
    """Name the columns from left to right. One that holds cards cannot go: 409."""
    return await app.boards.replace(who, body)


@_routes.get("/cards")
async def list_cards(
    app: CurrentCards,
    _who: CurrentIdentity,
    column_id: Annotated[ColumnId | None, Query()] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[CardView]:
    """Cards by the name of their column, and in a column by position."""
    order = (cards.c.column_id, cards.c.position)
    query = select(cards).where(cards.c.board_id == MAIN).order_by(*order).limit(limit + 1)
    after = position(cursor, list)
    if after is not None:
        query = query.where(tuple_(*order) > tuple_(*_place(after)))
    async with app.storage.read() as connection:
        if column_id is not None:
            check_column((await read_board(connection))["columns"], column_id)
            query = query.where(cards.c.column_id == column_id)
        found = [card_view(row) for row in await connection.execute(query)]
    return page(found, limit, lambda card: [card["column_id"], card["position"]])


@_routes.post("/cards", status_code=201)
async def create_card(body: NewCard, app: CurrentCards, who: CurrentIdentity) -> CardView:
    """At the end of its column; without `column_id` that is the first one."""
    return await app.changes.create(who, body)


@_routes.get("/cards/{card_id}")
async def get_card(card_id: str, app: CurrentCards, _who: CurrentIdentity) -> CardView:
    return await app.card(card_id)


@_routes.patch("/cards/{card_id}")
async def update_card(
    card_id: str, body: CardPatch, app: CurrentCards, who: CurrentIdentity
) -> CardView:
    """Members that are sent are changed. A stale `version` is 409 and carries the `card`."""
    return await app.changes.update(who, card_id, body)


@_routes.post("/cards/{card_id}/move")
async def move_card(
    card_id: str, body: CardMove, app: CurrentCards, who: CurrentIdentity
) -> CardView:
    """Right behind `after_id`; without it, at the top of the column."""
    return await app.changes.move(who, card_id, body)


@_routes.delete("/cards/{card_id}", status_code=204)
async def delete_card(
    card_id: str, version: Annotated[int, Query(ge=1)], app: CurrentCards, who: CurrentIdentity
) -> None:
    await app.changes.delete(who, card_id, CardDeletion(version=version))


def _place(after: list[Any]) -> tuple[str, str]:
    match after:
        case [str(column_id), str(place)]:
            return column_id, place
    raise foreign_cursor()
