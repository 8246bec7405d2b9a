from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection

from tests.support.server import Server, serving


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for all tests that leave it as they found it. Aquarium 1 is ana's."""
    with serving(tmp_path_factory.mktemp("live")) as server:
        server.ok("POST", "/aquariums", {"name": "Reef", "kind": "reef"})
        yield server


def furnished(server: Server) -> str:
    """Aquarium 1 with the device `probe`; the device's key."""
    server.ok("POST", "/aquariums", {"name": "Reef", "kind": "reef"})
    key: str = server.ok("POST", "/devices", {"device_id": "probe", "aquarium_id": 1})["key"]
    return key


def rows(database: Path, query: str) -> list[Any]:
    """What is committed, as another process sees it."""
    connection = sqlite3.connect(database, timeout=10)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def until_type(socket: ClientConnection, type: str) -> list[dict[str, Any]]:
    """Frames up to the first of `type`."""
    seen: list[dict[str, Any]] = []
    while not seen or seen[-1]["type"] != type:
        seen.append(json.loads(socket.recv(timeout=15)))
    return seen
