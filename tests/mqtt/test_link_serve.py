"""`cardume serve` with a link: started by its settings, killed, out of disk, asked how it is."""

from __future__ import annotations

import json
import os
import re
import resource
import sqlite3
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr
from websockets.sync.client import connect

from cardume.auth.signer import TokenSigner
from cardume.clock import SystemClock
from cardume.errors import ConfigurationError
from cardume.server import link
from cardume.server.doctor import examine
from cardume.settings import Settings
from cardume.storage.database import Storage
from tests.mqtt.test_link import say
from tests.support.broker import Mosquitto, mosquitto, needs_broker
from tests.support.processes import Process, process
from tests.support.server import API_KEY, SECRET
from tests.support.waiting import wait_for

pytestmark = needs_broker

READING = "aquabook/probe/reading"


class Hub:
    """A running server that is linked to `broker`."""

    def __init__(self, running: Process, folder: Path) -> None:
        self.process = running
        self.port = running.port()
        self.folder = folder
        self.client = httpx2.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=15)

    @property
    def token(self) -> str:
        return TokenSigner(SECRET, SystemClock()).mint("ana", ttl=600)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"}
        answer = self.client.request(method, f"/api/v1{path}", json=body, headers=headers)
        assert answer.status_code < 300, answer.text
        return answer.json()

    def ready(self) -> tuple[int, list[str]]:
        answer = self.client.get("/ready")
        return answer.status_code, answer.json()["problems"]

    def metrics(self) -> dict[str, float]:
        text = self.client.get("/metrics", headers={"X-API-Key": API_KEY}).text
        samples = (s for family in text_string_to_metric_families(text) for s in family.samples)
        return {"/".join([s.name, *s.labels.values()]): s.value for s in samples}

    def values(self) -> list[float]:
        connection = sqlite3.connect(self.folder / "cardume.db", timeout=10)
        try:
            return [value for (value,) in connection.execute("SELECT value FROM readings")]
        finally:
            connection.close()


@contextmanager
def hub(folder: Path, broker: Mosquitto, **env: str) -> Iterator[Hub]:
    settings = {
        "CARDUME_JWT_SECRET": SECRET,
        "CARDUME_API_KEY": API_KEY,
        "CARDUME_DRAIN_WINDOW": "0",
        "CARDUME_MQTT_URL": f"mqtt://hub:hunter2@127.0.0.1:{broker.port}",
        **env,
    }
    with process(["cardume", "serve", "--port", "0"], folder, **settings) as running:
        opened = Hub(running, folder)
        try:
            yield opened
        finally:
            opened.client.close()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with mosquitto(tmp_path / "broker") as running:
        yield running


def furnish(server: Hub) -> None:
    wait_for(lambda: server.ready() == (200, []), "the link")
    server.call("POST", "/aquariums", {"name": "Reef", "kind": "reef"})
    server.call("POST", "/devices", {"device_id": "probe", "aquarium_id": 1})


def readings(first: int, last: int) -> list[str]:
    return [json.dumps({"metric": "temperature", "value": n}) for n in range(first, last)]


def test_it_serves_by_a_link_and_says_how_that_is(tmp_path: Path, broker: Mosquitto) -> None:
    with hub(tmp_path, broker) as server:
        furnish(server)
        say(broker, READING, *readings(0, 10))
        wait_for(lambda: len(server.values()) == 10)
        # A row is there to be read a moment before its message is acknowledged.
        wait_for(lambda: server.metrics()["cardume_mqtt_link_in_flight"] == 0)
        counted = server.metrics()
        assert counted["cardume_mqtt_link_up"] == 1
        assert counted["cardume_mqtt_received_total"] == 10
        assert sum(counted[f"cardume_hub_link/{s}"] for s in ("up", "resync", "down")) == 1
        assert "cardume_mqtt_connections" not in counted
        broker.kill()
        wait_for(lambda: server.ready()[0] == 503)
        (problem,) = server.ready()[1]
        assert problem.startswith(f"no link to the MQTT broker at mqtt://127.0.0.1:{broker.port}: ")
        assert server.call("GET", "/devices/probe/status")["status"] == "unknown"
        assert server.client.get("/health").status_code == 200
        broker.start()
        wait_for(lambda: server.ready() == (200, []))
        assert server.metrics()["cardume_mqtt_link_reconnects_total"] == 1
    output = server.process.output
    assert f"MQTT from mqtt://127.0.0.1:{broker.port}." in output
    assert "hunter2" not in output
    assert "Traceback" not in output


def test_a_hub_killed_in_the_middle_stores_each_reading_once(
    tmp_path: Path, broker: Mosquitto
) -> None:
    """Twice; nothing of them has a name but what the broker gives it."""
    with hub(tmp_path, broker) as server:
        furnish(server)
        _cut_short(server, broker, 0)
    with hub(tmp_path, broker) as server:
        _cut_short(server, broker, 1000)
    with hub(tmp_path, broker) as server:
        wait_for(lambda: len(server.values()) >= 2000, "all of them")
        assert sorted(server.values()) == list(range(2000))
        wait_for(lambda: "the kept session" in server.process.output)


