"""Actions: the WebSocket twins of HTTP calls."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import HTTPException
from pydantic import BaseModel, Field, ValidationError

from cardume.auth.identity import Identity
from cardume.errors import ConfigurationError, Refused
from cardume.hub.actions import Actions
from cardume.wire import codes

ANNA = Identity("anna")


class Ack(BaseModel):
    alert_id: int
    note: str | None = Field(None, max_length=5)


class Step(BaseModel):
    seconds: int


class Plan(BaseModel, extra="forbid"):
    name: str
    steps: list[Step | str] = []


async def ack_alert(identity: Identity, body: Ack) -> dict[str, Any]:
    return {"by": identity.sub, "id": body.alert_id}


def actions() -> Actions:
    made = Actions()
    made.add("ack_alert", ack_alert)
    return made


async def test_a_body_is_validated_and_handed_over() -> None:
    assert await actions().run(ANNA, "ack_alert", {"alert_id": 3}) == {"by": "anna", "id": 3}


async def test_an_unknown_action_learns_the_known_ones() -> None:
    with pytest.raises(Refused) as caught:
        await actions().run(ANNA, "dance", {})
    assert caught.value.code.name == "method_not_found"
    assert "ack_alert" in caught.value.message


async def test_what_does_not_fit_is_named_and_never_quoted() -> None:
    with pytest.raises(Refused) as caught:
        await actions().run(ANNA, "ack_alert", {"alert_id": "SECRET", "note": "TOO LONG A NOTE"})
    assert caught.value.code.name == "invalid_fields"
    assert "alert_id" in caught.value.message
    assert "note" in caught.value.message
    assert "SECRET" not in caught.value.message
    assert "TOO LONG" not in caught.value.message


async def test_what_does_not_fit_is_said_in_words_of_ours() -> None:
    made = actions()

    async def plan(identity: Identity, body: Plan) -> None: ...

    made.add("plan", plan)
    said = []
    for body in ({"extra": 1}, {"name": 5}, {"name": "x", "steps": [{"seconds": "soon"}]}):
        with pytest.raises(Refused) as caught:
            await made.run(ANNA, "plan", body)
        said.append(caught.value.message)
    assert said == [
        "name: is required; extra: there is no such field",
        "name: should be text",
        "steps.0.seconds: should be a whole number; steps.0: should be text",
    ]


@pytest.mark.parametrize(("status", "name"), [(403, "permission_denied"), (409, "conflict")])
async def test_errors_are_those_of_http(status: int, name: str) -> None:
    made = Actions()

    async def refuses(identity: Identity, body: dict[str, Any]) -> None:
        raise HTTPException(status, "because")

    made.add("refuses", refuses)
    with pytest.raises(Refused) as caught:
        await made.run(ANNA, "refuses", {})
    assert (caught.value.code.name, caught.value.message) == (name, "because")


async def test_a_handlers_own_refusal_passes() -> None:
    made = Actions()
    refusal = Refused(codes.CONFLICT, version=3)

    async def refuses(identity: Identity, body: dict[str, Any]) -> None:
        raise refusal

    made.add("refuses", refuses)
    with pytest.raises(Refused) as caught:
        await made.run(ANNA, "refuses", {})
    assert caught.value is refusal


def test_a_handler_takes_two_arguments_and_has_one_name() -> None:
    made = actions()
    with pytest.raises(ConfigurationError, match="twice"):
        made.add("ack_alert", ack_alert)

    async def wrong(identity: Identity) -> None: ...

    with pytest.raises(ConfigurationError, match="identity, body"):
        made.add("wrong", wrong)  # type: ignore[arg-type]


async def test_a_handler_that_is_wrong_itself_is_no_fault_of_the_peer() -> None:
    made = Actions()

    async def confused(identity: Identity, body: Ack) -> None:
        Ack.model_validate({"alert_id": "mine"})

    made.add("confused", confused)
    with pytest.raises(ValidationError):
        await made.run(ANNA, "confused", {"alert_id": 1})
