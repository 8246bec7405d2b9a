from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx2
import pytest

from cardume.auth.identity import Identity
from cardume.errors import Refused
from tests.support.tank import Tank, data
from tests.support.waiting import until

PROBLEM = "application/problem+json"


def refused(response: httpx2.Response, status: int) -> None:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == PROBLEM
    body = response.json()
    assert body["status"] == status
    assert body["detail"]
    assert body["type"].startswith("urn:cardume:error:")


CALLS = [
    ("GET", "/alerts", None),
    ("POST", "/alerts/1/ack", None),
    ("POST", "/alerts/1/shelve", {"until": "2030-01-01T00:00:00Z", "reason": "x"}),
    ("GET", "/aquariums", None),
    ("POST", "/aquariums", {"name": "x"}),
    ("GET", "/aquariums/1", None),
    ("PATCH", "/aquariums/1", {"name": "x"}),
    ("GET", "/aquariums/1/overview", None),
    ("GET", "/aquariums/1/members", None),
    ("GET", "/aquariums/1/members/ana", None),
    ("PUT", "/aquariums/1/members/eva", {"role": "member"}),
    ("DELETE", "/aquariums/1/members/ana", None),
    ("GET", "/aquariums/1/readings?metric=ph", None),
    ("POST", "/aquariums/1/readings", {"metric": "ph", "value": 8}),
    ("GET", "/devices", None),
    ("POST", "/devices", {"device_id": "d", "aquarium_id": 1}),
    ("GET", "/devices/probe", None),
    ("PATCH", "/devices/probe", {"name": "x"}),
    ("GET", "/devices/probe/status", None),
    ("GET", "/devices/probe/events", None),
    ("DELETE", "/devices/probe", None),
    ("GET", "/alert-rules", None),
    ("POST", "/alert-rules", {"aquarium_id": 1, "metric": "ph", "high": 9}),
    ("GET", "/alert-rules/1", None),
    ("PATCH", "/alert-rules/1", {}),
    ("DELETE", "/alert-rules/1", None),
    ("DELETE", "/aquariums/1", None),
]
OPEN_TO_ALL = {("GET", "/aquariums"), ("POST", "/aquariums"), ("GET", "/devices"),
               ("GET", "/alert-rules"), ("GET", "/alerts")}  # fmt: skip


async def test_nothing_without_a_good_token(tank: Tank) -> None:
    expired = {"Authorization": f"Bearer {tank.token(ttl=60)}"}
    await tank.passes(61)
    for method, path, body in CALLS:
        for headers in ({}, {"Authorization": "Bearer x.y.z"}, expired):
            response = await tank.client.request(
                method, f"/api/v1{path}", json=body, headers=headers
            )
            refused(response, 401)
            assert response.headers["www-authenticate"] == "Bearer"
        in_query = await tank.client.request(
            method, f"/api/v1{path}", json=body, params={"token": tank.token()}
        )
        assert in_query.status_code == 401  # a token in an address ends up in logs


async def test_strangers_see_and_change_nothing(tank: Tank) -> None:
    await tank.ok("POST", "/alert-rules", {"aquarium_id": 1, "metric": "temperature", "high": 1})
    await tank.read("probe")
    for method, path, body in CALLS:
        response = await tank.call(method, path, body, who="eva")
        if (method, path) in OPEN_TO_ALL:
            assert response.status_code < 300
            assert method == "POST" or response.json()["items"] == []
        else:
            refused(response, response.status_code)
            assert response.status_code in (403, 404), (method, path)
    assert (await tank.call("GET", "/aquariums/1")).status_code == 200


async def test_services_read_everything_and_change_nothing(tank: Tank) -> None:
    await tank.ok("POST", "/alert-rules", {"aquarium_id": 1, "metric": "temperature", "high": 1})
    await tank.read("probe")
    for method, path, body in CALLS:
        if (method, path) in OPEN_TO_ALL or path.endswith("/members/ana"):
            continue
        response = await tank.call(method, path, body, who="meter", role="service")
        expected = (200,) if method == "GET" else (403, 404)
        assert response.status_code in expected, (method, path, response.text)


