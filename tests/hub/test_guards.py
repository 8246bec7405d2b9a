"""Authorisation functions, called directly and through FastAPI."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from enum import Enum
from typing import Annotated, Any
from uuid import UUID

import pytest
from fastapi import Depends, FastAPI, Header, HTTPException, Path, Query, Request

from cardume.auth.identity import Identity
from cardume.errors import ConfigurationError, Refused
from cardume.hub.guards import DependencyGuard, DirectGuard, guard_for
from cardume.hub.namespaces import ChannelTemplate, Guard

ANNA = Identity("anna", role="admin")
ROOM = ChannelTemplate("room:{room_id}")


def scope_of(app: FastAPI | None = None, **more: Any) -> dict[str, Any]:
    return {"type": "websocket", "headers": [], "query_string": b"", "app": app, **more}


async def ask(
    guard: Guard,
    raw: Mapping[str, str],
    *,
    identity: Identity = ANNA,
    scope: Mapping[str, Any] | None = None,
) -> None:
    await guard.check(identity, guard.convert(raw), scope or scope_of())


# -- direct -----------------------------------------------------------------------------------


async def test_a_function_of_identity_and_parameters_is_called_as_it_is() -> None:
    seen: list[Any] = []

    async def room(room_id: int, identity: Identity) -> None:
        seen.append((room_id, identity))

    guard = guard_for(room, ROOM)
    assert type(guard) is DirectGuard
    await ask(guard, {"room_id": "007"})
    assert seen == [(7, ANNA)]


async def test_a_plain_function_runs_in_a_thread() -> None:
    seen: list[Any] = []

    def room(room_id: str, who: Identity) -> None:
        seen.append((room_id, who.sub))

    await ask(guard_for(room, ROOM), {"room_id": "x"})
    assert seen == [("x", "anna")]


async def test_a_function_may_take_no_identity() -> None:
    async def room(room_id: int) -> None: ...

    assert type(guard_for(room, ROOM)) is DirectGuard


async def test_an_unannotated_identity_goes_by_its_name() -> None:
    seen: list[Any] = []

    async def room(room_id, identity):  # type: ignore[no-untyped-def]
        seen.append((room_id, identity.sub))

    guard = guard_for(room, ROOM)
    assert type(guard) is DirectGuard
    await ask(guard, {"room_id": "7"})
    assert seen == [("7", "anna")]


@pytest.mark.parametrize(("status", "name"), [(403, "permission_denied"), (404, "not_found")])
async def test_an_http_exception_refuses(status: int, name: str) -> None:
    async def room(room_id: int, identity: Identity) -> None:
        raise HTTPException(status, "only for fish")

    with pytest.raises(Refused) as caught:
        await ask(guard_for(room, ROOM), {"room_id": "7"})
    assert (caught.value.code.name, caught.value.message) == (name, "only for fish")


async def test_a_plain_function_refuses_too() -> None:
    def room(room_id: int) -> None:
        raise HTTPException(403)

    with pytest.raises(Refused):
        await ask(guard_for(room, ROOM), {"room_id": "7"})


async def test_a_bug_in_the_function_is_no_refusal() -> None:
    async def room(room_id: int) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await ask(guard_for(room, ROOM), {"room_id": "7"})


@pytest.mark.parametrize("value", ["0", "-1", "x", "", "1.5", "1" * 5000])
async def test_parameters_are_validated(value: str) -> None:
    async def room(room_id: Annotated[int, Path(ge=1)], identity: Identity) -> None: ...

    guard = guard_for(room, ROOM)
    assert type(guard) is DirectGuard
    with pytest.raises(Refused) as caught:
        guard.convert({"room_id": value})
    assert caught.value.code.name == "invalid_fields"
    assert not value or value not in caught.value.message
    assert guard.convert({"room_id": "1"}) == {"room_id": 1}


def test_a_function_has_to_take_every_parameter() -> None:
    async def room(identity: Identity) -> None: ...

    with pytest.raises(ConfigurationError, match="room_id"):
        guard_for(room, ROOM)


# -- through FastAPI --------------------------------------------------------------------------


class Members:
    def __init__(self, *names: str) -> None:
        self.names = names


async def members() -> Members:
    return Members("anna")


async def needs_members(
    room_id: Annotated[int, Path(ge=1)],
    identity: Identity,
    members: Annotated[Members, Depends(members)],
) -> None:
    if identity.sub not in members.names:
        raise HTTPException(403, "not a member")


async def test_dependencies_are_resolved() -> None:
    guard = guard_for(needs_members, ROOM)
    assert type(guard) is DependencyGuard
    await ask(guard, {"room_id": "7"})
    with pytest.raises(Refused) as caught:
        await ask(guard, {"room_id": "7"}, identity=Identity("berta"))
    assert caught.value.code.name == "permission_denied"


async def test_dependency_overrides_of_the_app_hold() -> None:
    app = FastAPI()
    app.dependency_overrides[members] = lambda: Members("berta")
    guard = guard_for(needs_members, ROOM)
    await ask(guard, {"room_id": "7"}, identity=Identity("berta"), scope=scope_of(app))
    with pytest.raises(Refused):
        await ask(guard, {"room_id": "7"}, scope=scope_of(app))
    app.dependency_overrides.clear()
    await ask(guard, {"room_id": "7"}, scope=scope_of(app))


@pytest.mark.parametrize("refuses", [False, True])
async def test_a_dependency_with_yield_is_closed(refuses: bool) -> None:
    seen: list[str] = []

    async def session() -> AsyncIterator[str]:
        seen.append("open")
        try:
            yield "session"
        finally:
            seen.append("closed")

    async def room(room_id: int, db: str = Depends(session)) -> None:
        seen.append(db)
        if refuses:
            raise HTTPException(403)

    guard = guard_for(room, ROOM)
    if refuses:
        with pytest.raises(Refused):
            await ask(guard, {"room_id": "7"})
    else:
        await ask(guard, {"room_id": "7"})
    assert seen == ["open", "session", "closed"]


async def test_headers_queries_and_the_request_are_there() -> None:
    seen: list[Any] = []

    def room(
        room_id: int,
        request: Request,
        x_tank: Annotated[str, Header()],
        depth: Annotated[int, Query()] = 1,
    ) -> None:
        seen.append((room_id, x_tank, depth, request.url.scheme))

    guard = guard_for(room, ROOM)
    scope = scope_of(headers=[(b"x-tank", b"reef"), (b"host", b"a")], query_string=b"depth=3")
    await ask(guard, {"room_id": "7"}, scope={**scope, "scheme": "wss"})
    assert seen == [(7, "reef", 3, "https")]
    with pytest.raises(Refused) as caught:
        await ask(guard, {"room_id": "7"})
    assert caught.value.code.name == "invalid_fields", "the header is missing"


async def test_a_parameter_is_validated_before_the_dependencies_run() -> None:
    async def never() -> None:
        raise AssertionError

    async def room(room_id: Annotated[int, Path(ge=1)], _: None = Depends(never)) -> None: ...

    with pytest.raises(Refused):
        await ask(guard_for(room, ROOM), {"room_id": "0"})


async def test_a_bug_in_a_dependency_is_no_refusal() -> None:
    async def broken() -> None:
        raise ZeroDivisionError

    async def room(room_id: int, _: None = Depends(broken)) -> None: ...

    with pytest.raises(ZeroDivisionError):
        await ask(guard_for(room, ROOM), {"room_id": "7"})


class Kind(Enum):
    REEF = "reef"


@pytest.mark.parametrize(
    ("annotation", "raw", "value"),
    [
        (Kind, "reef", Kind.REEF),
        (
            UUID,
            "0F8FAD5B-D9CB-469F-A165-70867728950E",
            UUID("0f8fad5b-d9cb-469f-a165-70867728950e"),
        ),
        (str, "a%2Fb", "a%2Fb"),
        (str, "..", ".."),
    ],
)
async def test_values_reach_the_function_through_an_address(
    annotation: type, raw: str, value: object
) -> None:
    seen: list[object] = []
    function = _takes(annotation, seen.append)
    await ask(guard_for(function, ROOM), {"room_id": raw})
    assert seen == [value]


def _takes(annotation: type, note: Callable[[object], None]) -> Callable[..., Any]:
    async def room(room_id: Any, _m: Annotated[Any, Depends(members)]) -> None:
        note(room_id)

    room.__annotations__["room_id"] = annotation
    return room


async def test_a_dependency_finds_the_state_of_the_application() -> None:
    app = FastAPI()
    app.state.pool = "the pool"

    def pool(request: Request) -> str:
        return str(request.app.state.pool)

    seen: list[str] = []

    async def room(room_id: int, held: Annotated[str, Depends(pool)]) -> None:
        seen.append(held)

    room.__annotations__["held"] = Annotated[str, Depends(pool)]
    await ask(guard_for(room, ROOM), {"room_id": "7"}, scope=scope_of(app))
    assert seen == ["the pool"]
