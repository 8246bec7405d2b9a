"""Executions over HTTP: how they begin, who may do what, how they end."""

from __future__ import annotations

from typing import Any

import pytest

from tests.apps.executions.works import Works, line, lines

ENDS = [
    ("complete", {"exit_code": 0}, "completed"),
    ("fail", {"exit_code": 3, "message": "no disk"}, "failed"),
    ("cancel", None, "cancelled"),
]


async def test_an_execution_begins_running_and_says_where_to_watch_it(works: Works) -> None:
    body = {"name": "build", "command": "make all", "card_id": "card-7"}
    made = await works.ok("POST", "/executions", body)
    id, key = made["execution_id"], made.pop("runner_key")
    assert len(key) == 43
    assert made == {
        "execution_id": id,
        "name": "build",
        "command": "make all",
        "card_id": "card-7",
        "status": "running",
        "reason": None,
        "message": None,
        "exit_code": None,
        "progress": None,
        "first_seq": 1,
        "last_seq": 0,
        "log_bytes": 0,
        "url": f"/#/executions/{id}",
        "websocket": f"/ws/execution/{id}",
        "version": 1,
        "created_by": "ana",
        "started_at": made["started_at"],
        "finished_at": None,
    }
    assert await works.get(id) == made
    assert await works.begin() != id


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": ""},
        {"name": "x" * 201},
        {"name": "a\x1b[2J"},
        {"name": "x", "card_id": "c" * 65},
        {"name": "x", "colour": "red"},
        {"name": 7},
        [],
    ],
)
async def test_a_body_that_does_not_fit_is_422_and_begins_nothing(works: Works, body: Any) -> None:
    answer = await works.call("POST", "/executions", body)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert (await works.ok("GET", "/executions"))["items"] == []


async def test_text_without_a_form_in_utf_8_is_refused(works: Works) -> None:
    raw = b'{"name": "x", "command": "\\ud800"}'
    assert (await works.raw("/executions", raw)).status_code in (400, 422)
    assert (await works.ok("GET", "/executions"))["items"] == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("POST", ""),
        ("GET", "/x"),
        ("DELETE", "/x"),
        ("GET", "/x/log"),
        ("POST", "/x/log"),
        ("POST", "/x/progress"),
        ("POST", "/x/complete"),
        ("POST", "/x/fail"),
        ("POST", "/x/cancel"),
    ],
)
async def test_without_a_token_everything_is_401_and_an_unknown_id_404(
    works: Works, method: str, path: str
) -> None:
    bodies: dict[str, Any] = {"/x/log": {"lines": []}, "/x/progress": {"done": 1, "total": 2}}
    body = bodies.get(path)
    assert (await works.call(method, f"/executions{path}", body, who=None)).status_code == 401
    if path:
        assert (await works.call(method, f"/executions{path}", body)).status_code == 404


async def test_the_list_is_newest_first_paged_and_filtered(works: Works) -> None:
    ids = [await works.begin(card_id="card-1" if n % 2 else None) for n in range(5)]
    await works.ok("POST", f"/executions/{ids[1]}/complete")

    first = await works.ok("GET", "/executions?limit=3")
    second = await works.ok("GET", f"/executions?limit=3&cursor={first['next']}")
    found = [each["execution_id"] for each in first["items"] + second["items"]]
    assert found == ids[::-1]
    assert second["next"] is None

    async def listed(query: str) -> list[str]:
        items = (await works.ok("GET", f"/executions?{query}"))["items"]
        return [each["execution_id"] for each in items]

    assert await listed("card_id=card-1") == [ids[3], ids[1]]
    assert await listed("card_id=card-1&status=running") == [ids[3]]
    assert await listed("status=completed") == [ids[1]]
    assert (await works.call("GET", "/executions?status=dead")).status_code == 422
    assert (await works.call("GET", "/executions?cursor=abc")).status_code == 422


async def test_progress_is_kept_and_announced_once(works: Works) -> None:
    id = await works.begin()
    peer = await works.watch(id)
    for _ in range(2):
        shown = await works.ok(
            "POST", f"/executions/{id}/progress", {"done": 3, "total": 2, "message": "linking"}
        )
        assert shown["progress"] == {"done": 3.0, "total": 2.0, "message": "linking"}
        assert shown["version"] == 2
    [event] = peer.of_type("progress")
    assert event["data"] == shown


@pytest.mark.parametrize(
    "body",
    [
        {"done": -1, "total": 2},
        {"done": 1},
        {"done": "1", "total": 2},
        {"done": True, "total": 2},
        {"done": 1, "total": 2, "message": "m" * 4001},
    ],
)
async def test_progress_is_of_finite_numbers_from_0_on(works: Works, body: Any) -> None:
    id = await works.begin()
    answer = await works.call("POST", f"/executions/{id}/progress", body)
    assert answer.status_code == 422
    raw = b'{"done": 1e999, "total": 1}'
    # No number of ours, whether JSON's reader or the field's type says so first.
    assert (await works.raw(f"/executions/{id}/progress", raw)).status_code in (400, 422)
    assert (await works.get(id))["progress"] is None


