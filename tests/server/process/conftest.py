"""One server for the tests of a module: to start it takes seconds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.serving import Served, served


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def aquarium(server: Served) -> int:
    """A new one, on a server that runs, whatever the test before did to it."""
    if server.ended:
        server.start()
    return server.aquarium()
