"""A way to devices that a test steers: `cardume.mqtt.ports.Downlink`."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from cardume.mqtt.ports import Delivery
from tests.support.tank import Tank
from tests.support.waiting import until


class Radio:
    """Says `how` it went, or waits like a session that keeps messages while `how` is QUEUED."""

    def __init__(self, how: Delivery = Delivery.NO_SESSION) -> None:
        self.how = how
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.expiries: list[float | None] = []
        self._taken = asyncio.Event()

    @classmethod
    def of(cls, tank: Tank, how: Delivery = Delivery.NO_SESSION) -> Radio:
        radio = cls(how)
        tank.app.commands.deliver_by(radio)
        return radio

    async def publish_to(
        self,
        user: str,
        topic: str,
        payload: bytes,
        *,
        qos: int = 1,
        expiry: float | None = None,
        patience: float = 5.0,
    ) -> Delivery:
        assert (topic, qos) == (f"aquabook/{user}/command", 1)
        self.sent.append((user, json.loads(payload)))
        self.expiries.append(expiry)
        if self.how is Delivery.QUEUED:
            await self._taken.wait()
            return Delivery.ACKNOWLEDGED
        return self.how

    def take(self) -> None:
        """The sessions give to their devices what they kept."""
        self._taken.set()
        self._taken = asyncio.Event()

    async def sends(self, tank: Tank, id: str, times: int = 1) -> None:
        """Wait until a command was sent so often, and what came of it is kept."""
        await until(lambda: self.ids.count(id) >= times, f"{id} in {self.ids}")
        await tank.quiet()
        assert self.ids.count(id) == times

    @property
    def ids(self) -> list[str]:
        return [payload["id"] for _, payload in self.sent]