async def test_an_admin_may_do_everything_and_learns_what_is_not_there(tank: Tank) -> None:
    await tank.ok("POST", "/alert-rules", {"aquarium_id": 1, "metric": "temperature", "high": 1})
    await tank.read("probe")
    for method, path, body in CALLS:
        if path == "/aquariums/1/members/ana" and method == "DELETE":
            continue  # the last owner, even for an admin
        response = await tank.call(method, path, body, who="root", role="admin")
        assert response.status_code < 300, (method, path, response.text)
    for method, path, body in CALLS:
        if "/1" in path or "/probe" in path:
            refused(await tank.call(method, path, body, who="root", role="admin"), 404)


@pytest.mark.parametrize("ids", [[1], ["1"], [7, "1"]])
async def test_a_tokens_claim_lets_in_without_a_user_row(tank: Tank, ids: list[Any]) -> None:
    assert (await tank.ok("GET", "/aquariums", who="app", aquariums=ids))["items"][0]["id"] == 1
    await tank.ok("POST", "/aquariums/1/readings", {"metric": "ph", "value": 8}, who="app",
                  aquariums=ids)  # fmt: skip
    refused(await tank.call("PATCH", "/aquariums/1", {"name": "x"}, who="app", aquariums=ids), 403)
    refused(await tank.call("GET", "/aquariums/7", who="app", aquariums=ids), 403)


@pytest.mark.parametrize("ids", [[2], ["01"], [True], [1.0], "1", {"1": 1}, [[1]], None])
async def test_a_claim_that_names_it_not_exactly_grants_nothing(tank: Tank, ids: Any) -> None:
    identity = Identity("app", claims={"aquariums": ids})
    with pytest.raises(Refused):
        tank.app.catalogue.check_member(identity, 1)
    assert tank.app.catalogue.visible(identity) == []


async def test_an_aquarium_from_its_making_to_its_end(database: Path, tank: Tank) -> None:
    made = await tank.ok("POST", "/aquariums", {"name": "Planted", "kind": "freshwater"})
    assert made["id"] == 2
    assert await tank.ok("GET", "/aquariums/2") == made
    assert (await tank.ok("PATCH", "/aquariums/2", {"name": "Iwagumi"}))["name"] == "Iwagumi"
    overview = await tank.ok("GET", "/aquariums/2/overview")
    targets = {m["metric"]: m["target"] for m in overview["metrics"]}
    assert targets["temperature"] == {"low": 22.0, "high": 28.0}
    assert targets["nitrite"] == {"low": None, "high": 0.25}
    await tank.device("d2", 2)
    await tank.read("d2")
    peer = await tank.listen(2)
    await tank.ok("DELETE", "/aquariums/2")
    assert peer.code == 3508
    assert [a["id"] for a in (await tank.ok("GET", "/aquariums"))["items"]] == [1]
    await tank.read("d2")
    assert tank.rejected("unknown_device") == 1
    await tank.passes(400)  # its deadlines went with it
    again = await tank.ok("POST", "/aquariums", {"name": "New"})
    assert again["id"] == 3  # an id that came back would let an old token in
    async with Tank.running(database, tank.clock) as restarted:
        assert len((await restarted.ok("GET", "/aquariums"))["items"]) == 2


@pytest.mark.parametrize(
    "body",
    [
        None,
        {},
        [],
        {"name": ""},
        {"name": "x" * 201},
        {"name": 7},
        {"name": "x", "kind": "pond"},
    ],
)
async def test_a_wrong_aquarium_is_422(tank: Tank, body: Any) -> None:
    refused(await tank.call("POST", "/aquariums", body), 422)


@pytest.mark.parametrize("text", ["{", "\ud800", '{"name":"\\ud800"}', "[" * 60_000, "NaN", ""])
async def test_a_body_that_is_no_json_is_refused(tank: Tank, text: str) -> None:
    headers = {"Authorization": f"Bearer {tank.token()}", "Content-Type": "application/json"}
    content = text.encode("utf-8", "surrogatepass")
    response = await tank.client.post("/api/v1/aquariums", content=content, headers=headers)
    assert response.status_code in (400, 422)


