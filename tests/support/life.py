"""One life of an app on a real database, with a clock that the test moves."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Self

import httpx2
from fastapi import APIRouter, FastAPI
from sqlalchemy import Table, create_engine, select

from cardume.auth.signer import TokenSigner
from cardume.auth.tokens import build_verifier
from cardume.hub.entry import prepare
from cardume.storage.database import Storage
from cardume.storage.migrate import upgrade
from cardume.testing import FakeClock
from cardume.testing.clock import settle
from cardume.transports.apps import App, state_name
from cardume.transports.fastapi import Hub
from cardume.wire.messages import Position, Snapshot
from tests.support.databases import sqlite_url
from tests.support.peers import Peer

SECRET = "a-secret-of-the-tests-that-is-long-enough"
Json = Any

Database = Path | str
"""A file of SQLite, or the URL of a database that has its tables."""


class Life:
    """An app from start to stop; a second one on the same `database` and `clock` is a restart.

    A kind of it says how the app is made (`make`) and what its addresses are (`router`, `prefix`).
    """

    prefix: ClassVar[str] = "/api/v1"

    def __init__(self, database: Database, clock: FakeClock, **options: Any) -> None:
        self.clock = clock
        self.hub = Hub(auth=build_verifier(clock=clock, secret=SECRET), clock=clock)
        self.storage = Storage(_url(database), self.hub.publish)
        self.signer = TokenSigner(SECRET, clock)
        self.client: httpx2.AsyncClient
        self._app = self.make(**options)

    def make(self, **options: Any) -> App:
        """The app, on `self.hub` and `self.storage`."""
        raise NotImplementedError

    @staticmethod
    def router(app: Any) -> APIRouter:
        """Its addresses."""
        raise NotImplementedError

    @classmethod
    @asynccontextmanager
    async def running(
        cls, database: Database, clock: FakeClock | None = None, **options: Any
    ) -> AsyncIterator[Self]:
        if isinstance(database, Path):
            _furnish(database)
        life = cls(database, clock or FakeClock(), **options)
        async with life.hub, life._app.running():
            # As the routers' lifespans say.
            state = {"cardume_hub": life.hub, state_name(type(life._app)): life._app}

            async def with_state(scope: Any, receive: Any, send: Any) -> None:
                await cls._application(life._app)({**scope, "state": state}, receive, send)

            transport = httpx2.ASGITransport(app=with_state)
            async with httpx2.AsyncClient(transport=transport, base_url="http://life") as client:
                life.client = client
                yield life

    @classmethod
    def _application(cls, app: App) -> FastAPI:
        """One for all tests: building the routes takes longer than most tests run."""
        if cls not in _built:
            _built[cls] = FastAPI()
            _built[cls].include_router(cls.router(app))
        return _built[cls]

    # -- people -----------------------------------------------------------------------------

    def token(self, sub: str = "ana", *, ttl: float = 10 * 366 * 86_400, **claims: Any) -> str:
        return self.signer.mint(sub, ttl=ttl, **claims)

    async def call(
        self, method: str, path: str, body: Json = None, *, who: str | None = "ana", **claims: Any
    ) -> httpx2.Response:
        """Ask the HTTP API as `who`; None comes without a token."""
        headers = {} if who is None else {"Authorization": f"Bearer {self.token(who, **claims)}"}
        return await self.client.request(method, f"{self.prefix}{path}", json=body, headers=headers)

    async def ok(self, method: str, path: str, body: Json = None, **who: Any) -> Any:
        """As `call`, where a refusal is a failure of the test."""
        response = await self.call(method, path, body, **who)
        assert response.status_code < 300, response.text
        return response.json() if response.content else None

    async def subscribe(self, channel: str) -> Peer:
        """A subscriber who was told the snapshot first, where the channel has one."""
        peer = Peer(self.hub)
        found = self.hub.namespaces.find(channel)
        assert found is not None
        subscription = await self.hub.join(peer.connection, channel, None)
        parameters = found[0].guard.convert(found[1])
        entry = await prepare(self.hub, subscription, None, parameters)
        if entry.snapshot is not None:
            peer.connection.reply(Snapshot(entry.snapshot, entry.position))
        assert subscription.channel.release(subscription, entry.position or Position())
        peer.subscription = subscription
        return peer

    # -- time and truth ---------------------------------------------------------------------

    async def passes(self, seconds: float, *, step: float | None = None) -> None:
        """Let time pass and what it caused be done."""
        left = seconds
        while left > 0:
            part = min(left, step or left)
            await self.clock.advance(part)
            await self.quiet()
            left -= part

    async def quiet(self) -> None:
        """Whoever waits for the one writer has had it."""
        for _ in range(3):
            await settle()
            async with self.storage.write():
                pass
        await settle()

    async def rows(self, table: Table) -> list[dict[str, Any]]:
        async with self.storage.read() as connection:
            keys = list(table.primary_key)
            found = await connection.execute(select(table).order_by(*keys))
            return [dict(row._mapping) for row in found]


def as_a_power_cut_leaves_it(path: Path) -> Path:
    """A copy of a database that is open still: what its owner does at a stop is not in it."""
    copy = path.with_stem(f"{path.stem}-cut")
    for suffix in ("", "-wal"):
        if (file := Path(f"{path}{suffix}")).exists():
            shutil.copy(file, f"{copy}{suffix}")
    return copy


_built: dict[type[Life], FastAPI] = {}


def _url(database: Database) -> str:
    return sqlite_url(database) if isinstance(database, Path) else database


def _furnish(path: Path) -> None:
    if not path.exists():
        path.write_bytes(_empty_database())


@cache
def _empty_database() -> bytes:
    """Migrated once; what `Storage` does to a new file is tested in its own room."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "empty.db"
        engine = create_engine(f"sqlite:///{path}")
        with engine.begin() as connection:
            upgrade(connection)
        engine.dispose()
        return path.read_bytes()
