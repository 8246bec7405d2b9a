"""CARDUME_DATABASE_URL: what it may say, and what is said when it cannot serve."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select

from cardume.errors import ConfigurationError
from cardume.storage.database import Storage
from cardume.storage.postgres import Postgres
from cardume.storage.tables import users
from cardume.storage.urls import backend_for
from tests.storage.conftest import Press


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        "mysql://localhost/x",
        "postgresql+psycopg://localhost/x",
        "postgresql://localhost:port/x",
        "sqlite+nosuchdriver:///x.db",
        "sqlite+aiosqlite://",
        "sqlite+aiosqlite:///:memory:",
        "sqlite+aiosqlite:///file:x?mode=memory&cache=shared&uri=true",
    ],
)
def test_a_url_that_cannot_serve_says_what_to_write(url: str, press: Press) -> None:
    with pytest.raises(ConfigurationError, match=r"sqlite\+aiosqlite:///cardume\.db"):
        Storage(url, press)


async def test_the_driver_need_not_be_named(tmp_path: Path, press: Press) -> None:
    async with (
        Storage(f"sqlite:///{tmp_path / 'a.db'}", press) as storage,
        storage.read() as connection,
    ):
        assert (await connection.execute(select(users))).all() == []


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+asyncpg"])
def test_every_name_of_postgresql_means_asyncpg(scheme: str) -> None:
    backend = backend_for(f"{scheme}://me:hunter2@db.example:5433/tanks?sslmode=require")
    assert isinstance(backend, Postgres)
    assert backend.url.drivername == "postgresql+asyncpg"
    assert backend.where == "postgresql://me@db.example:5433/tanks"


def test_a_password_is_not_shown_wherever_it_stands() -> None:
    for url in ("postgresql://me:hunter2@h/x", "postgresql:///x?host=h&password=hunter2&user=me"):
        assert "hunter2" not in backend_for(url).where


@pytest.mark.parametrize("given", ["soon", "-1", "nan", "inf", "1e9"])
def test_how_long_to_wait_for_a_connection_is_a_number(given: str) -> None:
    with pytest.raises(ConfigurationError, match="connect_timeout is a number of seconds"):
        backend_for(f"postgresql://localhost/x?connect_timeout={given}")


@pytest.mark.parametrize("option", ["sslrootcert", "sslcert", "sslkey", "sslcrl"])
async def test_a_file_for_tls_that_is_not_there_is_named(option: str, tmp_path: Path) -> None:
    url = f"postgresql://127.0.0.1:1/x?sslmode=verify-full&{option}={tmp_path}/no.pem"
    with pytest.raises(ConfigurationError, match=rf"{option}: cannot read .*/no\.pem \(No such"):
        await backend_for(url).check()


async def test_a_file_for_tls_that_holds_something_else_is_told(tmp_path: Path) -> None:
    (tmp_path / "list.pem").write_text("a shopping list")
    url = f"postgresql://127.0.0.1:1/x?sslmode=verify-full&sslrootcert={tmp_path}/list.pem"
    with pytest.raises(ConfigurationError) as refused:
        await backend_for(url).check()
    assert "cannot be used with TLS" in str(refused.value)
    assert "is PostgreSQL running" not in str(refused.value)


def test_postgresql_needs_a_database() -> None:
    with pytest.raises(ConfigurationError, match="has to name a database"):
        backend_for("postgresql://localhost")


def test_without_its_driver_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cardume.storage.postgres.find_spec", lambda _name: None)
    with pytest.raises(ConfigurationError, match=r"pip install 'cardume\[postgres\]'"):
        backend_for("postgresql://localhost/x")
