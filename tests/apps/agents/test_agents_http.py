"""Agents over HTTP: what is answered, what is refused, what is said in the room."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from cardume.storage.tables import agents, terms
from tests.support.crew import ADMIN, Crew, said

SERVICE: dict[str, Any] = {"who": "meter", "role": "service"}
USER: dict[str, Any] = {"who": "eva"}


def own(agent_id: str) -> dict[str, Any]:
    return {"who": agent_id, "kind": "agent"}


def refused(response: httpx2.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["status"] == status
    assert body["detail"]
    return body


async def test_a_new_agent_is_active_and_shown_as_it_was_announced(crew: Crew) -> None:
    peers = await crew.listen()
    body = {
        "agent_type": "neutrophil",
        "name": "Nelly",
        "capabilities": ["chase", "engulf", "chase"],
        "config": {"speed": 1.5, "deep": [{}, None]},
        "lease_seconds": 12,
    }
    made = await crew.ok("POST", "/agents", body, **ADMIN)
    assert made == {
        "agent_id": "agent_neutrophil_001",
        "agent_type": "neutrophil",
        "name": "Nelly",
        "status": "active",
        "capabilities": ["chase", "engulf"],
        "config": {"speed": 1.5, "deep": [{}, None]},
        "lease_seconds": 12.0,
        "lease_expires_at": None,
        "last_heartbeat_at": None,
        "is_leader": True,
        "version": 1,
        "created_at": "2026-11-18T11:06:40.000Z",
        "created_by": "root",
        "updated_at": "2026-11-18T11:06:40.000Z",
    }
    assert await crew.ok("GET", "/agents/agent_neutrophil_001", **USER) == made
    assert said(peers["agents"]) == [("agent_created", made)]


async def test_ids_are_counted_by_type_and_never_given_again(crew: Crew) -> None:
    assert await crew.agent("b_cell") == "agent_b_cell_001"
    assert await crew.agent("t_cell") == "agent_t_cell_001"
    assert await crew.agent("b_cell") == "agent_b_cell_002"
    assert (await crew.call("DELETE", "/agents/agent_b_cell_002", **ADMIN)).status_code == 204
    assert await crew.agent("b_cell") == "agent_b_cell_003"


async def test_a_list_is_paged_and_filtered(crew: Crew) -> None:
    made = [await crew.agent(kind) for kind in ("b", "a", "b", "b")]
    await crew.act(made[0], "pause")
    found: list[str] = []
    path = "/agents?limit=3"
    for _ in range(2):
        page = await crew.ok("GET", path, **USER)
        found += [agent["agent_id"] for agent in page["items"]]
        path = f"/agents?limit=3&cursor={page['next']}"
    assert page["next"] is None
    assert found == sorted(made)
    paused = await crew.ok("GET", "/agents?agent_type=b&status=paused")
    assert [agent["agent_id"] for agent in paused["items"]] == [made[0]]
    assert (await crew.ok("GET", "/agents?agent_type=nobody"))["items"] == []
    refused(await crew.call("GET", "/agents?status=asleep"), 422)
    refused(await crew.call("GET", "/agents?cursor=W10="), 422)


async def test_a_patch_changes_what_it_names(crew: Crew) -> None:
    agent_id = await crew.agent(name="Old", capabilities=["a"], config={"x": 1})
    peers = await crew.listen()
    await crew.passes(1)
    path = f"/agents/{agent_id}"
    after = await crew.ok("PATCH", path, {"name": None, "capabilities": ["b"]}, **own(agent_id))
    assert (after["name"], after["capabilities"], after["config"]) == (None, ["b"], {"x": 1})
    assert (after["version"], after["status"]) == (2, "active")
    assert after["updated_at"] > after["created_at"]
    assert await crew.ok("PATCH", path, {}, **ADMIN) == after
    assert said(peers["agents"]) == [("agent_updated", after)]


async def test_a_patched_status_moves_like_an_action(crew: Crew) -> None:
    agent_id = await crew.agent()
    peers = await crew.listen()
    path = f"/agents/{agent_id}"
    after = await crew.ok("PATCH", path, {"status": "paused", "name": "P"}, **ADMIN)
    moved = {"agent_id": agent_id, "old_status": "active", "new_status": "paused", "version": 2}
    assert said(peers["agents"]) == [("agent_updated", after), ("agent_status_changed", moved)]
    assert (after["is_leader"], (await crew.election())["leader_id"]) == (False, None)
    # Inactive is what silence makes of an agent; nobody decides it.
    body = refused(
        await crew.call("PATCH", path, {"status": "inactive", "name": "N"}, **ADMIN), 409
    )
    assert body["state"] == "paused"
    assert body["legal"] == ["heartbeat", "restart", "resume", "stop"]
    assert (await crew.ok("GET", path)) == after
    same = await crew.ok("PATCH", path, {"status": "paused"}, **ADMIN)
    assert (same["version"], said(peers["agents"])[2:]) == (2, [])


MOVES = {
    "active": {"pause": "paused", "stop": "stopped", "restart": "active", "heartbeat": "active"},
    "paused": {"resume": "active", "stop": "stopped", "restart": "active", "heartbeat": "paused"},
    "inactive": {"start": "active", "stop": "stopped", "restart": "active", "heartbeat": "active"},
    "stopped": {"start": "active", "restart": "active"},
}
INTO = {"active": [], "paused": ["pause"], "inactive": [], "stopped": ["stop"]}
ACTIONS = ("start", "pause", "resume", "stop", "restart", "heartbeat")


@pytest.mark.parametrize("status", MOVES)
async def test_each_action_in_each_status(crew: Crew, status: str) -> None:
    for action in ACTIONS:
        agent_id = await crew.agent()
        if status == "inactive":
            await crew.beat(agent_id)
            await crew.passes(31)
        for step in INTO[status]:
            await crew.act(agent_id, step)
        peers = await crew.listen()
        before = await crew.ok("GET", f"/agents/{agent_id}")
        assert before["status"] == status
        response = await crew.call("POST", f"/agents/{agent_id}/actions", {"action": action},
                                   **ADMIN)  # fmt: skip
        after = await crew.ok("GET", f"/agents/{agent_id}")
        events = said(peers["agents"])
        if action not in MOVES[status]:
            body = refused(response, 409)
            assert (body["state"], body["legal"]) == (status, sorted(MOVES[status]))
            assert all(move in body["detail"] for move in MOVES[status])
            assert (after, events) == (before, [])
            continue
        assert response.json() == after
        assert after["status"] == MOVES[status][action]
        moved = after["status"] != status
        assert after["version"] == before["version"] + moved
        names = [name for name, _ in events]
        assert (
            names == ["agent_action"] * (action != "heartbeat") + ["agent_status_changed"] * moved
        )
        if action != "heartbeat":
            result = {"status": after["status"], "version": after["version"]}
            assert events[0][1] == {"agent_id": agent_id, "action": action, "result": result}
        await crew.call("DELETE", f"/agents/{agent_id}", **ADMIN)


async def test_a_deleted_agent_is_gone(crew: Crew) -> None:
    agent_id = await crew.agent()
    await crew.beat(agent_id)
    peers = await crew.listen()
    assert (await crew.call("DELETE", f"/agents/{agent_id}", **ADMIN)).status_code == 204
    assert said(peers["agents"]) == [("agent_deleted", {"agent_id": agent_id})]
    await crew.passes(60)
    assert len(said(peers["agents"])) == 1
    for method, body in (("GET", None), ("PATCH", {"name": "x"}), ("DELETE", None)):
        refused(await crew.call(method, f"/agents/{agent_id}", body, **ADMIN), 404)
    for action in ACTIONS:
        path = f"/agents/{agent_id}/actions"
        refused(await crew.call("POST", path, {"action": action}, **ADMIN), 404)
        refused(await crew.call("POST", path, {"action": action}, **own(agent_id)), 404)


def calls(agent_id: str) -> list[tuple[str, str, Any]]:
    return [
        ("GET", "/agents", None),
        ("GET", f"/agents/{agent_id}", None),
        ("GET", "/coordination/election", None),
        ("GET", "/coordination/status", None),
        ("POST", "/agents", {"agent_type": "x"}),
        ("POST", "/coordination/election/trigger", None),
        ("PATCH", f"/agents/{agent_id}", {"name": "x"}),
        ("POST", f"/agents/{agent_id}/actions", {"action": "heartbeat"}),
        ("POST", f"/agents/{agent_id}/actions", {"action": "restart"}),
        ("DELETE", f"/agents/{agent_id}", None),
    ]


async def test_nothing_without_a_token(crew: Crew) -> None:
    agent_id = await crew.agent()
    for method, path, body in calls(agent_id):
        response = await crew.call(method, path, body, who=None)
        refused(response, 401)
        assert response.headers["www-authenticate"] == "Bearer"


# Who may do which of `calls`, by their order there; everybody reads.
RIGHTS: dict[str, tuple[dict[str, Any], str]] = {
    "an admin": (ADMIN, "yyyyyyyyyy"),
    "a service, which did not create it": (SERVICE, "yyyyyyynyy"),
    "a user": (USER, "yyyynnnnnn"),
    "its creator without a role any more": ({"who": "root"}, "yyyynnnynn"),
    "itself": ({"who": "agent_worker_001", "kind": "agent"}, "yyyynnyyyy"),
    "another agent": ({"who": "agent_worker_002", "kind": "agent"}, "yyyynnnnnn"),
    "a user who calls himself so": ({"who": "agent_worker_001"}, "yyyynnnnnn"),
    "a device": ({"who": "probe", "kind": "device"}, "yyyynnnnnn"),
}


@pytest.mark.parametrize("whoever", RIGHTS)
async def test_who_may_do_what(crew: Crew, whoever: str) -> None:
    agent_id = await crew.agent()
    await crew.agent()
    who, rights = RIGHTS[whoever]
    for (method, path, body), right in zip(calls(agent_id), rights, strict=True):
        before = await crew.rows(agents), await crew.rows(terms)
        response = await crew.call(method, path, body, **who)
        if right == "y":
            assert response.status_code < 300, (method, path, body, response.text)
        else:
            assert refused(response, 403)["code"] == "permission_denied", (method, path, body)
            assert (await crew.rows(agents), await crew.rows(terms)) == before


GOOD: dict[str, Any] = {"agent_type": "x"}


BAD: list[Any] = [
    {},
    [],
    {"agent_type": ""},
    {"agent_type": "Neutrophil"},
    {"agent_type": "x" * 65},
    {"agent_type": "1x"},
    {"agent_type": "x\n"},
    {**GOOD, "status": "paused"},
    {**GOOD, "name": ""},
    {**GOOD, "name": "\x00"},
    {**GOOD, "capabilities": "a"},
    {**GOOD, "capabilities": None},
    {**GOOD, "capabilities": ["x" * 65]},
    {**GOOD, "capabilities": [f"c{n}" for n in range(65)]},
    {**GOOD, "config": []},
    {**GOOD, "config": {"x": "y" * 17_000}},
    {**GOOD, "lease_seconds": 0.5},
    {**GOOD, "lease_seconds": "30"},
    {**GOOD, "lease_seconds": True},
    {**GOOD, "lease_seconds": 1e9},
]


async def test_a_body_that_does_not_fit_makes_no_agent(crew: Crew) -> None:
    for body in BAD:
        refused(await crew.call("POST", "/agents", body, **ADMIN), 422)
    assert await crew.rows(agents) == []


NO_JSON = [
    (b'{"agent_type":"x","config":{"n":NaN}}', 400),
    (b'{"agent_type":"x","config":{"n":1e999}}', 400),
    (b'{"agent_type":"x","config":{"n":"\\ud800"}}', 400),
    (b'{"agent_type":"x","config":' + b'{"a":' * 40 + b"1" + b"}" * 41, 400),
    (b'{"agent_type":"x","config":' + b'{"a":' * 20_000 + b"1" + b"}" * 20_001, 413),
    (b'{"agent_type":"x"', 400),
    (b"\xff", 400),
    (b"", 422),
]


async def test_what_is_no_json_makes_no_agent(crew: Crew) -> None:
    headers = {
        "Authorization": f"Bearer {crew.token('root', role='admin')}",
        "Content-Type": "application/json",
    }
    for text, status in NO_JSON:
        refused(await crew.client.post("/agents", content=text, headers=headers), status)
    assert await crew.rows(agents) == []


BAD_PATCHES: list[Any] = [
    {"status": None},
    {"status": "asleep"},
    {"capabilities": None},
    {"config": None},
    {"agent_type": "y"},
    {"version": 7},
    {"lease_seconds": -1},
]


async def test_a_patch_that_does_not_fit_changes_nothing(crew: Crew) -> None:
    agent_id = await crew.agent()
    before = await crew.ok("GET", f"/agents/{agent_id}")
    for body in BAD_PATCHES:
        refused(await crew.call("PATCH", f"/agents/{agent_id}", body, **ADMIN), 422)
    assert await crew.ok("GET", f"/agents/{agent_id}") == before


async def test_an_action_nobody_knows_is_refused(crew: Crew) -> None:
    path = f"/agents/{await crew.agent()}/actions"
    for body in ({}, {"action": "dance"}, {"action": None}, {"action": "stop", "why": "x"}, None):
        refused(await crew.call("POST", path, body, **ADMIN), 422)


async def test_ids_that_are_none_are_not_found(crew: Crew) -> None:
    for id in ("agent_x_999", "x" * 3000, "%00", "a%0ab", "%ff", "'; drop table agents"):
        refused(await crew.call("GET", f"/agents/{id}", **USER), 404)


async def test_the_status_counts_every_status(crew: Crew) -> None:
    first, second, third = [await crew.agent() for _ in range(3)]
    await crew.act(second, "pause")
    await crew.beat(third)
    await crew.passes(31)
    found = await crew.ok("GET", "/coordination/status")
    assert found["agents"] == {"active": 1, "paused": 1, "inactive": 1, "stopped": 0}
    assert set(found["tasks"].values()) == {0}
    assert len(found["tasks"]) == 6
    assert (found["leader_id"], found["term"], found["open_proposals"]) == (first, 1, 0)
    await crew.act(first, "stop")
    assert (await crew.ok("GET", "/coordination/status"))["leader_id"] is None
