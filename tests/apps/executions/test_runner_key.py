"""A runner's key reports about its execution when its token has expired, and does nothing else."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from cardume.auth.secrets import hash_key
from cardume.storage.tables import executions
from cardume.testing import FakeClock
from tests.apps.executions.works import Works, lines

REPORTS: list[tuple[str, str, Any]] = [
    ("GET", "", None),
    ("POST", "/log", {"lines": lines(1, 2)}),
    ("POST", "/progress", {"done": 1, "total": 2}),
    ("POST", "/complete", {}),
    ("POST", "/fail", {}),
]
OTHERS: list[tuple[str, str, Any]] = [
    ("GET", "/executions", None),
    ("POST", "/executions", {"name": "another"}),
    ("GET", "/executions/{id}/log", None),
    ("POST", "/executions/{id}/cancel", None),
    ("DELETE", "/executions/{id}", None),
]


async def test_a_build_of_ten_hours_begun_with_a_token_of_one(database: Path) -> None:
    async with Works.running(database, lease=900.0) as works:
        bearer = {"Authorization": f"Bearer {works.token('ana', ttl=3600)}"}
        made = await works.client.post("/api/v1/executions", json={"name": "b"}, headers=bearer)
        path, key = f"/executions/{made.json()['execution_id']}", made.json()["runner_key"]
        for seq in range(1, 41):
            await works.passes(899)
            sent = {"lines": lines(seq, seq)}
            answer = await works.with_key(key, "POST", f"{path}/log", sent)
            assert answer.json() == {"last_seq": seq, "status": "running"}
        expired = await works.client.post(f"/api/v1{path}/complete", headers=bearer)
        assert expired.status_code == 401
        progress = await works.with_key(key, "POST", f"{path}/progress", {"done": 1, "total": 2})
        assert progress.status_code == 200
        ended = (await works.with_key(key, "POST", f"{path}/complete")).json()
        assert (ended["status"], ended["last_seq"]) == ("completed", 40)
        assert ended["created_by"] == "ana"


@pytest.mark.parametrize(("method", "path", "body"), REPORTS)
async def test_a_key_that_does_not_fit_is_401_even_beside_a_good_token(
    works: Works, method: str, path: str, body: Any
) -> None:
    (id, key), (_, foreign) = await works.begin_with_key(), await works.begin_with_key()
    for wrong in (foreign, key[:-1], f"{key}x", hash_key(key), "k"):
        for who in (None, "ana"):
            answer = await works.with_key(wrong, method, f"/executions/{id}{path}", body, who=who)
            assert answer.status_code == 401
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.headers["www-authenticate"] == "Bearer"
            assert wrong not in answer.text or wrong == "k"
    unknown = await works.with_key(key, method, f"/executions/0{path}", body)
    assert unknown.status_code == 401
    shown = await works.get(id)
    assert (shown["version"], shown["last_seq"]) == (1, 0)


async def test_a_key_of_any_bytes_is_a_wrong_one(works: Works) -> None:
    id = await works.begin()
    for raw in (b"\xff\xfe", b"\xc3\xa9", b"k" * 10_000):
        headers = [(b"X-Runner-Key", raw)]
        answer = await works.client.get(f"/api/v1/executions/{id}", headers=headers)
        assert answer.status_code == 401


@pytest.mark.parametrize(("method", "path", "body"), OTHERS)
async def test_a_key_alone_opens_nothing_else(
    works: Works, method: str, path: str, body: Any
) -> None:
    id, key = await works.begin_with_key()
    answer = await works.with_key(key, method, path.format(id=id), body)
    assert answer.status_code == 401
    assert len(await works.rows(executions)) == 1
    assert (await works.get(id))["status"] == "running"


async def test_beside_a_token_a_key_changes_nothing_where_it_does_not_count(works: Works) -> None:
    id, key = await works.begin_with_key()
    answer = await works.with_key(key, "POST", f"/executions/{id}/cancel", who="ben")
    assert answer.status_code == 403


@pytest.mark.parametrize("end", ["cancel", "lost", "complete"])
async def test_after_the_end_the_key_learns_of_it_and_changes_nothing(
    works: Works, end: str
) -> None:
    id, key = await works.begin_with_key()
    if end == "lost":
        await works.passes(61)
    else:
        await works.ok("POST", f"/executions/{id}/{end}")
    ended = await works.get(id)
    for _, path, body in REPORTS[1:3]:
        answer = await works.with_key(key, "POST", f"/executions/{id}{path}", body)
        assert answer.status_code == 409
        assert (answer.json()["state"], answer.json()["reason"]) == (
            ended["status"],
            ended["reason"],
        )
    failed = await works.with_key(key, "POST", f"/executions/{id}/fail", {"exit_code": 1})
    assert failed.status_code == 409
    assert (await works.with_key(key, "GET", f"/executions/{id}")).json() == ended


async def test_a_key_of_a_deleted_execution_is_401(works: Works) -> None:
    id, key = await works.begin_with_key()
    await works.ok("POST", f"/executions/{id}/cancel")
    await works.ok("DELETE", f"/executions/{id}")
    answer = await works.with_key(key, "POST", f"/executions/{id}/log", {"lines": []})
    assert answer.status_code == 401


async def test_a_key_is_shown_once_and_kept_as_its_hash(
    works: Works, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    id, key = await works.begin_with_key()
    peer = await works.watch(id)
    for method, path, body in REPORTS[:4]:
        await works.with_key(key, method, f"/executions/{id}{path}", body)
    listed = await works.ok("GET", "/executions")
    said = json.dumps([peer.frames, listed, await works.get(id)])
    [row] = await works.rows(executions)
    assert row["key_hash"] == hash_key(key)
    assert key not in str(row)
    assert key not in caplog.text
    for secret in (key, hash_key(key), "runner_key", "key_hash"):
        assert secret not in said


async def test_a_key_fits_after_a_restart(database: Path) -> None:
    clock = FakeClock()
    async with Works.running(database, clock) as works:
        (id, key), (ended, other) = await works.begin_with_key(), await works.begin_with_key()
        await works.with_key(other, "POST", f"/executions/{ended}/complete")
    async with Works.running(database, clock) as works:
        answer = await works.with_key(key, "POST", f"/executions/{id}/log", {"lines": lines(1, 1)})
        assert answer.json() == {"last_seq": 1, "status": "running"}
        again = await works.with_key(other, "POST", f"/executions/{ended}/complete")
        assert again.json()["status"] == "completed"


async def test_a_runner_with_a_key_is_heard_while_the_database_is_away(works: Works) -> None:
    id, key = await works.begin_with_key()
    await works.passes(50)
    await works.storage.close()
    answer = await works.with_key(key, "POST", f"/executions/{id}/log", {"lines": []})
    assert answer.status_code == 503
    await works.storage.open()
    await works.passes(20)
    assert (await works.get(id))["status"] == "running"
