"""What only PostgreSQL has: a server that goes away, and is not always there to begin with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.exc import DBAPIError

from cardume.errors import ConfigurationError, Invalid, Unavailable
from cardume.storage import database
from cardume.storage import postgres as backend
from cardume.storage.database import Storage
from cardume.storage.tables import agents, users
from tests.storage.conftest import Press
from tests.storage.interruptions import Cut, Wire, wire
from tests.support.ports import free_port
from tests.support.postgres import PASSWORD, Postgres
from tests.support.waiting import eventually


@pytest.fixture
def dialect() -> str:
    return "postgresql"


async def add(storage: Storage, name: str) -> None:
    async with storage.write() as tx:
        await tx.execute(insert(users).values(name=name, password_hash="x", created_at=0.0))
        tx.emit("room:1", "x", name)


async def names(storage: Storage) -> list[str]:
    async with storage.read() as connection:
        return list(await connection.scalars(select(users.c.name).order_by(users.c.name)))


# -- values ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["nul \0", "long" * 100])
async def test_text_that_no_column_holds_is_the_askers_fault(storage: Storage, name: str) -> None:
    with pytest.raises(Invalid, match="fits no row"):
        await add(storage, name)
    assert storage.healthy


async def test_a_number_of_more_than_64_bits_is_the_askers_fault(storage: Storage) -> None:
    with pytest.raises(Invalid, match="fits no row"):
        async with storage.read() as connection:
            await connection.execute(select(agents).where(agents.c.version == 2**63))


async def test_names_are_in_the_order_of_their_bytes(storage: Storage) -> None:
    for name in ("b", "a", "B", "é", "_"):
        await add(storage, name)
    assert await names(storage) == ["B", "_", "a", "b", "é"]


async def test_a_reader_sees_one_moment(storage: Storage) -> None:
    async with storage.read() as connection:
        assert (await connection.execute(select(users))).all() == []
        await add(storage, "ana")
        assert (await connection.execute(select(users))).all() == []
    assert await names(storage) == ["ana"]


# -- the start ------------------------------------------------------------------------------


async def refusal(url: str, press: Press) -> str:
    with pytest.raises(ConfigurationError) as refused:
        await Storage(url, press).open()
    says = str(refused.value)
    assert "hunter2" not in says
    assert PASSWORD not in says
    assert "\n" not in says
    return says


async def test_what_is_wrong_is_said_at_the_start_and_no_password(
    postgres: Postgres, press: Press
) -> None:
    wrong = postgres.url("empty", "guarded").replace(PASSWORD, "hunter2")
    assert "check user and password" in await refusal(wrong, press)
    assert "createdb nowhere" in await refusal(postgres.url("nowhere"), press)
    nobody = f"postgresql://me:hunter2@127.0.0.1:{free_port()}/x"
    assert "is PostgreSQL running there" in await refusal(nobody, press)
    assert "address right" in await refusal("postgresql://me:hunter2@nowhere.invalid/x", press)
    assert "address right" in await refusal("postgresql:///x?host=/nowhere", press)
    assert "colour" in await refusal(postgres.url("empty") + "?colour=red", press)


async def test_options_of_the_url_are_libpqs_or_settings_of_the_server(
    postgres: Postgres, database_url: str, press: Press
) -> None:
    host, _, rest = database_url.removeprefix("postgresql://").partition("@")[2].partition(":")
    port, _, name = rest.partition("/")
    given = {"host": host, "port": port, "application_name": "tank", "sslmode": "disable"}
    asked = "&".join(f"{option}={value}" for option, value in given.items())
    url = f"postgresql:///{name}?user=cardume&{asked}&work_mem=5MB"
    async with Storage(url, press) as storage, storage.read() as connection:
        for setting, value in (("application_name", "tank"), ("work_mem", "5MB")):
            assert await connection.scalar(text(f"SHOW {setting}")) == value


async def test_a_database_that_cannot_hold_every_text_is_refused(
    postgres: Postgres, press: Press
) -> None:
    ascii_only = "ENCODING 'SQL_ASCII' LOCALE_PROVIDER libc LOCALE 'C' TEMPLATE template0"
    with postgres.another(ascii_only) as name:
        assert "ENCODING 'UTF8'" in await refusal(postgres.url(name), press)


async def test_a_user_who_may_make_no_tables_is_told(postgres: Postgres, press: Press) -> None:
    with postgres.another() as name:
        says = await refusal(postgres.url(name, "guarded"), press)
    assert "permission denied" in says


async def test_a_commit_is_durable_whatever_the_servers_default(
    postgres: Postgres, database_url: str, press: Press
) -> None:
    postgres.sql("ALTER ROLE cardume SET synchronous_commit = off")
    try:
        async with Storage(database_url, press) as storage, storage.write() as tx:
            assert (await tx.execute(text("SHOW synchronous_commit"))).scalar() == "on"
    finally:
        postgres.sql("ALTER ROLE cardume RESET synchronous_commit")


# -- a server that goes away ----------------------------------------------------------------


async def test_a_restart_between_two_transactions_is_not_noticed(
    postgres: Postgres, database_url: str, press: Press
) -> None:
    async with Storage(database_url, press) as storage:
        await add(storage, "ana")
        assert await names(storage) == ["ana"]
        await asyncio.to_thread(postgres.kill)
        postgres.start()
        await add(storage, "bo")
        await eventually(lambda: _reads(storage), "readers")
        assert await names(storage) == ["ana", "bo"]


async def test_nothing_acknowledged_is_lost_when_the_server_dies_while_we_write(
    postgres: Postgres, database_url: str, press: Press
) -> None:
    """And nothing is announced that was not kept, nor kept and not announced."""
    async with Storage(database_url, press) as storage:
        acknowledged: list[str] = []
        stop = asyncio.Event()

        async def write_on(who: str) -> None:
            number = 0
            while not stop.is_set():
                number += 1
                try:
                    await add(storage, f"{who}{number:05}")
                except Unavailable:
                    await asyncio.sleep(0.01)
                else:
                    acknowledged.append(f"{who}{number:05}")

        async def some_more() -> None:
            wanted = len(acknowledged) + 50
            await eventually(lambda: _true(len(acknowledged) >= wanted), "acknowledgements")

        async with asyncio.TaskGroup() as group:
            for who in "abc":
                group.create_task(write_on(who))
            for _ in range(2):
                await some_more()
                await asyncio.to_thread(postgres.kill)
                assert not await _reads(storage)
                postgres.start()
            await some_more()
            stop.set()
        kept = await names(storage)
    assert set(acknowledged) <= set(kept)
    assert press.data == sorted(set(press.data), key=press.data.index)
    assert sorted(press.data) == kept
    assert storage.healthy


async def _true(value: bool) -> bool:
    return value


async def _reads(storage: Storage) -> bool:
    try:
        await names(storage)
    except Unavailable:
        return False
    return True


async def test_a_server_that_hangs_is_unavailable_until_it_goes_on(
    postgres: Postgres, database_url: str, press: Press, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "ANSWER_WITHIN", 0.3)
    monkeypatch.setattr(backend, "CONNECT_WITHIN", 0.3)
    async with Storage(database_url, press) as storage:
        await add(storage, "ana")
        postgres.pause()
        try:
            with pytest.raises(Unavailable):
                await add(storage, "bo")
            with pytest.raises(Unavailable):
                await names(storage)
            assert not storage.healthy
        finally:
            postgres.go_on()
        await add(storage, "eva")
        assert await names(storage) == ["ana", "eva"]
        assert storage.healthy


async def test_a_database_that_goes_read_only_and_back(
    postgres: Postgres, database_url: str, press: Press
) -> None:
    name = database_url.rpartition("/")[2]
    async with Storage(database_url, press) as storage:
        await add(storage, "ana")
        for state in ("on", "off"):
            postgres.sql(f"ALTER DATABASE {name} SET default_transaction_read_only = {state}")
            postgres.sql(
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
            )
            if state == "on":
                with pytest.raises(Unavailable):
                    await add(storage, "bo")
                await eventually(lambda: _reads(storage), "readers")
                assert await names(storage) == ["ana"]
                assert not storage.healthy
        await eventually(lambda: _reads(storage), "readers")
        await add(storage, "eva")
        assert (await names(storage), press.data) == (["ana", "eva"], ["ana", "eva"])


async def test_who_sleeps_in_the_middle_of_a_transaction_loses_the_turn(
    database_url: str, press: Press, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "IDLE_WITHIN", "300ms")
    async with Storage(database_url, press) as sleeper, Storage(database_url, press) as other:

        async def sleep_in_the_middle() -> None:
            async with sleeper.write() as tx:
                await tx.execute(insert(users).values(name="s", password_hash="", created_at=0.0))
                tx.emit("room:1", "x", "s")
                await add(other, "o")  # waits for the turn, and is given it

        with pytest.raises(Unavailable):
            await sleep_in_the_middle()
        assert (await names(other), press.data) == (["o"], ["o"])
        await add(sleeper, "again")


# -- a commit without an answer -------------------------------------------------------------


@pytest.fixture
async def cuttable(postgres: Postgres) -> AsyncIterator[Wire]:
    async with wire(postgres.port) as made:
        yield made


@pytest.fixture
async def beyond(
    cuttable: Wire, postgres: Postgres, database_url: str, press: Press
) -> AsyncIterator[Storage]:
    """A database at the other end of it."""
    url = database_url.replace(f":{postgres.port}/", f":{cuttable.port}/")
    async with Storage(url + "?sslmode=disable&connect_timeout=5", press) as storage:
        yield storage


async def test_what_was_kept_is_acknowledged_and_announced_though_the_answer_was_lost(
    beyond: Storage, cuttable: Wire, press: Press
) -> None:
    for name in ("ana", "bo"):
        cuttable.next_commit = Cut.AFTER
        await add(beyond, name)
    assert (await names(beyond), press.data) == (["ana", "bo"], ["ana", "bo"])


async def test_what_was_not_kept_is_not_announced(
    beyond: Storage, cuttable: Wire, press: Press
) -> None:
    cuttable.next_commit = Cut.BEFORE
    with pytest.raises(Unavailable):
        await add(beyond, "ana")
    assert (await names(beyond), press.data) == ([], [])


@pytest.mark.parametrize("cut", [Cut.BEFORE, Cut.AFTER])
async def test_what_nobody_knew_is_announced_before_the_next_transaction(
    beyond: Storage, cuttable: Wire, press: Press, monkeypatch: pytest.MonkeyPatch, cut: Cut
) -> None:
    monkeypatch.setattr(database, "SETTLED_WITHIN", 0.0)
    seen: list[list[str]] = []
    cuttable.next_commit = cut
    with pytest.raises(Unavailable):
        await add(beyond, "ana")
    assert press.data == []
    cuttable.cut()
    with pytest.raises(Unavailable):
        await add(beyond, "bo")
    cuttable.whole = True
    async with beyond.write() as tx:
        seen.append(list(press.data))
        tx.emit("room:1", "x", "eva")
    kept = ["ana"] if cut is Cut.AFTER else []
    assert seen == [kept]
    assert (await names(beyond), press.data) == (kept, [*kept, "eva"])


# -- whose fault an error is ----------------------------------------------------------------


async def fail_with(storage: Storage, state: str) -> None:
    """The server says so itself."""
    async with storage.write() as tx:
        await tx.execute(text(f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{state}'; END $$"))


@pytest.mark.parametrize(
    "state", ["53100", "53200", "53300", "57P01", "57P03", "57014", "58030", "40P01", "55P03"]
)
async def test_a_server_that_has_no_room_or_no_time_is_unavailable(
    storage: Storage, state: str
) -> None:
    with pytest.raises(Unavailable):
        await fail_with(storage, state)
    assert not storage.healthy
    await add(storage, "ana")
    assert storage.healthy


@pytest.mark.parametrize("state", ["42601", "42703", "42804", "22012", "0A000"])
async def test_a_bug_is_raised_as_it_is(storage: Storage, state: str) -> None:
    with pytest.raises(DBAPIError):
        await fail_with(storage, state)
    assert storage.healthy
