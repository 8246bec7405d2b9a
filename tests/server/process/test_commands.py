"""A command from the button to the device and back, across a crash of the server."""

from __future__ import annotations

from typing import Any

from tests.support.feeder import Feeder
from tests.support.serving import Served, token
from tests.support.stages import dial
from tests.support.waiting import wait_for


def ask(server: Served, **more: Any) -> str:
    made = server.admin("POST", "/devices/feeder/commands", {"command": "feed", **more})
    assert made["status"] == "queued"
    id: str = made["id"]
    return id


def command(server: Served, id: str) -> dict[str, Any]:
    found = server.admin("GET", f"/devices/feeder/commands/{id}")
    assert isinstance(found, dict)
    return found


def becomes(server: Served, id: str, status: str) -> None:
    wait_for(lambda: command(server, id)["status"] == status, f"{id} {status}")


def test_a_command_reaches_its_device_also_after_a_crash(server: Served, aquarium: int) -> None:
    feeder = Feeder("feeder", server.device("feeder", aquarium), server.mqtt_port, v5=False)
    feeder.connect()
    path = f"/ws/aquarium/{aquarium}?types=device_command&token={token()}"
    with dial(server.port, path) as viewer:
        id = ask(server, params={"grams": 2})
        becomes(server, id, "acknowledged")
        seen: list[Any] = []
        while "acknowledged" not in seen:
            frame = viewer.receive()
            if frame["type"] == "device_command":
                seen.append(frame["data"]["status"])
        assert seen in (["queued", "sent", "acknowledged"], ["queued", "acknowledged"])
    assert feeder.got[0]["params"] == {"grams": 2}

    feeder.answers = None
    unanswered = ask(server)
    becomes(server, unanswered, "sent")
    feeder.leave()
    waiting = ask(server)
    short = ask(server, expires_in=1)
    server.kill()
    server.start()
    becomes(server, short, "expired")
    assert command(server, waiting)["status"] == "queued"
    feeder.answers = "ok"
    feeder.connect()
    for id in (unanswered, waiting):
        becomes(server, id, "acknowledged")
    feeder.leave()
    assert feeder.ids[2:] == [unanswered, waiting]
    events = server.admin("GET", "/devices/feeder/events?limit=100")["items"]
    assert [e["command_id"] for e in events].count(unanswered) == 3
    assert "Traceback" not in server.log
