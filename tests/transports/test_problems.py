"""Errors of HTTP routes as RFC 9457 documents."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import anyio
import pytest
from fastapi import APIRouter, FastAPI, Form, HTTPException, Request
from fastapi import Body as JsonBody
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import AfterValidator, BaseModel, Field
from starlette.testclient import TestClient

from cardume.errors import Invalid, Refused, Unavailable
from cardume.transports.bodies import Body as Strict
from cardume.transports.problems import MEDIA_TYPE, ProblemRoute
from cardume.transports.requests import MAX_BODY, body_of, read_body
from cardume.wire import codes


class Body(BaseModel):
    count: int = Field(ge=1)


def check_even(number: int) -> int:
    if number % 2:
        raise ValueError("an even number")
    return number


class Point(Strict):
    x: int


class Square(Strict):
    side: int


class Circle(Strict):
    radius: int


class Fields(Strict):
    priority: Annotated[int, Field(le=100)] | Literal["low", "high"] = 1
    even: Annotated[int, AfterValidator(check_even)] = 2
    name: Annotated[str, Field(min_length=1)] = "x"
    points: list[Point] = []
    shape: Square | Circle | None = None


class Small(ProblemRoute):
    max_body = 1000


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

    @router.post("/fault/{name}")
    async def fault_of_a_change(name: str) -> None:
        raise FAULTS[name]

    @router.post("/body")
    async def body(body: Body) -> None: ...

    @router.post("/any")
    async def anything(body: Annotated[Any, JsonBody()]) -> None: ...

    @router.post("/optional")
    async def optional(body: Body | None = None) -> None: ...

    @router.post("/fields")
    async def fields(body: Fields) -> None: ...

    @router.post("/form")
    async def form(name: Annotated[str, Form()]) -> None: ...

    @router.post("/by-hand")
    async def by_hand(request: Request) -> None:
        await read_body(request, 100_000)

    @router.get("/query")
    async def query(limit: int = 1, only: Literal["a", "b"] = "a") -> None: ...

    @router.get("/nobody/{name}")
    async def nobody(name: str) -> None:
        raise Refused(codes.NOT_FOUND, f"no {name}")

    small = APIRouter(route_class=Small)

    @small.post("/small", responses={404: {"description": "Nobody is here"}})
    async def less(body: Body) -> None: ...

    app = FastAPI()
    app.include_router(router)
    app.include_router(small)
    with TestClient(app, raise_server_exceptions=False) as running:
        yield running


def test_only_what_would_have_been_kept_was_not_kept(client: TestClient) -> None:
    change, read = client.post("/fault/away"), client.get("/fault/away")
    assert change.json()["detail"] == "nothing was kept; try again"
    assert "kept" not in read.json()["detail"]
    assert change.headers["retry-after"] == read.headers["retry-after"]


@pytest.mark.parametrize(
    ("name", "status", "code", "detail"),
    [
        ("refused", 409, "conflict", "somebody was faster"),
        ("invalid", 422, "invalid_fields", "no channel"),
        ("away", 503, "not_available", "no answer can be given now; try again"),
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


def test_a_bug_is_no_problem_document_of_ours(client: TestClient) -> None:
    answer = client.get("/fault/bug")
    assert answer.status_code == 500
    assert "SECRET" not in answer.text


# -- bodies ---------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/body", "/by-hand", "/small", "/form"])
@pytest.mark.parametrize("how", ["announced", "chunked"])
def test_a_body_too_long_is_413_however_it_is_said(client: TestClient, path: str, how: str) -> None:
    limit = {"/by-hand": 100_000, "/small": 1000}.get(path, MAX_BODY)
    body = b'{"count":1}' + b" " * limit
    kind = "application/x-www-form-urlencoded" if path == "/form" else "application/json"
    content = body if how == "announced" else iter([body[:1000], body[1000:]])
    answer = client.post(path, content=content, headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["code"]) == (413, "limit_exceeded")
    assert str(limit) in answer.json()["detail"]


def test_no_more_is_read_of_a_body_than_is_allowed() -> None:
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        while taken < 100 * MAX_BODY:
            taken += MAX_BODY
            yield b" " * MAX_BODY

    request = Request(
        {"type": "http", "headers": [(b"content-type", b"application/json")], "method": "POST"},
        _receiving(endless()),
    )
    with pytest.raises(HTTPException) as refused:
        anyio.run(read_body, request, MAX_BODY)
    assert (refused.value.status_code, taken) == (413, 2 * MAX_BODY)


def _receiving(chunks: Iterator[bytes]) -> Any:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": next(chunks), "more_body": True}

    return receive


@pytest.mark.parametrize("path", ["/body", "/by-hand", "/small"])
def test_a_body_of_just_the_limit_is_read(client: TestClient, path: str) -> None:
    limit = {"/by-hand": 100_000, "/small": 1000}.get(path, MAX_BODY)
    body = b'{"count":1}'.ljust(limit)
    answer = client.post(path, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "kind", [None, "", "text/plain", "application/x-www-form-urlencoded", "json", "text/json"]
)
@pytest.mark.parametrize("path", ["/body", "/by-hand"])
def test_a_body_that_does_not_say_that_it_is_json(
    client: TestClient, path: str, kind: str | None
) -> None:
    headers = {} if kind is None else {"Content-Type": kind}
    answer = client.post(path, content=b'{"count":1}', headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")
    assert answer.json()["detail"] == "send Content-Type: application/json"
    assert answer.headers["accept"] == "application/json"


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/merge+JSON"])
@pytest.mark.parametrize("path", ["/body", "/by-hand"])
def test_json_by_any_of_its_names(client: TestClient, path: str, kind: str) -> None:
    answer = client.post(path, content=b'{"count":1}', headers={"Content-Type": kind})
    assert answer.status_code == 200


def test_no_body_needs_no_type(client: TestClient) -> None:
    assert client.post("/optional").status_code == 200


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"\xff{", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b'{"count":1}}', "not valid JSON"),
        (b'{"count":NaN}', "not valid JSON"),
        (b'{"count":1e999}', "not valid JSON"),
        (b'{"count":"\\ud800"}', "not valid JSON"),
        ('{"count":1}'.encode("utf-16"), "not valid JSON"),
        (b'{"a":' * 10_000, "not valid JSON"),
        (b"[" * 60_000, "not valid JSON"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, "nested deeper than 32"),
    ],
)
@pytest.mark.parametrize("path", ["/body", "/any"])
def test_what_is_no_json_is_said_in_the_words_of_the_gate(
    client: TestClient, path: str, body: bytes, detail: str
) -> None:
    answer = client.post(path, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert (answer.json()["code"], answer.json()["detail"]) == ("bad_request", detail)


junk = st.binary(max_size=200) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.just("count"), inner),
).map(lambda value: json.dumps(value).encode())


@settings(max_examples=150, deadline=None)
@given(body=junk, kind=st.sampled_from(["application/json", "text/plain", "application/json;;"]))
def test_junk_is_an_error_and_never_a_fault_of_ours(
    client: TestClient, body: bytes, kind: str
) -> None:
    answer = client.post("/body", content=body, headers={"Content-Type": kind})
    if answer.status_code != 200:
        assert answer.status_code in (400, 415, 422)
        assert answer.headers["content-type"] == MEDIA_TYPE
        assert answer.json()["detail"]


# -- what is said of fields -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"priority": 200}, {"priority": "should be less than or equal to 100 or 'low' or 'high'"}),
        ({"priority": "x"}, {"priority": "should be a whole number or 'low' or 'high'"}),
        ({"even": 3}, {"even": "an even number"}),
        ({"name": ""}, {"name": "should have at least 1 character"}),
        ({"colour": "red"}, {"colour": "there is no such field"}),
        ({"points": [{"x": 1}, {"x": "a"}]}, {"points.1.x": "should be a whole number"}),
        ({"points": [{}]}, {"points.0.x": "is required"}),
        (
            {"shape": {"side": "a"}},
            {
                "shape.side": "should be a whole number or there is no such field",
                "shape.radius": "is required",
            },
        ),
        ([], {"body": "should be an object"}),
        (None, {"body": "is required"}),
    ],
)
def test_each_wrong_field_is_named_once_by_its_own_path(
    client: TestClient, body: Any, expected: dict[str, str]
) -> None:
    answer = client.post("/fields", json=body)
    assert answer.status_code == 422
    faults = {fault["field"]: fault["message"] for fault in answer.json()["errors"]}
    assert len(faults) == len(answer.json()["errors"])
    assert faults == expected


def test_a_wrong_parameter_is_named_without_the_place_it_came_from(client: TestClient) -> None:
    answer = client.get("/query", params={"limit": "x", "only": "z"})
    assert answer.json()["detail"] == "limit: should be a whole number; only: should be 'a' or 'b'"


def test_many_and_long_faults_are_cut(client: TestClient) -> None:
    body = {f"{n}" + "x" * 300: 1 for n in range(150)}
    answer = client.post("/fields", json=body)
    assert len(answer.json()["errors"]) == 50
    assert {len(fault["field"]) for fault in answer.json()["errors"]} == {128}


def test_a_404_does_not_echo_a_whole_address(client: TestClient) -> None:
    detail = client.get("/nobody/" + "x" * 5000).json()["detail"]
    assert len(detail) == 128
    assert detail.startswith("no xxx")


# -- what is declared -----------------------------------------------------------------------


def test_problems_are_declared(client: TestClient) -> None:
    schema = client.get("/openapi.json").json()
    assert set(schema["paths"]["/query"]["get"]["responses"]) == {
        "200", "401", "403", "404", "422"
    }  # fmt: skip
    responses = schema["paths"]["/body"]["post"]["responses"]
    assert {"401", "403", "404", "409", "413", "415", "422"} < set(responses)
    assert set(responses["422"]["content"]) == {MEDIA_TYPE}
    assert "HTTPValidationError" not in json.dumps(schema)
    own = schema["paths"]["/small"]["post"]["responses"]["404"]
    assert own["description"] == "Nobody is here"


def test_a_body_read_by_hand_is_declared_with_the_models_within_it() -> None:
    schema = body_of(Fields)["requestBody"]["content"]["application/json"]["schema"]
    point = schema["properties"]["points"]["items"]
    assert (point["type"], point["required"]) == ("object", ["x"])
    assert [kind.get("title") for kind in schema["properties"]["shape"]["anyOf"]] == [
        "Square",
        "Circle",
        None,
    ]
    assert "$ref" not in json.dumps(schema)
    assert "$defs" not in schema
