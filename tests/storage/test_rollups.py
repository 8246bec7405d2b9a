"""A database from before there were hours, with readings in it."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from sqlalchemy import create_engine, select, text

from cardume.storage import migrate
from cardume.storage.database import Storage
from cardume.storage.rollups import HOUR, SCALE, retire
from cardume.storage.tables import readings, rollups
from tests.storage.conftest import Press
from tests.support.databases import sqlite_url


def made_before(path: Path) -> None:
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        command.upgrade(migrate.config(connection), "0002")
        connection.execute(text("INSERT INTO aquariums VALUES (7, 'Reef', 'reef', 0, 'ana')"))
        columns = "id, aquarium_id, sensor_id, metric, value, measured_at, received_at, origin"
        for number in range(10):
            at = 1_000_000 * HOUR + number * 900.0
            row = f"{number}, 7, 3, 'ph', {number}, {at}, {at}, 'sensor'"
            connection.execute(text(f"INSERT INTO readings ({columns}) VALUES ({row})"))
    engine.dispose()


async def test_it_is_brought_up_to_date_and_its_readings_become_hours(tmp_path: Path) -> None:
    made_before(tmp_path / "old.db")
    async with Storage(sqlite_url(tmp_path / "old.db"), Press()) as storage:
        async with storage.write() as tx:
            assert await retire(tx, 9, 6) == 6
            assert await retire(tx, 9, 6) == 3
            assert await retire(tx, 9, 6) == 0
        async with storage.read() as connection:
            hours = (await connection.execute(select(rollups).order_by(rollups.c.hour))).all()
            assert list(await connection.scalars(select(readings.c.value))) == [9.0]
    assert [tuple(hour) for hour in hours] == [
        (7, "ph", 1_000_000, 3, 0.0, 3.0, 6 / SCALE, 4),
        (7, "ph", 1_000_001, 3, 4.0, 7.0, 22 / SCALE, 4),
        (7, "ph", 1_000_002, 3, 8.0, 8.0, 8 / SCALE, 1),
    ]
