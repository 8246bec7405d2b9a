"""Errors of HTTP routes as RFC 9457 documents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI, HTTPException
from pydantic import BaseModel, Field
from starlette.testclient import TestClient

from cardume.errors import Invalid, Refused, Unavailable
from cardume.transports.problems import MEDIA_TYPE, ProblemRoute
from cardume.wire import codes


class Body(BaseModel):
    count: int = Field(ge=1)


FAULTS: dict[str, Exception] = {
    "refused": Refused(codes.CONFLICT, "somebody was faster", version=3, status="forged"),
    "invalid": Invalid("no channel"),
    "away": Unavailable("disk full"),
    "teapot": HTTPException(418, "short and stout"),
    "login": HTTPException(401, "who are you", {"WWW-Authenticate": "Bearer"}),
    "structured": HTTPException(400, {"why": ["many"]}),
    "bug": ZeroDivisionError("SECRET"),
}


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    router = APIRouter(route_class=ProblemRoute)

    @router.get("/fault/{name}")
    async def fault(name: str) -> None:
        raise FAULTS[name]

    @router.post("/body")
    async def body(body: Body) -> None: ...

    app = FastAPI()
    app.include_router(router)
    with TestClient(app, raise_server_exceptions=False) as running:
        yield running


@pytest.mark.parametrize(
    ("name", "status", "code", "detail"),
    [
        ("refused", 409, "conflict", "somebody was faster"),
        ("invalid", 422, "invalid_fields", "no channel"),
        ("away", 503, "not_available", "nothing was kept; try again"),
        ("teapot", 418, "bad_request", "short and stout"),
        ("login", 401, "unauthorized", "who are you"),
        ("structured", 400, "bad_request", "{'why': ['many']}"),
    ],
)
def test_a_fault_is_a_document(
    client: TestClient, name: str, status: int, code: str, detail: str
) -> None:
    answer = client.get(f"/fault/{name}")
    document: dict[str, Any] = answer.json()
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert answer.status_code == document["status"] == status
    assert document["type"] == f"urn:cardume:error:{code}"
    assert (document["code"], document["detail"]) == (code, detail)
    assert document["title"]


def test_members_and_headers_of_a_fault(client: TestClient) -> None:
    assert client.get("/fault/refused").json()["version"] == 3
    assert client.get("/fault/away").headers["retry-after"] == "2"
    assert client.get("/fault/login").headers["www-authenticate"] == "Bearer"


def test_wrong_fields_are_named(client: TestClient) -> None:
    answer = client.post("/body", json={"count": 0})
    assert answer.status_code == 422
    assert [fault["field"] for fault in answer.json()["errors"]] == ["count"]
    assert client.post("/body", content=b"\xff{").status_code == 422


def test_a_bug_is_no_problem_document_of_ours(client: TestClient) -> None:
    answer = client.get("/fault/bug")
    assert answer.status_code == 500
    assert "SECRET" not in answer.text
