"""`cardume db`, and the doctor's look at a server's database."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cardume.server.cli import app
from cardume.settings import Settings
from cardume.storage import migrate
from cardume.storage.owned import OwnedStorage
from cardume.testing import FakeClock
from tests.support.databases import on_both
from tests.support.ports import free_port
from tests.support.postgres import PASSWORD, Postgres

NEWEST = migrate.revisions()[0]


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments))
    assert PASSWORD not in result.output
    return result.exit_code, result.output


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("DATABASE_URL", "JWT_SECRET"):
        monkeypatch.delenv(f"CARDUME_{name}", raising=False)


@on_both
def test_up_and_down_and_up_again(bare_url: str) -> None:
    there = ["--database", bare_url]
    assert run("db", "current", *there) == (0, f"nothing yet (the newest is {NEWEST})\n")
    assert run("db", "upgrade", *there) == (0, f"the schema is at {NEWEST}\n")
    assert run("db", "current", *there) == (0, f"{NEWEST} (the newest)\n")

    refused, says = run("db", "downgrade", "0001", *there)
    assert refused == 1
    assert "would lose: table cards, 0 rows" in says
    assert "add --yes" in says
    assert run("db", "current", *there) == (0, f"{NEWEST} (the newest)\n")

    done, says = run("db", "downgrade", "0001", "--yes", *there)
    assert done == 0
    assert "lost: table cards, 0 rows" in says
    assert run("db", "current", *there) == (0, f"0001 (the newest is {NEWEST})\n")
    assert run("db", "upgrade", *there) == (0, f"the schema is at {NEWEST}\n")


def test_a_downgrade_to_what_is_not_older_is_refused(bare_url: str) -> None:
    there = ["--database", bare_url]
    run("db", "upgrade", *there)
    for revision in (NEWEST, "nonsense"):
        refused, says = run("db", "downgrade", revision, "--yes", *there)
        assert refused == 1
        assert "0001, base" in says


@on_both
def test_beside_a_server_that_has_the_database_nothing_is_changed(database_url: str) -> None:
    async def with_an_owner() -> tuple[int, str]:
        async with OwnedStorage(database_url, _nobody_listens, FakeClock()):
            command = ("db", "downgrade", "0001", "--yes", "--database", database_url)
            return await asyncio.to_thread(run, *command)

    refused, says = asyncio.run(with_an_owner())
    assert refused == 1
    assert "in use by another server" in says


async def _nobody_listens(*_: object, **__: object) -> None:
    return None


def doctor(url: str) -> str:
    """What it says of the database."""
    _, says = run("doctor", "--database", url, "--port", "0", "--mqtt-port", "0")
    (line,) = [line for line in says.splitlines() if " database: " in line]
    return line


def test_the_doctor_looks_at_a_server_and_changes_nothing(postgres: Postgres) -> None:
    with postgres.another() as name:
        url = postgres.url(name)
        assert doctor(url).startswith("ok")
        assert "brought up to date at the next start" in doctor(url)
        assert postgres.sql("SELECT * FROM pg_tables WHERE schemaname = 'public'", name) == []
        run("db", "upgrade", "--database", url)
        assert "schema up to date" in doctor(url)
        postgres.sql("UPDATE alembic_version SET version_num = '9999'", name)
        assert "newer Cardume" in doctor(url)
    assert "FAIL" in doctor(url)
    assert "does not exist" in doctor(url)
    with postgres.another() as name:
        postgres.sql("CREATE TABLE others (x int)", name)
        assert "something else" in doctor(postgres.url(name))


def test_a_search_path_without_a_schema_is_told_before_the_start(postgres: Postgres) -> None:
    with postgres.another() as name:
        line = doctor(f"{postgres.url(name)}?search_path=nope")
    assert line.startswith("FAIL")
    assert "search_path (nope)" in line


def test_of_a_database_that_cannot_be_asked_no_owner_is_told() -> None:
    url = f"postgresql://me@127.0.0.1:{free_port()}/x"
    _, says = run("doctor", "--database", url, "--port", "0", "--mqtt-port", "0")
    assert "FAIL database" in says
    assert "owner" not in says


def test_a_downgrade_says_what_it_wants() -> None:
    refused, says = run("db", "downgrade")
    assert refused == 2
    assert "REVISION" in says


def test_no_password_is_shown_by_printing_the_settings() -> None:
    assert PASSWORD not in repr(Settings(database_url=f"postgresql://me:{PASSWORD}@h/x"))
