"""The aquarium app on a real hub and a real database, with time that moves by hand."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2
from fastapi import FastAPI
from sqlalchemy import Table, create_engine, select

from cardume.apps.aquarium import Aquarium, AquariumOptions
from cardume.apps.aquarium import http as aquarium_http
from cardume.apps.aquarium.app import STATE
from cardume.auth.signer import TokenSigner
from cardume.auth.tokens import build_verifier
from cardume.hub.entry import prepare
from cardume.mqtt.ports import Inbound
from cardume.storage.database import Storage
from cardume.storage.migrate import upgrade
from cardume.testing import FakeClock
from cardume.testing.clock import settle
from cardume.transports.fastapi import Hub
from cardume.wire.messages import Position, Snapshot
from tests.support.peers import Peer

SECRET = "a-secret-of-the-tests-that-is-long-enough"
Json = Any


class Tank:
    """One life of the app; a second one on the same `path` and `clock` is a restart."""

    def __init__(self, path: Path, clock: FakeClock, **options: Any) -> None:
        self.clock = clock
        self.hub = Hub(auth=build_verifier(clock=clock, secret=SECRET), clock=clock)
        self.storage = Storage(f"sqlite+aiosqlite:///{path}", self.hub.publish)
        self.app = Aquarium(self.hub, self.storage, AquariumOptions(**options))
        self.signer = TokenSigner(SECRET, clock)
        self.client: httpx2.AsyncClient
        self._packets = itertools.count(1)

    @classmethod
    @asynccontextmanager
    async def running(
        cls, path: Path, clock: FakeClock | None = None, **options: Any
    ) -> AsyncIterator[Tank]:
        _furnish(path)
        tank = cls(path, clock or FakeClock(), **options)
        async with tank.hub, tank.app.running():
            state = {"cardume_hub": tank.hub, STATE: tank.app}  # as the routers' lifespans say

            async def with_state(scope: Any, receive: Any, send: Any) -> None:
                await _application(tank.app)({**scope, "state": state}, receive, send)

            transport = httpx2.ASGITransport(app=with_state)
            async with httpx2.AsyncClient(transport=transport, base_url="http://tank") as client:
                tank.client = client
                yield tank

    # -- people -----------------------------------------------------------------------------

    def token(self, sub: str = "ana", *, ttl: float = 10 * 366 * 86_400, **claims: Any) -> str:
        return self.signer.mint(sub, ttl=ttl, **claims)

    async def call(
        self, method: str, path: str, body: Json = None, *, who: str | None = "ana", **claims: Any
    ) -> httpx2.Response:
        """Ask the HTTP API as `who`; None comes without a token."""
        headers = {} if who is None else {"Authorization": f"Bearer {self.token(who, **claims)}"}
        return await self.client.request(method, f"/api/v1{path}", json=body, headers=headers)

    async def ok(self, method: str, path: str, body: Json = None, **who: Any) -> Any:
        """As `call`, where a refusal is a failure of the test."""
        response = await self.call(method, path, body, **who)
        assert response.status_code < 300, response.text
        return response.json() if response.content else None

    async def aquarium(self, owner: str = "ana", kind: str = "reef") -> int:
        made = await self.ok("POST", "/aquariums", {"name": "Tank", "kind": kind}, who=owner)
        id: int = made["id"]
        return id

    async def device(self, device_id: str, aquarium_id: int, **more: Any) -> str:
        """A registered device; its key."""
        body = {"device_id": device_id, "aquarium_id": aquarium_id, **more}
        key: str = (await self.ok("POST", "/devices", body, who="root", role="admin"))["key"]
        return key

    async def listen(self, aquarium_id: int) -> Peer:
        """A subscriber who was told the snapshot first."""
        peer = Peer(self.hub)
        subscription = await self.hub.join(peer.connection, f"aquarium:{aquarium_id}", None)
        entry = await prepare(self.hub, subscription, None, {"aquarium_id": aquarium_id})
        assert entry.snapshot is not None
        peer.connection.reply(Snapshot(entry.snapshot, entry.position))
        assert subscription.channel.release(subscription, entry.position or Position())
        peer.subscription = subscription
        return peer

    # -- devices ----------------------------------------------------------------------------

    def message(
        self,
        device_id: str,
        what: str,
        payload: Json,
        *,
        qos: int = 1,
        dup: bool = False,
        packet_id: int | None = None,
        session: str | None = None,
        replay: bool = False,
        will: bool = False,
    ) -> Inbound:
        """As the listener hands it over. A `payload` that is no bytes is sent as JSON."""
        if not isinstance(payload, bytes):
            payload = json.dumps(payload).encode()
        number = packet_id or next(self._packets)
        return Inbound(
            f"aquabook/{device_id}/{what}",
            payload,
            qos,
            dup,
            replay,
            session or f"{device_id}/{device_id}",
            number if qos and not will else None,
            device_id,
            self.clock.now(),
            will,
        )

    async def hear(self, device_id: str, what: str, payload: Json, **more: Any) -> None:
        """One message, kept and announced."""
        await self.app.ingest([self.message(device_id, what, payload, **more)])

    async def read(self, device_id: str, value: float = 25.0, **more: Any) -> None:
        await self.hear(device_id, "reading", {"metric": "temperature", "value": value}, **more)

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

    async def status(self, device_id: str) -> dict[str, Any]:
        found = await self.ok("GET", f"/devices/{device_id}/status", who="root", role="admin")
        assert isinstance(found, dict)
        return found

    async def events(self, device_id: str) -> list[dict[str, Any]]:
        """Stored transitions, the oldest first."""
        path = f"/devices/{device_id}/events?limit=1000"
        items = (await self.ok("GET", path, who="root", role="admin"))["items"]
        return list(reversed(items))

    async def alerts(self, **query: Any) -> list[dict[str, Any]]:
        """The newest first."""
        text = "&".join(f"{name}={value}" for name, value in {"limit": 1000, **query}.items())
        items = (await self.ok("GET", f"/alerts?{text}", who="root", role="admin"))["items"]
        return list(items)

    def rejected(self, reason: str) -> int:
        return self.app.ingest.rejects.counts[reason]


_built: list[FastAPI] = []


def _application(app: Aquarium) -> FastAPI:
    """One for all tests: building the routes takes longer than most tests run."""
    if not _built:
        _built.append(FastAPI())
        _built[0].include_router(aquarium_http.router(app))
    return _built[0]


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


def data(frames: Sequence[Json]) -> list[Json]:
    return [frame["data"] for frame in frames]
