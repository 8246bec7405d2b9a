"""How many connections a user may have, and an address, on a server of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.support.server import Server, serving


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder: Path = tmp_path_factory.mktemp("crowd")
    limits = {"CARDUME_CONNECTIONS_PER_USER": "2", "CARDUME_CONNECTIONS_PER_ADDRESS": "3"}
    with serving(folder, **limits) as server:
        yield server


@contextmanager
def enter(server: Server, user: str, source: str, **headers: str) -> Iterator[ClientConnection]:
    """A connection from the address `source` of this machine, welcomed."""
    options: dict[str, Any] = {"source_address": (source, 0), "additional_headers": headers}
    url = f"ws://127.0.0.1:{server.port}/ws/cards?token={server.token(user)}"
    with connect(url, proxy=None, **options) as made:
        assert "connected" in str(made.recv(timeout=10))
        yield made


def test_a_user_has_so_many_connections_wherever_from(small: Server) -> None:
    with ExitStack() as open:
        for source in ("127.0.0.1", "127.0.0.2"):
            open.enter_context(enter(small, "ana", source))
        with pytest.raises(ConnectionClosed) as closed:
            open.enter_context(enter(small, "ana", "127.0.0.3"))
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 3504
        open.enter_context(enter(small, "ben", "127.0.0.3"))


def test_an_address_has_so_many_whoever_says_to_forward_for_another(small: Server) -> None:
    with ExitStack() as open:
        for user in ("cas", "dan", "eva"):  # those of before may not be gone yet
            open.enter_context(enter(small, user, "127.0.0.4"))
        forwarded = enter(small, "fay", "127.0.0.4", **{"X-Forwarded-For": "203.0.113.7"})
        with pytest.raises(InvalidStatus) as refused:
            open.enter_context(forwarded)
        assert refused.value.response.status_code == 429
        open.enter_context(enter(small, "fay", "127.0.0.5"))
