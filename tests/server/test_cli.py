from __future__ import annotations

import sqlite3
import uuid
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import cardume
from cardume.auth.identity import IdentityKind
from cardume.auth.tokens import build_verifier
from cardume.clock import SystemClock
from cardume.server.cli import app
from tests.server.conftest import until_type
from tests.support.ports import free_port
from tests.support.server import API_KEY, SECRET, Server
from tests.support.server import cardume as run_process


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty one, with the environment of a server that was set up."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CARDUME_JWT_SECRET", SECRET)
    monkeypatch.setenv("CARDUME_API_KEY", API_KEY)
    monkeypatch.setenv("CARDUME_PORT", str(free_port()))
    monkeypatch.setenv("CARDUME_MQTT_PORT", str(free_port()))
    return tmp_path


def run(*arguments: str, input: str | None = None) -> Result:
    return CliRunner().invoke(app, list(arguments), input=input)


def fails(*arguments: str, input: str | None = None) -> str:
    """The one line it fails with."""
    result = run(*arguments, input=input)
    assert result.exit_code == 1, result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("cardume: ")
    return line


def test_version_and_help(tmp_path: Path) -> None:
    version = run_process("--version", cwd=tmp_path)
    assert (version.returncode, version.stdout) == (0, f"cardume {cardume.__version__}\n")
    overview = run("--help")
    assert overview.exit_code == 0
    for command in ("serve", "demo", "token", "user", "device", "exec", "publish", "doctor"):
        assert command in overview.output
        assert run(command, "--help").exit_code == 0
    assert run("-h").exit_code == 0


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["token"], ["device", "add"], ["device", "add", "d"], ["publish", "x"],
     ["serve", "--port", "http"], ["serve", "--log-level", "loud"]],
)  # fmt: skip
def test_wrong_usage_is_exit_2(arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2


async def test_a_token_says_what_was_asked() -> None:
    result = run("token", "--user", "ana", "--aquarium", "7", "--aquarium", "8", "--ttl", "90s",
                 "--role", "service", "--channel", "room:*")  # fmt: skip
    assert result.exit_code == 0
    clock = SystemClock()
    identity = await build_verifier(clock=clock, secret=SECRET).verify(result.output.strip())
    assert identity.sub == "ana"
    assert identity.is_service
    assert identity.grants("aquariums", 7)
    assert identity.may_subscribe_by_claim("room:1")
    assert identity.expires_at is not None
    assert 80 < identity.expires_at - clock.now() <= 90


async def test_a_token_for_an_agent_and_one_that_may_broadcast() -> None:
    verifier = build_verifier(clock=SystemClock(), secret=SECRET)
    given = run("token", "--agent", "agent_scout_001", "--broadcast").output.strip()
    identity = await verifier.verify(given)
    assert (identity.sub, identity.kind) == ("agent_scout_001", IdentityKind.AGENT)
    assert identity.claims["broadcast"] is True


def test_a_token_that_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    for ttl in ("0", "-1h", "soon", "nan", "inf", "999999d", ""):
        assert "--ttl" in fails("token", "--user", "ana", f"--ttl={ttl}")
    assert "--user" in fails("token", "--user", "")
    both = run("token", "--user", "ana", "--agent", "agent_scout_001")
    assert (both.exit_code, "--agent" in both.output) == (2, True)
    assert "characters" in fails("token", "--user", "ana", *["--channel", "x" * 250] * 40)
    monkeypatch.setenv("CARDUME_JWT_SECRET", "short")
    assert "32 bytes" in fails("token", "--user", "ana")
    monkeypatch.delenv("CARDUME_JWT_SECRET")
    assert "CARDUME_JWT_SECRET" in fails("token", "--user", "ana")


def test_users(folder: Path) -> None:
    added = run("user", "add", "ana", input="a password\na password\n")
    assert added.exit_code == 0, added.output
    assert "a password" not in added.output
    assert run("user", "add", "ana", "--password-stdin", input="another one\n").exit_code == 0
    with sqlite3.connect(folder / "cardume.db") as connection:
        names = connection.execute("SELECT name, role FROM users").fetchall()
    connection.close()
    assert names == [("ana", None)]
    for password in ("short", "", "x" * 1025):
        assert "characters" in fails("user", "add", "eva", "--password-stdin", input=password)
    for name in ("", "x" * 256, "a\nb"):
        assert "name" in fails("user", "add", name, "--password-stdin", input="a password\n")


def test_devices(folder: Path) -> None:
    assert "none yet" in fails("device", "add", "d", "--aquarium", "1")
    with sqlite3.connect(folder / "cardume.db") as connection:
        connection.execute("INSERT INTO aquariums VALUES (3, 'Reef', 'reef', 0, 'ana')")
    connection.close()
    assert "there is 3" in fails("device", "add", "d", "--aquarium", "1")
    added = run("device", "add", "d", "--aquarium", "3", "--name", "Sump", "--interval", "60")
    assert added.exit_code == 0
    assert len(added.stdout.strip()) == 43
    assert "registered already" in fails("device", "add", "d", "--aquarium", "3")
    assert "device id" in fails("device", "add", "a/b", "--aquarium", "3")
    assert "--interval" in fails("device", "add", "e", "--aquarium", "3", "--interval", "0")
    assert "64 bits" in fails("device", "add", "e", "--aquarium", str(2**64))


def test_a_database_that_cannot_be(folder: Path) -> None:
    (folder / "cardume.db").write_bytes(b"something else" * 100)
    assert "cannot be used" in fails("user", "add", "a", "--password-stdin", input="a password\n")
    elsewhere = ["--database", "mysql://x"]
    assert "sqlite" in fails("device", "add", "d", "--aquarium", "1", *elsewhere)


def test_publish(live: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"cli-{uuid.uuid4().hex[:8]}"
    to = ["--url", live.url]
    epoch, offset = run("publish", name, '{"a": 1}', *to).output.strip().split(":")
    assert (len(epoch) > 0, offset) == (True, "1")
    assert run("publish", name, "-", *to, input="[1]").output.strip() == f"{epoch}:2"
    with live.listen(1) as ws:
        until_type(ws, "snapshot")
        run("publish", "aquarium:1", '"hello"', "--type", "note", "--key", "k", *to)
        assert until_type(ws, "note")[-1]["data"] == "hello"
    assert "not JSON" in fails("publish", name, "hello", *to)
    assert "channel" in fails("publish", "no spaces", "1", *to)
    assert "no server" in fails("publish", name, "1", "--url", f"http://127.0.0.1:{free_port()}")
    assert "no server" in fails("publish", name, "1", "--url", "nonsense")
    assert "413" in fails("publish", name, f'"{"x" * 70_000}"', *to)
    monkeypatch.setenv("CARDUME_API_KEY", "wrong")
    assert "CARDUME_API_KEY" in fails("publish", name, "1", *to)
    monkeypatch.delenv("CARDUME_API_KEY")
    assert "CARDUME_API_KEY" in fails("publish", name, "1", *to)


def test_the_doctor_finds_nothing_and_changes_nothing(folder: Path) -> None:
    result = run("doctor")
    assert result.exit_code == 0, result.output
    assert "FAIL" not in result.output
    assert list(folder.iterdir()) == []
    run("user", "add", "ana", "--password-stdin", input="a password\n")
    assert run("doctor").exit_code == 0


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("CARDUME_JWT_SECRET", "short", "32 bytes"),
        ("CARDUME_DATABASE_URL", "sqlite+aiosqlite:////nowhere/x.db", "make it first"),
        ("CARDUME_DATABASE_URL", "mysql://x", "sqlite"),
        ("CARDUME_ALLOWED_ORIGINS", "example.com/", "CARDUME_ALLOWED_ORIGINS"),
        ("CARDUME_APPS", "teapot", "teapot"),
        ("CARDUME_MQTT_URL", "mqtt://localhost/topic", "CARDUME_MQTT_URL"),
        ("CARDUME_MQTT_URL", "mqtt://127.0.0.1:1", "connection refused"),
        ("CARDUME_OFFLINE_AFTER", "never", "CARDUME_OFFLINE_AFTER"),
        ("CARDUME_OFFLINE_AFTR", "3", "CARDUME_OFFLINE_AFTR"),
    ],
)
def test_the_doctor_says_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.setenv(name, value)
    result = run("doctor")
    assert result.exit_code == 1
    (line,) = [line for line in result.output.splitlines() if line.startswith("FAIL")]
    assert says in line


