"""Who publishes on a channel: `POST /api/publish`, as a service of somebody's would."""

from __future__ import annotations

import time

import httpx2

from house import House

KEY = "bench"
"""The server's `CARDUME_API_KEY`."""


class Speaker:
    """Publishes readings on one aquarium's channel."""

    def __init__(self, server: House, aquarium: int) -> None:
        self._api = httpx2.Client(
            base_url=f"http://127.0.0.1:{server.port}", headers={"X-API-Key": KEY}
        )
        self._server = server
        self._admin = {"Authorization": f"Bearer {server.token}"}
        self.aquarium = aquarium
        self._channel = f"aquarium:{aquarium}"
        self.epoch = ""
        self.offset = 0

    def say(self, text: str) -> None:
        """One more reading, which holds its offset and the moment in microseconds."""
        data = {"number": self.offset + 1, "sent": time.monotonic_ns() // 1000, "note": text}
        body = {"channel": self._channel, "type": "reading", "data": data}
        answer = self._api.post("/api/publish", json=body)
        answer.raise_for_status()
        place = answer.json()["result"]
        self.epoch, self.offset = place["epoch"], place["offset"]

    def closes(self, code: int) -> int:
        """How many connections the server has closed with `code`."""
        return self._server.counted(f'cardume_closes_total{{code="{code}"}}')

    def audience(self) -> int:
        """How many connections the hub has now."""
        answer = self._api.get("/ws/stats", headers=self._admin)
        answer.raise_for_status()
        return int(answer.json()["active_connections"])
