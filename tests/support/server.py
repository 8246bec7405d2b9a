"""`cardume serve` as users run it: a process of its own, on free ports, in a folder of its own."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
from websockets.sync.client import ClientConnection, connect

from cardume.auth.signer import TokenSigner
from cardume.clock import SystemClock
from tests.support.waiting import START

SECRET = "a-secret-of-the-tests-that-is-long-enough"
API_KEY = "an-api-key-of-the-tests"
ENVIRONMENT = {
    "CARDUME_JWT_SECRET": SECRET,
    "CARDUME_API_KEY": API_KEY,
    "CARDUME_DRAIN_WINDOW": "0",
    "CARDUME_OFFLINE_SWEEP_EVERY": "3600",
}
_UP = re.compile(r"Cardume is up: http://127\.0\.0\.1:(\d+)/, MQTT on 127\.0\.0\.1:(\d+)")

Json = Any


def environment(**more: str | None) -> dict[str, str]:
    """Of a process that shall know our settings and nobody else's."""
    kept = {n: v for n, v in os.environ.items() if not n.startswith("CARDUME_")}
    return {n: v for n, v in {**kept, **ENVIRONMENT, **more}.items() if v is not None}


def cardume(*arguments: str, cwd: Path, **env: str | None) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "cardume", *arguments],
        cwd=cwd,
        env=environment(**env),
        capture_output=True,
        text=True,
        timeout=START,
        check=False,
    )


class Server:
    """A running server; the end of `serving` ends it."""

    def __init__(self, folder: Path, *, port: int = 0, mqtt_port: int = 0, **env: str) -> None:
        self.folder = folder
        self._log = (folder / "server.log").open("ab")
        ports = ("--port", str(port), "--mqtt-port", str(mqtt_port))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cardume", "serve", *ports, "--log-level", "debug"],
            cwd=folder,
            env=environment(**env),
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        assert self.process.stdout is not None
        found = _UP.match(self.process.stdout.readline())
        assert found is not None, self.log
        self.port, self.mqtt_port = int(found[1]), int(found[2])
        self.url = f"http://127.0.0.1:{self.port}"
        self.client = httpx2.Client(base_url=self.url, timeout=15)

    @property
    def log(self) -> str:
        return (self.folder / "server.log").read_text(errors="replace")

    @property
    def database(self) -> Path:
        return self.folder / "cardume.db"

    def token(self, sub: str = "ana", *, ttl: float = 600, **claims: Any) -> str:
        return TokenSigner(SECRET, SystemClock()).mint(sub, ttl=ttl, **claims)

    def call(self, method: str, path: str, body: Json = None, **claims: Any) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {self.token(**claims)}"}
        return self.client.request(method, f"/api/v1{path}", json=body, headers=headers)

    def ok(self, method: str, path: str, body: Json = None, **claims: Any) -> Any:
        response = self.call(method, path, body, **claims)
        assert response.status_code < 300, response.text
        return response.json() if response.content else None

    def publish(self, body: Json, key: str | None = API_KEY) -> httpx2.Response:
        headers = {} if key is None else {"X-API-Key": key}
        return self.client.post("/api/publish", json=body, headers=headers)

    def listen(self, aquarium_id: int, **options: Any) -> ClientConnection:
        address = f"ws://127.0.0.1:{self.port}/ws/aquarium/{aquarium_id}?token={self.token()}"
        socket: ClientConnection = connect(address, **options)
        return socket

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)
        self._close()

    def _close(self) -> None:
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.client.close()
        self._log.close()


@contextlib.contextmanager
def serving(folder: Path, **options: Any) -> Iterator[Server]:
    server = Server(folder, **options)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.kill()
