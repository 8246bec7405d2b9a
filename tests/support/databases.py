"""Both databases: a test that is marked with `on_both` runs on each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.postgres import Postgres, running

on_both = pytest.mark.on_both
"""For a test or, as `pytestmark`, a file of them; those that use a database run twice."""


def spread(metafunc: pytest.Metafunc) -> None:
    """For `pytest_generate_tests`."""
    marked = metafunc.definition.get_closest_marker("on_both") is not None
    if marked and "dialect" in metafunc.fixturenames:
        metafunc.parametrize("dialect", ["sqlite", "postgresql"], indirect=True)


def sqlite_url(path: Path) -> str:
    return f"sqlite+aiosqlite:///{path}"


@pytest.fixture
def dialect(request: pytest.FixtureRequest) -> str:
    """SQLite, unless a test asks for another."""
    return str(getattr(request, "param", "sqlite"))


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One for all tests of a worker; who kills it starts it again."""
    with running() as server:
        yield server


@pytest.fixture
def database_url(dialect: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of the test's own, without rows, by URL."""
    if dialect == "sqlite":
        yield sqlite_url(tmp_path / "test.db")
        return
    server: Postgres = request.getfixturevalue("postgres")
    with server.database() as name:
        yield server.url(name)


@pytest.fixture
def bare_url(dialect: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """As `database_url`, without any table."""
    if dialect == "sqlite":
        yield sqlite_url(tmp_path / "bare.db")
        return
    server: Postgres = request.getfixturevalue("postgres")
    with server.another() as name:
        yield server.url(name)


@pytest.fixture
def database(dialect: str, request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """As `tests.support.life` takes it."""
    if dialect == "sqlite":
        return tmp_path / "test.db"
    return str(request.getfixturevalue("database_url"))