async def test_members_come_and_go(tank: Tank) -> None:
    await tank.ok("PUT", "/aquariums/1/members/eva", {"role": "member"})
    assert (await tank.ok("GET", "/aquariums/1/members"))["items"] == [
        {"sub": "ana", "role": "owner"},
        {"sub": "eva", "role": "member"},
    ]
    assert (await tank.ok("GET", "/aquariums/1", who="eva"))["id"] == 1
    for method, path, body in (
        ("PATCH", "/aquariums/1", {"name": "x"}),
        ("DELETE", "/aquariums/1", None),
        ("PUT", "/aquariums/1/members/eva", {"role": "owner"}),
        ("DELETE", "/aquariums/1/members/ana", None),
        ("DELETE", "/devices/probe", None),
    ):
        refused(await tank.call(method, path, body, who="eva"), 403)
    await tank.ok("PUT", "/aquariums/1/members/eva", {"role": "owner"})
    await tank.ok("DELETE", "/aquariums/1/members/ana", who="eva")
    refused(await tank.call("GET", "/aquariums/1"), 403)


async def test_an_aquarium_keeps_an_owner(tank: Tank) -> None:
    refused(await tank.call("DELETE", "/aquariums/1/members/ana"), 409)
    refused(await tank.call("PUT", "/aquariums/1/members/ana", {"role": "member"}), 409)
    refused(await tank.call("PUT", "/aquariums/1/members/eva", {"role": "king"}), 422)
    refused(await tank.call("GET", "/aquariums/1/members/eva"), 404)
    refused(await tank.call("DELETE", "/aquariums/1/members/eva"), 404)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", "/aquariums/1", {"name": "Mine"}),
        ("PATCH", "/devices/probe", {"name": "Mine"}),
        ("DELETE", "/devices/probe", None),
    ],
)
async def test_who_was_put_out_changes_nothing_that_waited_for_its_turn(
    tank: Tank, method: str, path: str, body: dict[str, Any] | None
) -> None:
    await tank.ok("PUT", "/aquariums/1/members/eva", {"role": "owner"})
    before = await tank.ok("GET", "/devices"), await tank.ok("GET", "/aquariums/1")
    turn = tank.storage._turn
    async with tank.storage.write():
        out = asyncio.create_task(tank.call("DELETE", "/aquariums/1/members/eva"))
        await until(lambda: len(turn._waiters or ()) == 1)
        late = asyncio.create_task(tank.call(method, path, body, who="eva"))
        await until(lambda: len(turn._waiters or ()) == 2)
    assert (await out).status_code == 204
    assert (await late).status_code in (403, 404)
    assert (await tank.ok("GET", "/devices"), await tank.ok("GET", "/aquariums/1")) == before


@pytest.mark.parametrize("sub", ["auth0|66", "https://id.example/u/7", "ção", "a b", "x" * 255])
async def test_a_members_name_is_whatever_the_token_says(tank: Tank, sub: str) -> None:
    path = f"/aquariums/1/members/{httpx2.URL('http://x', path='/' + sub).raw_path.decode()[1:]}"
    await tank.ok("PUT", path, {"role": "member"})
    assert (await tank.ok("GET", path))["sub"] == sub
    assert await tank.ok("GET", "/aquariums/1", who=sub)
    await tank.ok("DELETE", path)
    refused(await tank.call("GET", "/aquariums/1", who=sub), 403)


async def test_who_is_excluded_stops_listening_now(tank: Tank) -> None:
    await tank.ok("PUT", "/aquariums/1/members/eva", {"role": "member"})
    peers = []
    for ids in (None, [1]):
        peer = await tank.listen(1)
        token = tank.token("eva", aquariums=ids)
        peer.connection.identity = await tank.hub.auth.verify(token)
        peers.append(peer)
    await tank.ok("DELETE", "/aquariums/1/members/eva")
    assert [peer.code for peer in peers] == [3507, None]  # the claim grants by itself