@pytest.mark.parametrize(("move", "body", "status"), ENDS)
async def test_an_end_is_final_and_may_be_repeated(
    works: Works, move: str, body: Any, status: str
) -> None:
    id = await works.begin()
    peer = await works.watch(id)
    await works.clock.advance(5)
    ended = await works.ok("POST", f"/executions/{id}/{move}", body)
    assert ended["status"] == status
    assert ended["exit_code"] == (body or {}).get("exit_code")
    assert ended["message"] == (body or {}).get("message")
    assert ended["finished_at"] > ended["started_at"]
    assert await works.ok("POST", f"/executions/{id}/{move}", body) == ended
    assert await works.get(id) == ended

    for other, other_body, _ in ENDS:
        if other != move:
            answer = await works.call("POST", f"/executions/{id}/{other}", other_body)
            assert answer.status_code == 409
            assert answer.json()["state"] == status
            assert answer.json()["legal"] == []
    for path, late in (
        ("log", {"lines": [line(1)]}),
        ("log", {"lines": []}),
        ("progress", {"done": 1, "total": 1}),
    ):
        answer = await works.call("POST", f"/executions/{id}/{path}", late)
        assert answer.status_code == 409
        assert answer.json()["state"] == status
        assert "expected" not in answer.json()
    assert await works.get(id) == ended
    [event] = [frame for frame in peer.frames if frame["type"].startswith("execution_")]
    assert event["type"] == f"execution_{status}"
    assert event["data"] == ended


@pytest.mark.parametrize(
    ("move", "first", "others"),
    [
        ("complete", {"exit_code": 1}, [{"exit_code": 0}, {"exit_code": 2}]),
        ("complete", {}, [{"exit_code": 1}]),
        ("fail", {"exit_code": 3}, [{"exit_code": 4}]),
        ("fail", {}, [{"exit_code": 3}]),
    ],
)
async def test_another_exit_code_is_another_end_and_none_is_the_same(
    works: Works, move: str, first: dict[str, int], others: list[dict[str, int]]
) -> None:
    id = await works.begin()
    ended = await works.ok("POST", f"/executions/{id}/{move}", first)
    for again in (first, {}):
        assert await works.ok("POST", f"/executions/{id}/{move}", again) == ended
    for other in others:
        answer = await works.call("POST", f"/executions/{id}/{move}", other)
        assert answer.status_code == 409
        assert answer.json()["state"] == ended["status"]
        code = ended["exit_code"]
        assert ("exit code" in answer.json()["detail"]) == (code is not None)
    assert await works.get(id) == ended


async def test_a_failure_with_exit_code_0_is_none(works: Works) -> None:
    id = await works.begin()
    answer = await works.call("POST", f"/executions/{id}/fail", {"exit_code": 0})
    assert answer.status_code == 422
    assert "leave it out" in answer.json()["detail"]
    assert (await works.get(id))["status"] == "running"


async def test_a_report_of_the_end_needs_no_body(works: Works) -> None:
    done, failed = await works.begin(), await works.begin()
    assert (await works.ok("POST", f"/executions/{done}/complete"))["exit_code"] == 0
    assert (await works.ok("POST", f"/executions/{failed}/fail"))["exit_code"] is None
    assert (await works.get(failed))["reason"] == "failed"


@pytest.mark.parametrize(
    "body", [{"exit_code": 1.5}, {"exit_code": True}, {"exit_code": 2**31}, {"code": 0}]
)
async def test_an_exit_code_is_a_number_of_32_bits(works: Works, body: Any) -> None:
    id = await works.begin()
    for move in ("complete", "fail"):
        assert (await works.call("POST", f"/executions/{id}/{move}", body)).status_code == 422
    assert (await works.get(id))["status"] == "running"


@pytest.mark.parametrize(
    ("who", "role", "writes", "deletes"),
    [
        ("ana", None, True, True),
        ("ben", None, False, False),
        ("svc", "service", True, False),
        ("root", "admin", True, True),
    ],
)
async def test_its_creator_services_and_admins_write_and_everybody_reads(
    works: Works, who: str, role: str | None, writes: bool, deletes: bool
) -> None:
    id = await works.begin()

    async def status(method: str, path: str, body: Any = None) -> int:
        answer = await works.call(method, f"/executions/{id}{path}", body, who=who, role=role)
        return answer.status_code

    assert await status("GET", "") == await status("GET", "/log") == 200
    expected = 200 if writes else 403
    assert await status("POST", "/log", {"lines": lines(1, 2)}) == expected
    assert await status("POST", "/progress", {"done": 1, "total": 2}) == expected
    assert await status("POST", "/complete") == expected
    assert (await works.get(id))["last_seq"] == (2 if writes else 0)
    other = await works.begin()
    cancelled = await works.call("POST", f"/executions/{other}/cancel", who=who, role=role)
    assert cancelled.status_code == expected
    await works.ok("POST", f"/executions/{other}/cancel")
    deleted = await works.call("DELETE", f"/executions/{other}", who=who, role=role)
    assert deleted.status_code == (204 if deletes else 403)


async def test_a_running_execution_is_not_deleted_and_an_ended_one_wholly(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cardume.apps.executions import log
    from cardume.storage.tables import execution_logs, executions

    monkeypatch.setattr(log, "ROWS_DROPPED", 3)  # so that it takes several transactions
    id = await works.begin()
    for seq in range(1, 11):
        await works.write(id, [line(seq)])
    refused = await works.call("DELETE", f"/executions/{id}")
    assert refused.status_code == 409
    assert refused.json()["legal"] == ["cancel", "complete", "fail"]
    peer = await works.watch(id)
    await works.ok("POST", f"/executions/{id}/cancel")
    assert len(await works.rows(execution_logs)) == 10

    await works.ok("DELETE", f"/executions/{id}")
    assert (await works.call("GET", f"/executions/{id}")).status_code == 404
    assert await works.rows(execution_logs) == await works.rows(executions) == []
    assert peer.code == 3508
