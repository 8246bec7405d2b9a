"""One running server: health, docs, accounts, devices by command, and what is in the log."""

from __future__ import annotations

import json
import shutil
import subprocess
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from typer.testing import CliRunner
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from cardume.server.cli import app
from tests.server.conftest import rows, until_type
from tests.support.probe import acknowledged, probing
from tests.support.server import API_KEY, Server
from tests.support.waiting import wait_for


def test_health_and_readiness(live: Server) -> None:
    health = live.client.get("/health")
    assert (health.status_code, health.json()["status"]) == (200, "ok")
    assert live.client.get("/ready").json() == {"status": "ready", "problems": []}


def test_docs_and_schema_are_on(live: Server) -> None:
    assert "swagger" in live.client.get("/docs").text
    schema = live.client.get("/openapi.json").json()
    paths = set(schema["paths"])
    assert {
        "/api/publish",
        "/api/v1/auth/token",
        "/api/v1/auth/me",
        "/api/v1/aquariums",
        "/api/v1/aquariums/{aquarium_id}/overview",
        "/api/v1/aquariums/{aquarium_id}/readings",
        "/api/v1/devices/{device_id}/status",
        "/api/v1/devices/{device_id}/events",
        "/api/v1/alerts/{alert_id}/ack",
        "/health",
        "/ready",
    } <= paths


def test_every_answer_carries_the_headers(live: Server) -> None:
    for path in ("/", "/health", "/api/v1/aquariums", "/nothing-here"):
        headers = live.client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "default-src 'self'" in headers["content-security-policy"]
        assert "server" not in headers


@pytest.mark.parametrize(
    "path", ["/nothing", "/%00", "/%ff", "/../../etc/passwd", "/" + "x" * 3000, "/api/v1/nothing"]
)
def test_an_address_that_is_not_there(live: Server, path: str) -> None:
    response = live.client.get(path)
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"


def test_a_wrong_method_and_a_body_too_deep_are_problems(live: Server) -> None:
    assert live.client.put("/health").status_code == 405
    headers = {"Authorization": f"Bearer {live.token()}", "Content-Type": "application/json"}
    deep = live.client.post("/api/v1/aquariums", content="[" * 100_000, headers=headers)
    assert deep.status_code == 400
    assert deep.headers["content-type"] == "application/problem+json"


# -- accounts -------------------------------------------------------------------------------


def command(live: Server, *arguments: str, input: str = "") -> str:
    """Run a command on the database of the running server; what it printed."""
    where = f"sqlite+aiosqlite:///{live.database}"
    result = CliRunner().invoke(app, [*arguments, "--database", where], input=input)
    assert result.exit_code == 0, result.output
    return result.stdout.strip()


def add_user(live: Server, name: str, password: str, *more: str) -> None:
    command(live, "user", "add", name, "--password-stdin", *more, input=password + "\n")


def log_in(live: Server, name: str, password: str) -> Any:
    return live.client.post("/api/v1/auth/token", data={"username": name, "password": password})


def test_a_user_added_while_it_runs_can_log_in(live: Server) -> None:
    add_user(live, "bia", "correct horse")
    response = log_in(live, "bia", "correct horse")
    assert response.status_code == 200
    token = response.json()
    assert (token["token_type"], token["expires_in"]) == ("bearer", 43_200)
    headers = {"Authorization": f"Bearer {token['access_token']}"}
    me = live.client.get("/api/v1/auth/me", headers=headers).json()
    assert (me["sub"], me["kind"], me["role"]) == ("bia", "user", None)
    for name, password in (("bia", "wrong"), ("nobody", "correct horse"), ("bia", "")):
        assert log_in(live, name, password).status_code in (401, 422)
    add_user(live, "bia", "another password", "--admin")  # a new password, and a role
    assert log_in(live, "bia", "correct horse").status_code == 401
    admin = log_in(live, "bia", "another password").json()["access_token"]
    headers = {"Authorization": f"Bearer {admin}"}
    assert live.client.get("/api/v1/auth/me", headers=headers).json()["role"] == "admin"
    assert "correct horse" not in live.log


def test_guessing_is_slowed_down(live: Server) -> None:
    with ThreadPoolExecutor(40) as pool:
        guesses = pool.map(lambda n: log_in(live, "nobody", f"guess {n}").status_code, range(40))
        assert set(guesses) == {401, 429}


def test_me_without_a_token(live: Server) -> None:
    response = live.client.get("/api/v1/auth/me")
    assert response.status_code == 401
    assert response.headers["content-type"] == "application/problem+json"


# -- devices --------------------------------------------------------------------------------