async def test_the_overview_is_the_snapshot(tank: Tank) -> None:
    await tank.ok("POST", "/alert-rules", {"aquarium_id": 1, "metric": "temperature", "high": 1})
    await tank.read("probe")
    await tank.device("quiet", 1)
    overview = await tank.ok("GET", "/aquariums/1/overview")
    peer = await tank.listen(1)
    (snapshot,) = data(peer.of_type("snapshot"))
    assert snapshot == overview
    assert overview["link"] == {"link": "up", "since": overview["link"]["since"]}
    assert [a["kind"] for a in overview["alerts"]] == ["threshold"]
    found = {d["device_id"]: d for d in overview["devices"]}
    for device_id in ("probe", "quiet"):
        status = await tank.status(device_id)
        assert {k: found[device_id][k] for k in status} == status
    assert "key" not in json.dumps(overview)
    (temperature,) = [m for m in overview["metrics"] if m["metric"] == "temperature"]
    assert temperature["target"] == {"low": 24.0, "high": 26.5}
    assert (temperature["value"], temperature["origin"]) == (25.0, "sensor")


async def test_lists_are_paged_through(tank: Tank) -> None:
    for _ in range(4):
        await tank.aquarium()
    for n in range(5):
        await tank.device(f"x{n}", 1)
        rule = {"aquarium_id": 1, "metric": "ph", "high": n + 1}
        await tank.ok("POST", "/alert-rules", rule)
    for _ in range(5):
        await tank.read("probe")
        await tank.passes(300)
    keys = {"aquariums": "id", "devices": "device_id", "alert-rules": "id",
            "devices/probe/events": "id", "alerts": "id"}  # fmt: skip
    for path, key in keys.items():
        whole = [i[key] for i in (await tank.ok("GET", f"/{path}?limit=1000"))["items"]]
        assert len(whole) >= 5
        for limit in (1, 2, len(whole)):
            seen: list[Any] = []
            cursor = ""
            while True:
                page = await tank.ok("GET", f"/{path}?limit={limit}{cursor}")
                assert len(page["items"]) <= limit
                seen += [item[key] for item in page["items"]]
                if page["next"] is None:
                    break
                cursor = f"&cursor={page['next']}"
            assert seen == whole
        refused(await tank.call("GET", f"/{path}?cursor=%00"), 422)
        refused(await tank.call("GET", f"/{path}?cursor=MQ"), 422)


async def test_a_member_may_leave(tank: Tank) -> None:
    await tank.ok("PUT", "/aquariums/1/members/eva", {"role": "member"})
    refused(await tank.call("DELETE", "/aquariums/1/members/ana", who="eva"), 403)
    await tank.ok("DELETE", "/aquariums/1/members/eva", who="eva")
    refused(await tank.call("GET", "/aquariums/1", who="eva"), 403)


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("POST", "/aquariums", {"name": "Tank", "knid": "reef"}, "knid"),
        ("POST", "/aquariums", {"name": "T\u0000"}, "name"),
        ("PATCH", "/aquariums/1", {"name": None}, "name"),
        ("PATCH", "/devices/probe", {"aquarium_id": 2}, "aquarium_id"),
        ("POST", "/aquariums/1/readings", {"metric": "ph", "value": True}, "value"),
        ("POST", "/aquariums/1/readings", {"metric": "ph", "value": "8"}, "value"),
        (
            "POST",
            "/aquariums/1/readings",
            {"metric": "ph", "value": 8, "measured_at": "2199-01-01T00:00:00Z"},
            "future",
        ),
    ],
)
async def test_what_nobody_would_heed_is_an_error(
    tank: Tank, method: str, path: str, body: Any, field: str
) -> None:
    response = await tank.call(method, path, body)
    refused(response, 422)
    assert field in response.json()["detail"]


async def test_what_is_no_json_is_a_bad_request(tank: Tank) -> None:
    headers = {"Authorization": f"Bearer {tank.token()}", "Content-Type": "application/json"}
    response = await tank.client.post("/api/v1/aquariums", content="{bad", headers=headers)
    refused(response, 400)
    assert response.json()["code"] == "bad_request"
