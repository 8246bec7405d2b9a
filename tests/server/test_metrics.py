"""`/metrics` of a running server: true numbers, few labels, and for nobody but who may."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from cardume.server import create_app
from cardume.server.meters import SAMPLE
from tests.server.conftest import furnished
from tests.support.probe import probing
from tests.support.server import API_KEY, ENVIRONMENT, Server, serving
from tests.support.waiting import wait_for

KEY = {"X-API-Key": API_KEY}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("metrics")) as server:
        yield server


class Scrape:
    """What a server said at one moment."""

    def __init__(self, server: Server) -> None:
        response = server.client.get("/metrics", headers=KEY)
        assert response.status_code == 200, response.text
        self.text = response.text
        self.samples: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
        self.families: list[Any] = list(text_string_to_metric_families(response.text))
        for family in self.families:
            for sample in family.samples:
                self.samples[sample.name, tuple(sorted(sample.labels.items()))] = sample.value

    def __call__(self, name: str, **labels: str) -> float:
        """A number of ours; 0 where nothing was counted yet."""
        return self.samples.get((f"cardume_{name}", tuple(sorted(labels.items()))), 0.0)


def listening(server: Server, token: str) -> ClientConnection:
    """In the `rooms` dialect."""
    return connect(f"ws://127.0.0.1:{server.port}/ws?token={token}", compression=None)


def closed(ws: ClientConnection) -> int:
    """What the server closes it with."""
    try:
        while True:
            ws.recv(timeout=10)
    except ConnectionClosed as error:
        return error.rcvd.code if error.rcvd else 1006


def publish(server: Server, channel: str, times: int = 1) -> None:
    for _ in range(times):
        assert "result" in server.publish({"channel": channel, "data": 1}).json()


# -- who may -------------------------------------------------------------------------------------


def test_nobody_reads_them_without_a_key_or_the_right_token(server: Server) -> None:
    bearers = {
        "nobody": {},
        "a user": {"Authorization": f"Bearer {server.token()}"},
        "a wrong key": {"X-API-Key": "wrong"},
        "a wrong key as token": {"Authorization": "Bearer wrong"},
        "an empty one": {"Authorization": "Bearer"},
        "a key in the query": {},
    }
    for who, headers in bearers.items():
        path = "/metrics?token=" + server.token(role="admin") if "query" in who else "/metrics"
        response = server.client.get(path, headers=headers)
        assert response.status_code == (403 if who == "a user" else 401), who
        assert response.headers["content-type"] == "application/problem+json"


def test_the_key_an_admin_and_a_service_read_them(server: Server) -> None:
    bearers = [API_KEY, server.token(role="admin"), server.token(role="service")]
    allowed = [KEY, *({"Authorization": f"Bearer {shown}"} for shown in bearers)]
    for headers in allowed:
        response = server.client.get("/metrics", headers=headers)
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/plain")


def test_openmetrics_is_spoken_to_who_asks_for_it(server: Server) -> None:
    accept = "application/openmetrics-text; version=1.0.0; charset=utf-8"
    response = server.client.get("/metrics", headers={**KEY, "Accept": accept})
    assert response.headers["content-type"].startswith("application/openmetrics-text")
    assert response.text.endswith("# EOF\n")


def test_an_empty_key_opens_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in {**ENVIRONMENT, "CARDUME_API_KEY": ""}.items():
        monkeypatch.setenv(name, value)
    client = TestClient(create_app())
    for headers in ({"X-API-Key": ""}, {"Authorization": "Bearer"}, {}):
        assert client.get("/metrics", headers=headers).status_code == 401


# -- what they say -------------------------------------------------------------------------------


def test_connections_subscriptions_and_messages(server: Server) -> None:
    before = Scrape(server)
    with listening(server, server.token()) as ws:
        ws.recv(timeout=10)
        ws.send(json.dumps({"action": "join", "room": "agents", "id": 1}))
        ws.recv(timeout=10)
        during = Scrape(server)
        assert during("connections") == before("connections") + 1
        assert during("connections_opened_total") == before("connections_opened_total") + 1
        assert during("messages_received_total") == before("messages_received_total") + 1
        assert during("messages_sent_total") > before("messages_sent_total")
        assert during("subscriptions", namespace="agents") == 1
        assert during("channels", namespace="agents") == 1
    wait_for(lambda: Scrape(server)("connections") == before("connections"), "it is gone")
    after = Scrape(server)
    assert after("connections_closed_total") == before("connections_closed_total") + 1
    assert after("subscriptions", namespace="agents") == 0


def test_publications_by_namespace_and_names_that_nobody_declared_are_one(server: Server) -> None:
    before = Scrape(server)
    publish(server, "cards", 2)
    for n in range(40):
        publish(server, f"made-up-{n}:{n}")
    after = Scrape(server)

    def more(namespace: str) -> float:
        name = "publications_total"
        return after(name, namespace=namespace) - before(name, namespace=namespace)

    assert (more("cards"), more("other")) == (2, 40)
    assert "made-up" not in after.text


def test_no_label_is_a_user_a_channel_or_an_address(server: Server) -> None:
    publish(server, "execution:ab12")
    with server.listen(99):
        text = Scrape(server).text
    labels = {name for name in re.findall(r'[{,]([a-z_]+)="', text) if name != "le"}
    known = {"namespace", "code", "reason", "state", "version", "generation"}
    assert labels <= known
    for secret in ("ana", "ab12", "127.0.0.1", API_KEY, "execution:"):
        assert f'"{secret}' not in text


def test_rejects_and_closes_by_reason_and_code(server: Server) -> None:
    before = Scrape(server)
    with listening(server, "bad") as ws:
        assert closed(ws) == 3500
    with listening(server, server.token("gone")) as ws:
        ws.recv(timeout=10)
        asked = {"user": "gone", "disconnect": {"code": 3011}}
        server.client.post("/api/disconnect", json=asked, headers=KEY)
        assert closed(ws) == 3011
    with listening(server, server.token("gone")) as ws:
        ws.recv(timeout=10)
        asked = {"user": "gone", "disconnect": {"code": 4999, "reason": "of our own"}}
        server.client.post("/api/disconnect", json=asked, headers=KEY)
        assert closed(ws) == 4999

    def more(name: str, **labels: str) -> float:
        return Scrape(server)(name, **labels) - before(name, **labels)

    wait_for(lambda: more("closes_total", code="other") == 1, "both are counted")
    assert more("closes_total", code="3011") == 1
    assert more("rejects_total", reason="invalid_token") == 1


def test_times_are_taken_of_some(server: Server) -> None:
    before, begun = Scrape(server), time.monotonic()
    publish(server, "cards", 2 * SAMPLE)
    for _ in range(2 * SAMPLE):
        with listening(server, server.token()):
            pass
    after = Scrape(server)
    for name in ("delivery_seconds", "handshake_seconds"):
        count, total = (
            after(f"{name}_{part}") - before(f"{name}_{part}") for part in ("count", "sum")
        )
        assert count >= 2
        assert 0 < total / count < time.monotonic() - begun


def test_what_waits_for_a_reader_that_does_not_read_is_seen(server: Server) -> None:
    address = f"ws://127.0.0.1:{server.port}/ws/cards?token={server.token()}"
    with connect(address, compression=None, max_queue=1, close_timeout=0.1) as lazy:
        lazy.recv(timeout=10)
        lazy.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        data = "x" * 30_000

        def behind() -> bool:
            server.publish({"channel": "cards", "data": data})
            now = Scrape(server)
            waits = now("outbox_bytes")
            return now("slow_connections") == 1 and waits >= now("outbox_bytes_max") > 65_536

        wait_for(behind, "somebody is behind")
        assert Scrape(server)("outbox_messages") > 1


def test_devices_storage_and_process(server: Server) -> None:
    key = furnished(server)
    with probing(server.mqtt_port, "probe", key) as device:
        now = Scrape(server)
        assert now("mqtt_connections") == 1
        device.client.publish("aquabook/probe/reading", b"no json", qos=1).wait_for_publish(10)

        def rejected() -> bool:
            return Scrape(server)("readings_rejected_total", reason="bad_reading") == 1

        wait_for(rejected, "it is counted")
        assert Scrape(server)("mqtt_received_total") == 1
    assert now("storage_healthy") == now("ready") == 1
    assert now("draining") == 0
    assert now.samples["process_resident_memory_bytes", ()] > 10_000_000
    assert now.samples["process_open_fds", ()] > 3
    (version,) = [
        s.labels for f in now.families if f.name == "cardume_build_info" for s in f.samples
    ]
    assert version["version"]