def test_a_device_added_by_command_speaks_over_mqtt(live: Server) -> None:
    key = command(live, "device", "add", "cli-probe", "--aquarium", "1")
    with live.listen(1) as ws, probing(live.mqtt_port, "cli-probe", key) as probe:
        until_type(ws, "snapshot")
        acknowledged(probe.send({"metric": "ph", "value": 8.1}))
        assert until_type(ws, "reading")[-1]["data"]["device_id"] == "cli-probe"
        status = live.ok("GET", "/devices/cli-probe/status")
        assert (status["status"], status["connected"]) == ("online", True)
        live.ok("DELETE", "/devices/cli-probe")
        wait_for(lambda: not probe.client.is_connected(), "its eviction")


@pytest.mark.skipif(shutil.which("mosquitto_pub") is None, reason="mosquitto-clients is missing")
def test_mosquitto_pub_plays_a_device(live: Server) -> None:
    key = live.ok("POST", "/devices", {"device_id": "mosq", "aquarium_id": 1})["key"]
    with live.listen(1) as ws:
        until_type(ws, "snapshot")
        base = ["mosquitto_pub", "-p", str(live.mqtt_port), "-q", "1", "-i", "mosq"]
        reading = ["-t", "aquabook/mosq/reading", "-m", '{"metric":"temperature","value":25.3}']
        good = subprocess.run([*base, "-u", "mosq", "-P", key, *reading], timeout=20, check=False)
        assert good.returncode == 0
        frame = until_type(ws, "reading")[-1]
        assert (frame["data"]["value"], frame["channel"]) == (25.3, "aquarium:1")
        bad = subprocess.run(
            [*base, "-u", "mosq", "-P", "wrong", *reading],
            timeout=20,
            check=False,
            capture_output=True,
        )
        assert bad.returncode != 0
        other = ["-t", "aquabook/other/reading", "-m", '{"metric":"temperature","value":99}']
        subprocess.run([*base, "-u", "mosq", "-P", key, *other], timeout=20, check=False)
    assert key not in live.log
    values = rows(live.database, "SELECT value FROM readings WHERE metric = 'temperature'")
    assert values == [(25.3,)]


# -- WebSockets -----------------------------------------------------------------------------


def closed_with(address: str) -> int:
    with connect(address) as ws, pytest.raises(ConnectionClosed) as closed:  # noqa: PT012
        while True:
            ws.recv(timeout=15)
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code


def test_who_may_not_listen_is_told_why(live: Server) -> None:
    base = f"ws://127.0.0.1:{live.port}/ws/aquarium"
    assert closed_with(f"{base}/1") == 3500
    assert closed_with(f"{base}/1?token=x.y.z") == 3500
    assert closed_with(f"{base}/1?token={live.token('eva')}") == 3507
    assert closed_with(f"{base}/99?token={live.token('root', role='admin')}") == 3508
    with pytest.raises(InvalidStatus) as refused:
        connect(f"{base}/1?token={live.token()}", origin=Origin("https://evil.example"))
    assert refused.value.response.status_code == 403


def test_no_credential_is_in_the_log_even_at_debug(live: Server) -> None:
    marker = uuid.uuid4().hex
    token = live.token(f"who-{marker}", role="admin")
    with connect(f"ws://127.0.0.1:{live.port}/ws/aquarium/1?token={token}") as ws:
        until_type(ws, "snapshot")
    closed_with(f"ws://127.0.0.1:{live.port}/ws/aquarium/1?token={token}x")
    live.client.get("/api/v1/aquariums", params={"token": token, "seen": marker})
    live.client.get("/api/v1/aquariums", headers={"Authorization": f"Bearer {token}"})
    live.publish({"channel": "x", "data": {"secret": f"payload-{marker}"}})
    log_in(live, "bia", f"password-{marker}")
    wait_for(lambda: f"seen={marker}" in live.log, "the access log")
    log = live.log
    assert "/ws/aquarium/1?token=" in log  # uvicorn did write its line
    assert token not in log
    assert token.split(".")[1] not in log
    assert token.split(".")[2] not in log
    assert API_KEY not in log
    assert f"payload-{marker}" not in log
    assert f"password-{marker}" not in log
    assert "Traceback" not in log


# -- bad input ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "payload",
    [b"", b"{", b"\xff", b'{"temperature":NaN}', b'{"temperature":"x"}', b"[" * 60_000,
     b'{"temperature":1,"pad":"' + b"x" * 60_000 + b'"}'],
)  # fmt: skip
def test_nonsense_is_acknowledged_dropped_and_forgotten(live: Server, payload: bytes) -> None:
    name = f"n{uuid.uuid4().hex[:8]}"
    key = live.ok("POST", "/devices", {"device_id": name, "aquarium_id": 1})["key"]
    with probing(live.mqtt_port, name, key) as probe:
        sent = probe.send(payload)
        acknowledged(sent, probe.send({"metric": "nonsense", "value": 1}))
    assert json.dumps(live.ok("GET", f"/devices/{name}/status")["status"]) == '"online"'
    assert live.client.get("/ready").status_code == 200
