"""One running server: health, docs, accounts, devices by command, and what is in the log."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import pytest
from typer.testing import CliRunner
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from cardume.server.cli import app
from tests.server.conftest import rows, until_type
from tests.support.probe import acknowledged, probing
from tests.support.server import API_KEY, SECRET, Server
from tests.support.waiting import wait_for


def test_health_and_readiness(live: Server) -> None:
    health = live.client.get("/health")
    assert (health.status_code, health.json()["status"]) == (200, "ok")
    assert live.client.get("/ready").json() == {"status": "ready", "problems": []}


def test_docs_and_schema_are_on(live: Server) -> None:
    for path in ("/docs", "/redoc"):
        page = live.client.get(path).text
        assert "http://" not in page.replace("http://www.w3.org", "")
        assert "https://" not in page
        loaded = re.findall(r'(?:src|href)="([^"]+)"', page)
        assert len(loaded) >= 2
        for address in loaded:
            assert live.client.get(address).status_code == 200
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


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["/", "/nothing", "/api/v1/agentss", "/app.js", "/agents/"])
def test_the_page_is_no_reason_for_405(live: Server, method: str, path: str) -> None:
    response = live.client.request(method, path)
    assert (response.status_code, response.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/health", "GET"),
        ("PUT", "/agents", "GET, POST"),
        ("GET", "/ws/broadcast", "POST"),
        ("POST", "/api/v1/aquariums/1/overview", "GET"),
        ("PUT", "/api/v1/aquariums/1", "GET, PATCH, DELETE"),
        ("HEAD", "/api/publish", "POST"),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(
    live: Server, method: str, path: str, allowed: str
) -> None:
    response = live.client.request(method, path)
    assert response.status_code == 405
    assert response.headers["allow"] == allowed
    if method != "HEAD":
        assert response.json()["code"] == "method_not_allowed"
        assert allowed in response.json()["detail"]


def test_the_page_has_a_head(live: Server) -> None:
    response = live.client.head("/")
    assert (response.status_code, response.content) == (200, b"")


# -- bodies -----------------------------------------------------------------------------------


def chunks(size: int) -> Iterator[bytes]:
    yield from (b" " * 65_536 for _ in range(size // 65_536))


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("how", ["announced", "chunked"])
def test_bodies_do_not_fill_the_memory(live: Server, how: str, known: bool) -> None:
    size = 48 * 1024 * 1024
    process = psutil.Process(live.process.pid)
    before = process.memory_info().rss
    for path, kind in (
        ("/api/v1/aquariums", "application/json"),
        ("/api/v1/auth/token", "application/x-www-form-urlencoded"),
    ):
        headers = {"Content-Type": kind}
        if known:
            headers["Authorization"] = f"Bearer {live.token()}"
        content = b" " * size if how == "announced" else chunks(size)
        response = live.client.post(path, content=content, headers=headers)
        assert (response.status_code, response.json()["code"]) == (413, "limit_exceeded")
    assert process.memory_info().rss - before < 16 * 1024 * 1024


def sendable(live: Server) -> list[tuple[str, str]]:
    """Every call that takes JSON."""
    document = live.client.get("/openapi.json").json()
    return [
        (method, re.sub(r"\{[^}]*\}", "1", path))
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if "application/json" in operation.get("requestBody", {}).get("content", {})
    ]


def test_every_call_wants_to_be_told_that_it_is_json(live: Server) -> None:
    headers = {"Authorization": f"Bearer {live.token('root', role='admin')}", "X-API-Key": API_KEY}
    calls = sendable(live)
    assert len(calls) > 20
    for method, path in calls:
        for kind in ("application/x-www-form-urlencoded", ""):
            sent = {**headers, "Content-Type": kind} if kind else headers
            response = live.client.request(method, path, content=b"{}", headers=sent)
            # Centrifugo's server API takes what `curl -d` sends.
            centrifugos = path.startswith("/api/") and not path.startswith("/api/v1/")
            wanted = 200 if centrifugos else 415
            assert response.status_code == wanted, (method, path, response.text)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"\xff", "not valid JSON"),
        (b'{"a":' * 10_000, "not valid JSON"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, "nested deeper than 32"),
        (b'{"a":"\\ud800"}', "not valid JSON"),
        (b'{"a":NaN}', "not valid JSON"),
    ],
)
def test_every_call_says_alike_what_is_no_json(live: Server, body: bytes, words: str) -> None:
    headers = {
        "Authorization": f"Bearer {live.token('root', role='admin')}",
        "X-API-Key": API_KEY,
        "Content-Type": "application/json",
    }
    for method, path in sendable(live):
        response = live.client.request(method, path, content=body, headers=headers)
        if path == "/api/v1/executions/1/log" and response.status_code == 422:
            continue  # its decoder knows the fields and stops at the first that is none
        said = (response.status_code, response.json()["detail"])
        assert said == (400, words), (method, path, response.text)


# -- OpenAPI ----------------------------------------------------------------------------------


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for below in node.values():
            yield from references(below)
    elif isinstance(node, list):
        for below in node:
            yield from references(below)


def test_the_schema_refers_to_what_it_has_and_declares_problems(live: Server) -> None:
    document = live.client.get("/openapi.json").json()
    for reference in set(references(document)):
        node = document
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]
    assert {"type", "title", "status", "detail", "code"} == set(
        document["components"]["schemas"]["Problem"]["required"]
    )
    names = [
        operation["operationId"]
        for operations in document["paths"].values()
        for operation in operations.values()
    ]
    assert len(names) == len(set(names))
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"], (method, path)
            if path.startswith("/api/v1"):
                assert {"401", "404", "422"} <= set(operation["responses"]), (method, path)
            for status, response in operation["responses"].items():
                if status.startswith("4") and path not in ("/health", "/ready"):
                    schema = response["content"]["application/problem+json"]["schema"]
                    assert schema == {"$ref": "#/components/schemas/Problem"}


def test_who_may_broadcast_is_declared(live: Server) -> None:
    document = live.client.get("/openapi.json").json()
    schemes = document["components"]["securitySchemes"]
    asked = document["paths"]["/ws/broadcast"]["post"]["security"]
    keys = [schemes[name] for scheme in asked for name in scheme]
    assert {"type": "apiKey", "in": "header", "name": "X-API-Key"} in keys
    assert {"type": "http", "scheme": "bearer"} in keys


# -- accounts -------------------------------------------------------------------------------


def command(live: Server, *arguments: str, input: str = "") -> str:
    """Run a command on the database of the running server; what it printed."""
    where = f"sqlite+aiosqlite:///{live.database}"
    result = CliRunner().invoke(
        app, [*arguments, "--database", where], input=input, env={"CARDUME_JWT_SECRET": SECRET}
    )
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
    answers: set[int] = set()

    def guess(n: int) -> None:
        for again in range(20):
            if 429 in answers:
                return
            answers.add(log_in(live, "nobody", f"guess {n} {again}").status_code)

    with ThreadPoolExecutor(40) as pool:
        list(pool.map(guess, range(40)))
    assert answers == {401, 429}


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


@pytest.mark.parametrize("path", ["/ws/nothing", "/", "/health", "/ws/aquarium"])
def test_a_handshake_to_nowhere_is_404(live: Server, path: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        connect(f"ws://127.0.0.1:{live.port}{path}")
    answer = refused.value.response
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


@pytest.mark.parametrize("path", ["/ws", "/ws/aquarium/1"])
def test_a_websockets_address_asked_as_a_page_says_so(live: Server, path: str) -> None:
    response = live.client.get(path)
    assert (response.status_code, response.headers["upgrade"]) == (426, "websocket")
    assert "WebSocket" in response.json()["detail"]


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
