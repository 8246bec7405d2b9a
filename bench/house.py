"""A real `cardume serve` of our own: temporary database, free ports, one process to be weighed."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import psutil

from cardume.auth.signer import TokenSigner
from cardume.clock import SystemClock
from contest.process import stop

MIB = 1 << 20
_UP = re.compile(r"http://[^:]+:(\d+)/(?:, MQTT on [^:]+:(\d+))?(?:, with TLS on [^:]+:(\d+))?")


@dataclass(frozen=True, slots=True)
class Device:
    """A registered device, and the aquarium it watches."""

    device_id: str
    key: str
    aquarium_id: int


class House:
    """The server process and what may be asked of it."""

    def __init__(self, process: subprocess.Popen[str], folder: Path, signer: TokenSigner) -> None:
        self.folder = folder
        self.signer = signer
        self.token = signer.mint("bench", ttl=86_400.0, role="admin")
        self.database = folder / "cardume.db"
        assert process.stdout is not None
        found = _UP.search(process.stdout.readline())
        if found is None:
            raise SystemExit("the server did not start")
        self.port, self.mqtt_port = int(found[1]), int(found[2] or 0)
        self.tls_port = int(found[3] or 0)
        self.pid = process.pid
        self._process = psutil.Process(process.pid)

    def cpu(self) -> float:
        """CPU seconds of all its threads, user and system."""
        times = self._process.cpu_times()
        return times.user + times.system

    def memory(self) -> int:
        """Resident bytes."""
        return int(self._process.memory_info().rss)

    def files(self) -> int:
        """Open files, each connection being one."""
        return self._process.num_fds()

    def superseded(self) -> int:
        """Queued readings that a newer one took the place of."""
        return self.counted("cardume_dropped_total")

    def counted(self, series: str) -> int:
        """A counter of `/metrics`, by its name with its labels; 0 where it is not there."""
        headers = {"Authorization": f"Bearer {self.token}"}
        answer = httpx2.get(f"http://127.0.0.1:{self.port}/metrics", headers=headers)
        answer.raise_for_status()
        lines = (each for each in answer.text.splitlines() if each.startswith(f"{series} "))
        return int(float(next(lines, "0").rpartition(" ")[2]))

    def register(self, aquariums: int, devices_each: int = 1) -> list[Device]:
        """Create aquariums with devices, over HTTP as anybody would."""
        headers = {"Authorization": f"Bearer {self.token}"}
        with httpx2.Client(base_url=f"http://127.0.0.1:{self.port}/api/v1", headers=headers) as api:
            found: list[Device] = []
            for number in range(aquariums):
                id = _post(api, "/aquariums", {"name": f"tank {number}"})["id"]
                for place in range(devices_each):
                    body = {"device_id": f"bench-{id}-{place}", "aquarium_id": id}
                    answer = _post(api, "/devices", body)
                    found.append(Device(answer["device_id"], answer["key"], id))
            return found

    def stored(self) -> dict[int, tuple[int, int]]:
        """Count and sum of the stored values, by aquarium."""
        query = "SELECT aquarium_id, count(*), sum(CAST(value AS BIGINT)) FROM readings GROUP BY 1"
        return {id: (count, int(total)) for id, count, total in self.rows(query)}

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What the database answers, whichever it is."""
        if url := _postgres():
            return asyncio.run(_asked(url, query))
        connection = sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=10)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()


def sums(
    devices: Iterable[Device], by_device: Mapping[str, tuple[int, int]]
) -> dict[int, tuple[int, int]]:
    """What `House.stored` answers, once all is stored that devices sent."""
    found: dict[int, tuple[int, int]] = {}
    for device in devices:
        count, total = by_device[device.device_id]
        before = found.get(device.aquarium_id, (0, 0))
        found[device.aquarium_id] = (before[0] + count, before[1] + total)
    return found


def _postgres() -> str | None:
    url = os.environ.get("CARDUME_DATABASE_URL", "")
    return url if url.startswith("postgres") else None


async def _asked(url: str, *queries: str) -> list[tuple[Any, ...]]:
    import asyncpg

    connection = await asyncpg.connect(url)
    try:
        for query in queries:
            rows = await connection.fetch(query)
        return [tuple(row) for row in rows]
    finally:
        await connection.close()


def _empty(url: str) -> None:
    """Each server begins with nothing. Nobody's own database has such a name."""
    [(name,)] = asyncio.run(_asked(url, "SELECT current_database()"))
    if not name.startswith("bench"):
        raise SystemExit(f"everything in {name!r} would be lost: name a database bench…")
    asyncio.run(_asked(url, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public"))


def _post(api: httpx2.Client, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = api.post(path, json=body)
    answer.raise_for_status()
    created: dict[str, Any] = answer.json()
    return created


@contextmanager
def house(
    folder: Path | None = None, command: list[str] | None = None, **settings: str
) -> Iterator[House]:
    """A server that is up; it and its database are gone afterwards.

    `command` is put in front of the server's own, for a profiler; `settings` are names of the
    environment.
    """
    secret = secrets.token_urlsafe(32)
    signer = TokenSigner(secret, SystemClock())
    if url := _postgres():
        _empty(url)
    with tempfile.TemporaryDirectory(prefix="cardume-bench-", dir=folder) as name:
        serve = [sys.executable, "-m", "cardume", "serve", "--port", "0", "--mqtt-port", "0"]
        process = subprocess.Popen(
            [*(command or []), *serve, "--log-level", "warning"],
            cwd=name,
            env={
                **os.environ,
                "CARDUME_JWT_SECRET": secret,
                "CARDUME_DRAIN_WINDOW": "0",
                **settings,
            },
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            yield House(process, Path(name), signer)
        finally:
            stop(process, within=20)
