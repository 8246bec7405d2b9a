"""A help desk on the hub: tickets are opened, taken and closed, live at /ws/tickets."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI
from sqlalchemy import Column, Integer, MetaData, String, Table, insert, select, update
from sqlalchemy.schema import CreateTable

from cardume import CurrentIdentity, Hub, Identity, Refused
from cardume.documents.transitions import Transitions
from cardume.storage.database import Storage, Write
from cardume.transports.apps import current, router_of
from cardume.transports.bodies import Body, Name
from cardume.transports.problems import ProblemRoute
from cardume.wire import codes

# 1. The document: what is kept.
tickets = Table(
    "tickets",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("title", String(200), nullable=False),
    Column("status", String(16), nullable=False),
    Column("taken_by", String(255)),
    Column("version", Integer, nullable=False),
)

# 2. The transitions: every other move is a 409 that names the legal ones.
TICKET = Transitions(
    "ticket",
    {
        "take": {"open": "taken"},
        "close": {"taken": "closed"},
        "reopen": {"closed": "open"},
    },
)
EVENTS = {"take": "ticket_taken", "close": "ticket_closed", "reopen": "ticket_opened"}


class Tickets:
    """The app: its channel, and every change as one transaction with its event."""

    def __init__(self, hub: Hub, storage: Storage) -> None:
        self.hub = hub
        self.storage = storage

        # 3. The channel, and who may be on it: any user with a token.
        @hub.channel("tickets", path="/ws/tickets", history=500, snapshot=self.board)
        async def desk(identity: Identity) -> None: ...

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """From the start of the application to its end."""
        async with self.storage, self.hub:
            async with self.storage.write() as tx:
                await tx.execute(CreateTable(tickets, if_not_exists=True))
            yield

    async def board(self) -> dict[str, Any]:
        """The snapshot: what somebody sees who has just come."""
        async with self.storage.read() as connection:
            rows = await connection.execute(select(tickets).order_by(tickets.c.id))
            return {"tickets": [dict(row._mapping) for row in rows]}

    async def open(self, title: str) -> dict[str, Any]:
        async with self.storage.write() as tx:
            values = {"title": title, "status": "open", "version": 1}
            key = (await tx.execute(insert(tickets).values(**values))).inserted_primary_key
            assert key is not None
            ticket = await self._get(tx, key[0])
            # 4. The event: published after the commit, and only if there was one.
            tx.emit("tickets", "ticket_opened", ticket)
            return ticket

    async def move(self, id: int, move: str, who: str) -> dict[str, Any]:
        async with self.storage.write() as tx:
            ticket = await self._get(tx, id)
            ticket["status"] = TICKET.after(move, ticket["status"])
            ticket["taken_by"] = who if move == "take" else ticket["taken_by"]
            ticket["version"] += 1
            await tx.execute(update(tickets).where(tickets.c.id == id).values(**ticket))
            tx.emit("tickets", EVENTS[move], ticket)
            return ticket

    async def _get(self, tx: Write, id: int) -> dict[str, Any]:
        row = (await tx.execute(select(tickets).where(tickets.c.id == id))).first()
        if row is None:
            raise Refused(codes.NOT_FOUND, f"no ticket {id}")
        return dict(row._mapping)


# 5. The addresses.
router = APIRouter(prefix="/tickets", route_class=ProblemRoute)
CurrentTickets = Annotated[Tickets, Depends(current(Tickets))]


class NewTicket(Body):
    title: Name


@router.post("", status_code=201)
async def open_ticket(body: NewTicket, app: CurrentTickets, who: CurrentIdentity) -> dict[str, Any]:
    return await app.open(body.title)


@router.post("/{id}/{move}")
async def move_ticket(
    id: int, move: str, app: CurrentTickets, who: CurrentIdentity
) -> dict[str, Any]:
    if move not in TICKET.moves:
        raise Refused(codes.NOT_FOUND, f"moves are {', '.join(TICKET.moves)}")
    return await app.move(id, move, who.sub)


# 6. Your application.
hub = Hub()
storage = Storage("sqlite+aiosqlite:///tickets.db", hub.publish, hub.lose)
app = FastAPI()
app.include_router(hub.router)
app.include_router(router_of(Tickets(hub, storage), router))
