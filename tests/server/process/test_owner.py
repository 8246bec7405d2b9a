"""Two servers on one database by mistake: real processes, killed, paused and gone on."""

from __future__ import annotations

import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import httpx2
import pytest
from typer.testing import CliRunner, Result

from cardume.server.cli import app
from tests.support.server import Server, cardume, environment, serving
from tests.support.waiting import wait_for

LEASE = "2"
PORTS = ("--port", "0", "--mqtt-port", "0")


def owner(database: Path) -> sqlite3.Row:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        row: sqlite3.Row = connection.execute("SELECT * FROM ownership").fetchone()
        return row


def run(*arguments: str, folder: Path, **env: str) -> Result:
    """A command in this process: it comes to the same, and starts sooner."""
    where = f"sqlite+aiosqlite:///{folder / 'cardume.db'}"
    settings = {**environment(**env), "CARDUME_DATABASE_URL": where}
    return CliRunner().invoke(app, list(arguments), env=settings)


def test_the_second_is_refused_in_one_line_and_commands_go_through_the_first(
    tmp_path: Path,
) -> None:
    with serving(tmp_path) as first:
        second = cardume("serve", *PORTS, cwd=tmp_path)
        assert second.returncode == 1
        (line,) = second.stderr.splitlines()
        for part in ("in use", f"pid {first.process.pid}", first.url, "since", "heartbeat"):
            assert part in line
        doctor = run("doctor", *PORTS, folder=tmp_path).stdout
        assert f"FAIL owner: in use (host {owner(first.database)['host']}" in doctor

        tank = first.ok("POST", "/aquariums", {"name": "Reef", "kind": "reef"})["id"]
        device = ("device", "add", "probe", "--aquarium", str(tank), "--interval", "60")
        added = run(*device, folder=tmp_path)
        assert len(added.stdout.strip()) == 43, added.stderr
        assert first.ok("GET", "/devices/probe")["expected_interval_seconds"] == 60
        again = run(*device, folder=tmp_path)
        assert (again.exit_code, "registered already" in again.stderr) == (1, True)
        other = run(*device, folder=tmp_path, CARDUME_JWT_SECRET="another" * 8)
        assert "POST /api/v1/devices" in other.stderr
        assert len(other.stderr.splitlines()) == 1
        first.kill()
    assert "FAIL owner" not in run("doctor", *PORTS, folder=tmp_path).stdout
    assert run("device", "add", "pump", "--aquarium", "1", folder=tmp_path).exit_code == 0
    with serving(tmp_path) as after:  # at once, whatever the lease says
        assert "taking over" in after.log
        assert {d["device_id"] for d in after.ok("GET", "/devices", role="admin")["items"]} == {
            "probe",
            "pump",
        }


def test_one_that_was_paused_writes_nothing_when_it_goes_on(tmp_path: Path) -> None:
    first = Server(tmp_path, CARDUME_OWNER_LEASE=LEASE)
    first.ok("POST", "/aquariums", {"name": "Reef", "kind": "reef"})
    first.process.send_signal(signal.SIGSTOP)
    wait_for(lambda: time.time() - owner(first.database)["beat_at"] > float(LEASE) / 2)
    with serving(tmp_path, CARDUME_OWNER_LEASE=LEASE) as second:
        assert owner(second.database)["pid"] == second.process.pid
        # What it is asked while it is paused waits for it, and is the first thing that it does.
        asked = httpx2.Client(base_url=first.url, timeout=0.2)
        with pytest.raises(httpx2.TimeoutException), asked:
            asked.post(
                "/api/v1/aquariums",
                json={"name": "Stale", "kind": "reef"},
                headers={"Authorization": f"Bearer {first.token()}"},
            )
        first.process.send_signal(signal.SIGCONT)
        assert first.process.wait(20) == 1
        told = [line for line in first.log.splitlines() if line.startswith("cardume: ")]
        assert len(told) == 1
        assert f"pid {second.process.pid}" in told[0]
        assert "Traceback" not in first.log
        second.ok("POST", "/aquariums", {"name": "Sump", "kind": "reef"})
        names = [item["name"] for item in second.ok("GET", "/aquariums")["items"]]
        assert names == ["Reef", "Sump"]
        assert second.client.get("/ready").status_code == 200
    first.kill()
