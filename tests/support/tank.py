"""The aquarium app on a real hub and a real database, with time that moves by hand."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter

from cardume.apps.aquarium import Aquarium, AquariumOptions
from cardume.apps.aquarium import http as aquarium_http
from cardume.mqtt.ports import Inbound
from tests.support.life import Life
from tests.support.peers import Peer

SECRET = "a-secret-of-the-tests-that-is-long-enough"
Json = Any


class Tank(Life):
    """One life of the aquarium app, and the devices that speak to it."""

    app: Aquarium

    def make(self, **options: Any) -> Aquarium:
        self._packets = itertools.count(1)
        self.app = Aquarium(self.hub, self.storage, AquariumOptions(**options))
        return self.app

    @staticmethod
    def router(app: Aquarium) -> APIRouter:
        return aquarium_http.router(app)

    # -- people -----------------------------------------------------------------------------

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
        return await self.subscribe(f"aquarium:{aquarium_id}")

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

    # -- truth ------------------------------------------------------------------------------

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


def data(frames: Sequence[Json]) -> list[Json]:
    return [frame["data"] for frame in frames]
