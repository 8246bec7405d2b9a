"""A PostgreSQL of our own: made in a moment, killed and started again, gone with the tests."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from cardume.storage.migrate import bring_up_to_date
from cardume.storage.urls import backend_for
from tests.support.ports import free_port
from tests.support.waiting import wait_for

PASSWORD = "a-password-of-the-tests"

_EMPTY = "empty"
"""The database with the schema and nothing in it, of which the others are copies."""

_ACCESS = """
local all all trust
host all guarded 127.0.0.1/32 scram-sha-256
host all all 127.0.0.1/32 trust
"""
"""One user is asked for the password; it takes longer than all the rest of a connection."""

_WIPE = """
SET session_replication_role = replica;
DO $$ DECLARE name text; BEGIN
    FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public'
        AND tablename <> 'alembic_version'
    LOOP EXECUTE format('DELETE FROM %I', name); END LOOP;
    PERFORM setval(format('%I', sequencename), 1, false) FROM pg_sequences
        WHERE schemaname = 'public' AND last_value IS NOT NULL;
END $$
"""
"""Faster than another copy."""


def _folder_of_programs() -> Path | None:
    """Debian keeps them off the PATH, a folder for each version."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name))
    on_path = shutil.which("initdb")
    if on_path is not None:
        return Path(on_path).resolve().parent
    return debian[-1] if debian else None


class Postgres:
    """A cluster in a folder of its own, and databases in it."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs = programs
        self._folder = folder
        self._server: subprocess.Popen[bytes] | None = None
        self._numbers = count(1)
        self._clean: list[str] = []
        self.port = free_port()

    def make(self) -> None:
        """Once: its files, a user, the empty database."""
        # Words are ordered as people do, so that a test sees who relies on the order of bytes.
        order = ["--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en-US"]
        self._run("initdb", "-D", "data", "-E", "UTF8", "-U", "postgres", "--no-sync", *order)
        (self._folder / "data" / "pg_hba.conf").write_text(_ACCESS)
        self.start()
        self.sql("CREATE ROLE cardume LOGIN")
        self.sql(f"CREATE ROLE guarded LOGIN PASSWORD '{PASSWORD}'")
        self.sql(f"CREATE DATABASE {_EMPTY} OWNER cardume")
        _await(bring_up_to_date(backend_for(self.url(_EMPTY))))

    def start(self) -> None:
        """Start it, and return when it answers. From the main thread: it ends with its thread."""
        settings = {
            "unix_socket_directories": str(self._folder),
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "shared_buffers": "16MB",
            "max_connections": 60,
            "autovacuum": "off",
            "logging_collector": "off",
            # What a process wrote outlives it; only a machine that dies needs more.
            "fsync": "off",
            "full_page_writes": "off",
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        with (self._folder / "log").open("ab") as log:
            self._server = subprocess.Popen(
                [*self._as_its_user(), str(self._programs / "postgres"), "-D", "data", *options],
                cwd=self._folder,
                stdout=log,
                stderr=log,
            )
        wait_for(self._answers, f"PostgreSQL; see {self._folder}/log")

    def kill(self) -> None:
        """No process of it says goodbye."""
        assert self._server is not None
        self._server.send_signal(signal.SIGSTOP)  # or it makes new ones meanwhile
        children = _children(self._server.pid)
        for pid in (*children, self._server.pid):
            os.kill(pid, signal.SIGKILL)
        self._server.wait()
        wait_for(lambda: not any(_lives(pid) for pid in children), "its end")

    def pause(self) -> None:
        """It stays there, and answers nothing."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """As an administrator does who does not wait for the clients."""
        if self._server is not None and self._server.poll() is None:
            self._server.send_signal(signal.SIGINT)
            self._server.wait(15)

    @contextmanager
    def database(self) -> Iterator[str]:
        """The name of a database with the schema and no rows. Its tables stay as they are."""
        name = self._clean.pop() if self._clean else self._create(f"TEMPLATE {_EMPTY}")
        yield name
        self.sql(_WIPE, name)
        self._clean.append(name)

    @contextmanager
    def another(self, options: str = "TEMPLATE template0") -> Iterator[str]:
        """The name of a new database without any table."""
        name = self._create(options)
        yield name
        self.sql(f"DROP DATABASE {name} WITH (FORCE)")

    def _create(self, options: str) -> str:
        name = f"t{next(self._numbers)}"
        self.sql(f"CREATE DATABASE {name} OWNER cardume {options}")
        return name

    def url(self, database: str, user: str = "cardume") -> str:
        return f"postgresql://{user}:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def sql(self, statement: str, database: str = "postgres") -> list[Any]:
        """Do it as the superuser."""
        rows: list[Any] = _await(self._do(statement, database))
        return rows

    async def _do(self, statement: str, database: str) -> list[Any]:
        import asyncpg

        connection = await asyncpg.connect(
            host=str(self._folder), port=self.port, user="postgres", database=database
        )
        try:
            if ";" in statement:
                await connection.execute(statement)
                return []
            return list(await connection.fetch(statement))
        finally:
            await connection.close()

    def _answers(self) -> bool:
        assert self._server is not None
        assert self._server.poll() is None, (self._folder / "log").read_text()
        try:
            self.sql("SELECT 1")
        except Exception:  # it starts up
            return False
        return True

    def _signal(self, number: int) -> None:
        assert self._server is not None
        for pid in (self._server.pid, *_children(self._server.pid)):
            os.kill(pid, number)

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._as_its_user(), str(self._programs / program), *arguments]
        done = subprocess.run(command, cwd=self._folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    @staticmethod
    def _as_its_user() -> list[str]:
        """It refuses to run as root; and it ends with us, however we end."""
        command = ["setpriv", "--pdeathsig", "QUIT"]
        if os.geteuid() == 0:
            user = str(_user().pw_uid)
            command += ["--reuid", user, "--regid", str(_user().pw_gid), "--clear-groups"]
        return [*command, "--"]


def _user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def _children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found]


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def _await(work: Coroutine[Any, Any, Any]) -> Any:
    """Also from within a test whose loop is running."""
    with ThreadPoolExecutor(1) as other:
        return other.submit(asyncio.run, work).result()


@contextmanager
def running() -> Iterator[Postgres]:
    """A server until the block ends."""
    programs = _folder_of_programs()
    if programs is None or shutil.which("setpriv") is None:
        pytest.skip("PostgreSQL, or setpriv of util-linux, is not installed")
    if find_spec("asyncpg") is None:
        pytest.skip("asyncpg is not installed")
    folder = Path(tempfile.mkdtemp(prefix="cardume-pg-"))  # a socket's path has to be short
    if os.geteuid() == 0:
        os.chown(folder, _user().pw_uid, _user().pw_gid)
    server = Postgres(programs, folder)
    try:
        server.make()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)
