"""`cardume` as a process of its own, with everything that a test does to it from outside."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from cardume.auth.signer import TokenSigner
from cardume.clock import SystemClock
from tests.support.ports import free_port
from tests.support.waiting import PATIENCE, START, wait_for

SECRET = "a-secret-of-the-server-tests-long-enough"
API_KEY = "an-api-key-of-the-server-tests"
SETTINGS = {
    "CARDUME_JWT_SECRET": SECRET,
    "CARDUME_API_KEY": API_KEY,
    "CARDUME_DRAIN_WINDOW": "0",
    "CARDUME_LOG_LEVEL": "debug",
}
_HTTP = re.compile(r"http://127\.0\.0\.1:(\d+)")
_MQTT = re.compile(r"MQTT +(?:on )?127\.0\.0\.1:(\d+)")


class Answer(NamedTuple):
    status: int
    body: Any
    """Parsed where it is JSON, else the text."""
    headers: Mapping[str, str]


def environment(**settings: str) -> dict[str, str]:
    """This process's, without what somebody's shell says of Cardume; `settings` without prefix."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CARDUME_")}
    return {**clean, "PYTHONUNBUFFERED": "1", **settings}


def token(sub: str = "root", *, role: str | None = "admin", **claims: Any) -> str:
    return TokenSigner(SECRET, SystemClock()).mint(sub, ttl=3600, role=role, **claims)


class Served:
    """A server that is started, ended and started again in the same place, on the same ports."""

    def __init__(self, folder: Path, command: str = "serve", **settings: str) -> None:
        self.folder = folder
        self.port, self.mqtt_port = free_port(), free_port()
        self._command = command
        self._settings = {**SETTINGS, **settings}
        self._lives = 0
        self._process: subprocess.Popen[bytes] | None = None

    # -- life and death ---------------------------------------------------------------------

    def start(self) -> None:
        """Run it until it says that it is up."""
        self._lives += 1
        options = ["--port", str(self.port), "--mqtt-port", str(self.mqtt_port)]
        options += ["--database", self.database_url]
        with self._file("out").open("wb") as out, self._file("err").open("wb") as err:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "cardume", self._command, *options],
                cwd=self.folder,
                env=environment(**self._settings),
                stdout=out,
                stderr=err,
            )
        wait_for(lambda: self.ended or "is up" in self.printed, "its start", START)
        assert not self.ended, self.log
        found, mqtt = _HTTP.search(self.printed), _MQTT.search(self.printed)
        assert found is not None, self.printed
        assert mqtt is not None, self.printed
        self.port, self.mqtt_port = int(found[1]), int(mqtt[1])

    @property
    def ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """As a power cut ends it: nothing is said, nothing is written."""
        self.signal(signal.SIGKILL)
        assert self.wait() == -signal.SIGKILL

    def wait(self, within: float = PATIENCE) -> int:
        """Its exit status."""
        assert self._process is not None
        return self._process.wait(within)

    def stop(self) -> int:
        """End it as a process manager does; its exit status."""
        if self._process is None or self.ended:
            return 0
        self.signal(signal.SIGTERM)
        try:
            return self.wait(2 * PATIENCE)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
            self.wait()
            raise

    # -- what it says -----------------------------------------------------------------------

    @property
    def printed(self) -> str:
        """Standard output of this life."""
        return self._file("out").read_text()

    @property
    def log(self) -> str:
        """Standard error of this life."""
        return self._file("err").read_text()

    def _file(self, stream: str) -> Path:
        return self.folder / f"{stream}-{self._lives}.txt"

    # -- what it keeps ----------------------------------------------------------------------

    @property
    def database(self) -> Path:
        return self.folder / "tank.db"

    @property
    def database_url(self) -> str:
        return f"sqlite+aiosqlite:///{self.database}"

    def rows(self, query: str) -> list[Any]:
        """What is committed, read past the server."""
        connection = sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    def values(self, aquarium_id: int) -> list[float]:
        """Of all readings of an aquarium, sorted."""
        query = f"SELECT value FROM readings WHERE aquarium_id = {aquarium_id} ORDER BY value"
        return [value for (value,) in self.rows(query)]

    @contextmanager
    def locked(self) -> Iterator[None]:
        """While this lasts the server can commit nothing."""
        connection = sqlite3.connect(self.database, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield
        finally:
            connection.close()

    # -- talking to it ----------------------------------------------------------------------

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """An HTTP request; `body` is sent as JSON unless it is bytes."""
        raw = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"Content-Type": "application/json", **(headers or {})}
        url = f"http://127.0.0.1:{self.port}{path}"
        request = urllib.request.Request(url, raw, sent, method=method)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as response:
                return _answer(response)
        except urllib.error.HTTPError as error:
            with error:
                return _answer(error)

    def admin(self, method: str, path: str, body: Any = None) -> Any:
        """As `ask` below /api/v1 with an admin's token, where a refusal fails the test."""
        bearer = {"Authorization": f"Bearer {token()}"}
        answer = self.ask(method, f"/api/v1{path}", body, headers=bearer)
        assert answer.status < 300, answer
        return answer.body

    def aquarium(self) -> int:
        id: int = self.admin("POST", "/aquariums", {"name": "Tank", "kind": "reef"})["id"]
        return id

    def device(self, device_id: str, aquarium_id: int) -> str:
        """A new device; its key."""
        body = {"device_id": device_id, "aquarium_id": aquarium_id}
        key: str = self.admin("POST", "/devices", body)["key"]
        return key


@contextmanager
def served(folder: Path, command: str = "serve", **settings: str) -> Iterator[Served]:
    """A server on free ports of this machine, until the block ends."""
    server = Served(folder, command, **settings)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def _answer(response: Any) -> Answer:
    text = response.read().decode()
    try:
        body = json.loads(text)
    except ValueError:
        body = text
    return Answer(response.status, body, {k.lower(): v for k, v in response.headers.items()})
