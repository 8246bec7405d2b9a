"""`cardume demo`: all it prints works, and without a token only this machine comes in."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from cardume.server.samples import CARDS
from tests.support.serving import Answer, Served, environment, served
from tests.support.stages import Closed, Denied, dial
from tests.support.waiting import PATIENCE, START, wait_for

SAMPLE = "Sample reef"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("demo"), "demo") as demo:
        yield demo


def printed(demo: Served, name: str) -> str:
    found = re.search(rf"^ *{name} (\S.*)$", demo.printed, re.MULTILINE)
    assert found is not None, demo.printed
    return found[1]


def visit(demo: Served, headers: Mapping[str, str], path: str = "/api/v1/aquariums") -> Answer:
    return demo.ask("GET", path, headers=headers)


def test_all_addresses_that_it_prints_are_there(demo: Served) -> None:
    base = f"http://127.0.0.1:{demo.port}"
    for name in ("page", "API"):
        path = printed(demo, name).removeprefix(base)
        assert demo.ask("GET", path).headers["content-type"].startswith("text/html")


def test_the_address_of_the_websocket_brings_live_readings(demo: Served) -> None:
    address = printed(demo, "WebSocket").removeprefix(f"ws://127.0.0.1:{demo.port}")
    devices: set[str] = set()
    with dial(demo.port, address) as client:
        first, snapshot = client.receive(), client.receive()
        assert (first["type"], snapshot["type"]) == ("connected", "snapshot")
        assert snapshot["data"]["aquarium"]["name"] == SAMPLE
        while devices != {"reef-probe", "sump-probe", "old-dosing-pump"}:
            frame = client.receive()
            if frame["type"] == "reading":
                devices.add(frame["data"]["device_id"])


def test_the_token_that_it_prints_reads_everything(demo: Served) -> None:
    token = printed(demo, "token")
    elsewhere = {"Host": "aquarium.example", "Authorization": f"Bearer {token}"}
    assert [tank["name"] for tank in visit(demo, elsewhere).body["items"]] == [SAMPLE]


@pytest.mark.skipif(shutil.which("mosquitto_pub") is None, reason="no mosquitto_pub")
def test_the_device_that_it_prints_is_yours(demo: Served) -> None:
    command = shlex.split(printed(demo, "be a device"))
    assert command[0] == "mosquitto_pub"
    subprocess.run(command, check=True, timeout=PATIENCE)
    path = "/api/v1/devices/my-device/status"
    assert demo.ask("GET", path).body["status"] == "online"


def test_the_publish_that_it_prints_answers_a_position(demo: Served) -> None:
    setting, *command = shlex.split(printed(demo, "publish"))
    name, _, value = setting.partition("=")
    done = subprocess.run(
        command,
        env=environment(**{name: value}),
        capture_output=True,
        text=True,
        timeout=START,
    )
    assert re.fullmatch(r"[A-Za-z0-9]{1,16}:1\n", done.stdout), done.stderr


# -- who comes in without a token -----------------------------------------------------------


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_this_machine_needs_none(demo: Served, host: str) -> None:
    here = f"{host}:{demo.port}"
    for headers in ({"Host": here}, {"Host": here, "Origin": f"http://{here}"}):
        assert visit(demo, headers).status == 200
        assert visit(demo, headers, "/api/v1/auth/me").body["sub"] == "demo"


STRANGERS: dict[str, dict[str, str]] = {
    "a name that was rebound": {"Host": "evil.example"},
    "no name at all": {"Host": ""},
    "a name that begins like ours": {"Host": "localhost.evil.example"},
    "a proxy": {"X-Forwarded-For": "10.1.2.3"},
    "a proxy of the standard": {"Forwarded": "for=10.1.2.3"},
    "another proxy": {"X-Real-IP": "127.0.0.1"},
    "a cache": {"Via": "1.1 cache"},
    "somebody's page": {"Origin": "http://evil.example"},
    "a page on another port of ours": {"Origin": "http://localhost:1"},
    "a page without an origin": {"Origin": "null"},
}


@pytest.mark.parametrize("headers", STRANGERS.values(), ids=STRANGERS)
def test_strangers_need_one(demo: Served, headers: dict[str, str]) -> None:
    given = {"Host": f"localhost:{demo.port}", **headers}
    assert visit(demo, given).status == 401
    if "Host" in headers:
        return  # the client writes that one itself
    assert told(demo, headers) == (403 if "Origin" in headers else 3500)


def told(demo: Served, headers: dict[str, str]) -> int:
    """What a WebSocket is refused with: an HTTP status, or a code it is closed with."""
    try:
        with dial(demo.port, "/ws/aquarium/1", headers=headers) as client:
            client.receive()
    except Denied as denied:
        return denied.status
    except Closed as closed:
        return closed.code
    raise AssertionError("it came in")


def test_a_wrong_token_is_not_better_than_none(demo: Served) -> None:
    wrong = {"Host": f"localhost:{demo.port}", "Authorization": "Bearer a.b.c"}
    assert visit(demo, wrong).status == 401


CHANGES: list[tuple[str, str, Any]] = [
    ("POST", "/api/v1/aquariums", {"name": "Mine", "kind": "reef"}),
    ("PATCH", "/api/v1/aquariums/1", {"name": "Mine"}),
    ("DELETE", "/api/v1/aquariums/1", None),
    ("PUT", "/api/v1/aquariums/1/members/eve", {"role": "owner"}),
    ("POST", "/api/v1/aquariums/1/readings", {"metric": "ph", "value": 8}),
    ("POST", "/api/v1/devices", {"device_id": "mine", "aquarium_id": 1}),
    ("DELETE", "/api/v1/devices/my-device", None),
    ("POST", "/api/v1/alert-rules", {"aquarium_id": 1, "metric": "ph", "high": 9}),
    ("POST", "/api/publish", {"channel": "news", "data": 1}),
]


@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
def test_without_a_token_nothing_is_changed(
    demo: Served, method: str, path: str, body: Any
) -> None:
    assert demo.ask(method, path, body).status == 401


def test_without_a_token_alerts_may_be_decided(demo: Served) -> None:
    """That there is no such alert is only said to who may know."""
    assert demo.ask("POST", "/api/v1/alerts/999999/ack", {}).status == 404


PLAYGROUND: list[tuple[str, str, Any]] = [
    ("POST", "/agents", {"agent_type": "scout"}),
    ("POST", "/coordination/tasks", {"task_type": "look", "priority": 5}),
    ("POST", "/coordination/election/trigger", None),
    ("POST", "/coordination/consensus/propose", {"topic": "feed"}),
    ("POST", "/api/v1/cards", {"title": "Mine"}),
    ("POST", "/api/v1/executions", {"name": "mine"}),
    ("POST", "/ws/broadcast", {"event_type": "alert_triggered", "data": {}}),
]


@pytest.mark.parametrize(("method", "path", "body"), PLAYGROUND)
def test_without_a_token_one_may_play(demo: Served, method: str, path: str, body: Any) -> None:
    assert demo.ask(method, path, body).status in (200, 201)


def test_the_calls_that_it_prints_work(demo: Served) -> None:
    for name, member in (("add agent", "agent_id"), ("add card", "card_id")):
        done = subprocess.run(
            shlex.split(printed(demo, name)), capture_output=True, text=True, timeout=START
        )
        answer = json.loads(done.stdout)
        assert answer.get(member) or answer.get("id"), answer


def test_the_command_that_it_prints_runs(demo: Served) -> None:
    command = shlex.split(printed(demo, "run"))
    done = subprocess.run(
        [*command[: command.index("--")], "--", "echo", "hello"],
        capture_output=True,
        text=True,
        timeout=START,
        env=environment(),
    )
    assert (done.returncode, done.stdout) == (0, "hello\n")
    (execution, *_) = demo.ask("GET", "/api/v1/executions").body["items"]
    assert (execution["status"], execution["last_seq"]) == ("completed", 1)


def test_the_board_is_laid_once(demo: Served) -> None:
    first = {card["title"] for card in demo.ask("GET", "/api/v1/cards").body["items"]}
    assert {title for _, title, _ in CARDS} <= first
    for card in demo.ask("GET", "/api/v1/cards").body["items"]:
        demo.ask("DELETE", f"/api/v1/cards/{card['id']}?version={card['version']}")
    demo.stop()
    demo.start()
    assert demo.ask("GET", "/api/v1/cards").body["items"] == []


def test_it_is_found_again_after_a_restart(demo: Served) -> None:
    assert demo.stop() == 0
    demo.start()
    assert [tank["name"] for tank in demo.ask("GET", "/api/v1/aquariums").body["items"]] == [SAMPLE]
    wait_for(lambda: "reef-probe" in str(online(demo)), "a device that is back")


def online(demo: Served) -> list[str]:
    items = demo.ask("GET", "/api/v1/devices").body["items"]
    return [item["device_id"] for item in items if item["status"] == "online"]