def _cut_short(server: Hub, broker: Mosquitto, first: int) -> None:
    """Kill it while a thousand readings are on their way."""
    wait_for(lambda: server.ready()[0] == 200)
    before = len(server.values())
    sending = threading.Thread(target=say, args=(broker, READING, *readings(first, first + 1000)))
    sending.start()
    wait_for(lambda: len(server.values()) > before)
    os.kill(server.process.pid, 9)
    sending.join()


def test_without_disk_nothing_is_acknowledged_and_nobody_is_sent_away(
    tmp_path: Path, broker: Mosquitto
) -> None:
    with hub(tmp_path, broker) as server:
        furnish(server)
        say(broker, READING, *readings(0, 1))
        wait_for(lambda: len(server.values()) == 1)
        address = f"ws://127.0.0.1:{server.port}/ws/aquarium/1?token={server.token}"
        with connect(address) as viewer:
            assert json.loads(viewer.recv(timeout=10))["type"] == "connected"
            _limit(server, 4096)  # no byte beyond, as on a disk that is full
            say(broker, READING, *readings(1, 101))
            wait_for(lambda: server.ready()[0] == 503)
            wait_for(lambda: server.metrics()["cardume_mqtt_link_in_flight"] == 100)
            assert len(server.values()) == 1
            viewer.ping().wait(10)
            _limit(server, resource.RLIM_INFINITY)
            wait_for(lambda: server.ready()[0] == 200)
            wait_for(lambda: len(server.values()) == 101)
            assert server.values() == list(range(101))
            wait_for(lambda: server.metrics()["cardume_mqtt_link_in_flight"] == 0)
            seen: list[float] = []
            while len(seen) < 100:
                frame = json.loads(viewer.recv(timeout=10))
                if frame["type"] == "reading":
                    seen.append(frame["data"]["value"])
            assert seen == list(range(1, 101))
    assert "Traceback" not in server.process.output


def _limit(server: Hub, size: int) -> None:
    hard = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (size, hard))


def test_without_paho_a_link_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "paho.mqtt.client", None)
    wanted = Settings(mqtt_url=SecretStr("mqtt://broker"))
    with pytest.raises(ConfigurationError, match=r"pip install 'cardume\[mqtt\]'"):
        link.check(wanted)
    link.check(Settings())


async def test_the_name_of_the_session_belongs_to_the_database(tmp_path: Path) -> None:
    async def nobody_listens(*_: Any, **__: Any) -> None: ...

    names = set()
    for file in ("one.db", "one.db", "two.db"):
        url = f"sqlite+aiosqlite:///{tmp_path / file}"
        async with Storage(url, nobody_listens) as storage:
            names.add(await link.client_id(Settings(), storage))
            assert await link.client_id(Settings(mqtt_client_id="mine"), storage) == "mine"
    assert len(names) == 2
    assert all(re.fullmatch("cardume-[0-9a-f]{10}", name) for name in names)


def test_the_doctor_knocks_at_the_broker(broker: Mosquitto) -> None:
    url = SecretStr(f"mqtt://hub:hunter2@127.0.0.1:{broker.port}")
    (well,) = (f for f in examine({"mqtt_url": url}) if f.what == "MQTT broker")
    broker.kill()
    (ill,) = (f for f in examine({"mqtt_url": url}) if f.what == "MQTT broker")
    assert (well.ok, well.says) == (True, f"mqtt://127.0.0.1:{broker.port} lets us in")
    assert (ill.ok, ill.says) == (
        False,
        f"no link to mqtt://127.0.0.1:{broker.port}: connection refused",
    )


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
@pytest.mark.parametrize(
    ("access", "says"),
    [
        ("topic readwrite aquabook/#", "lets us in$"),
        ("topic read aquabook/#\ntopic write aquabook/+/command", "lets us in$"),
        ("topic write aquabook/#", r"hears nothing back of aquabook/\S+/command: check the ACL$"),
        ("topic read aquabook/#", "check the ACL$"),
    ],
)
def test_the_doctor_says_so_if_the_hub_would_be_deaf_or_mute(
    tmp_path: Path, protocol: str, access: str, says: str
) -> None:
    """mosquitto 2.0 grants every subscription, whatever the ACL says."""
    rights = tmp_path / "acl"
    rights.write_text(f"topic write aquabook/#\n\nuser hub\n{access}\n")
    with mosquitto(tmp_path / "broker", f"acl_file {rights}") as broker:
        say(broker, "aquabook/d{}/availability", *["online"] * 30, retain=True)
        url = SecretStr(f"mqtt://hub@127.0.0.1:{broker.port}")
        given = {"mqtt_url": url, "mqtt_protocol": protocol}
        (found,) = (f for f in examine(given) if f.what == "MQTT broker")
    assert re.search(says, found.says)
    assert found.ok is ("lets us in$" in says)
