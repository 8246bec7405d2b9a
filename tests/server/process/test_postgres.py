"""`cardume serve` on a PostgreSQL that dies under it and comes back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server.process.devices import Browser, Device
from tests.support.postgres import PASSWORD, Postgres
from tests.support.serving import Served
from tests.support.waiting import PATIENCE, wait_for


class OnPostgres(Served):
    """A server whose rows are there."""

    def __init__(self, folder: Path, postgres: Postgres, name: str) -> None:
        super().__init__(folder)
        self._postgres = postgres
        self._name = name

    @property
    def database_url(self) -> str:
        return self._postgres.url(self._name)

    def rows(self, query: str) -> list[Any]:
        return [tuple(row) for row in self._postgres.sql(query, self._name)]


@pytest.fixture
def server(postgres: Postgres, tmp_path: Path) -> Iterator[Served]:
    with postgres.database() as name:
        server = OnPostgres(tmp_path, postgres, name)
        try:
            server.start()
            yield server
        finally:
            server.stop()


def test_no_acknowledged_reading_is_lost_when_the_database_dies_while_they_pour_in(
    server: Served, aquarium: int, postgres: Postgres
) -> None:
    """And the server goes on by itself: each reading is stored once and announced once."""
    id = f"probe-{aquarium}"
    with (
        Device.connected(id, server.device(id, aquarium), server.mqtt_port) as device,
        Browser.watching(server, aquarium) as browser,
    ):
        sent = [device.read(float(number), id=f"n{number}") for number in range(600)]
        wait_for(sent[100].is_published, "a part of it")
        postgres.kill()
        sent += [device.read(float(number), id=f"n{number}") for number in range(600, 700)]
        wait_for(lambda: server.ask("GET", "/ready").status == 503, "somebody who notices")
        assert not all(info.is_published() for info in sent)
        postgres.start()
        for info in sent:
            info.wait_for_publish(PATIENCE)
        everything = [float(number) for number in range(len(sent))]
        assert server.values(aquarium) == everything
        wait_for(lambda: len(browser.readings) >= len(sent), "all events")
        assert sorted(browser.readings) == everything
        wait_for(lambda: server.ask("GET", "/ready").status == 200, "a server that is well")
    assert server.stop() == 0
    assert "Traceback" not in server.log
    assert PASSWORD not in server.log