def test_the_doctor_finds_taken_ports(live: Server) -> None:
    ports = ["--port", str(live.port), "--mqtt-port", str(live.mqtt_port)]
    result = run("doctor", *ports)
    assert result.exit_code == 1
    assert result.output.count("is in use") == 2


def test_the_doctor_reads_no_broken_file(folder: Path) -> None:
    (folder / "cardume.toml").write_text("= 1")
    result = run("doctor")
    assert result.exit_code == 1
    assert "cardume.toml" in result.output


def test_the_doctor_migrates_nothing(folder: Path) -> None:
    path = folder / "cardume.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE other (x)")
    before = path.read_bytes()
    result = run("doctor")
    assert (result.exit_code, "something else" in result.output) == (1, True)
    assert path.read_bytes() == before
    assert [item.name for item in folder.iterdir()] == [path.name]


def test_a_new_password_leaves_an_admin_an_admin(folder: Path) -> None:
    run("user", "add", "ana", "--admin", "--password-stdin", input="a password\n")
    run("user", "add", "ana", "--password-stdin", input="another password\n")
    with closing(sqlite3.connect(folder / "cardume.db")) as database:
        assert database.execute("SELECT name, role FROM users").fetchall() == [("ana", "admin")]


def test_a_role_that_nobody_knows(folder: Path) -> None:
    assert run("token", "--user", "ana", "--role", "emperor").exit_code == 2
