"""A command to a device: which status follows which, how it is asked for, sent and shown.

It is done when the device says so, not when its MQTT client has it: `sent` is only the way there.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

import msgspec
from pydantic import AfterValidator, AliasChoices, Field
from sqlalchemy import Row
from typing_extensions import TypedDict

from cardume.documents.transitions import Transitions
from cardume.documents.values import as_json
from cardume.errors import Invalid
from cardume.transports.bodies import Body, Name, Number
from cardume.wire import json
from cardume.wire.messages import rfc3339, stamp

COMMAND: Final = Transitions(
    "command",
    {
        "send": {"queued": "sent"},
        "acknowledge": {"queued": "acknowledged", "sent": "acknowledged"},
        "expire": {"queued": "expired", "sent": "expired"},
    },
)
"""A result may be here before we know that the command has arrived."""

QUEUED: Final = "queued"
OPEN: Final = ("queued", "sent")

MAX_PAYLOAD: Final = 4096
"""Bytes of a command as it is sent, and of an answer that is kept: devices have little memory."""

EXPIRES_IN: Final = 300.0
LONGEST: Final = 7 * 86_400.0
"""Seconds: as long as the listener remembers a session."""

CommandStatus = Literal["queued", "sent", "acknowledged", "expired"]

_ID = r"[A-Za-z0-9_\-]{1,64}"
_is_id = re.compile(_ID, re.ASCII).fullmatch


class NewCommand(Body):
    """`command` may be called `name` as well; `expires_in` is in seconds.

    With an `id` of your own you may ask again without fear: it is the same command.
    """

    command: Annotated[Name, Field(max_length=64)] = Field(
        validation_alias=AliasChoices("command", "name")
    )
    params: Annotated[dict[str, Any], AfterValidator(as_json)] = Field(default_factory=dict)
    expires_in: Annotated[Number, Field(ge=1, le=LONGEST)] = EXPIRES_IN
    id: Annotated[str, Field(pattern=f"^{_ID}$")] | None = None


class CommandView(TypedDict):
    """A command; also the data of a `device_command` event.

    `result` is ok or failed once it is acknowledged, `answer` what the device said with it.
    """

    id: str
    device_id: str
    aquarium_id: int
    command: str
    params: dict[str, Any]
    status: str
    result: str | None
    answer: Any
    created_at: str
    created_by: str
    expires_at: str
    sent_at: str | None
    finished_at: str | None
    version: int


def command_view(row: Row[Any], aquarium_id: int) -> CommandView:
    return {
        "id": row.id,
        "device_id": row.device_id,
        "aquarium_id": aquarium_id,
        "command": row.command,
        "params": row.params,
        "status": row.status,
        "result": row.result,
        "answer": row.answer,
        "created_at": rfc3339(row.created_at),
        "created_by": row.created_by,
        "expires_at": rfc3339(row.expires_at),
        "sent_at": stamp(row.sent_at),
        "finished_at": stamp(row.finished_at),
        "version": row.version,
    }


def payload_of(id: str, command: str, params: dict[str, Any], expires_at: float) -> bytes:
    """What the device gets."""
    sent = {"id": id, "command": command, "params": params, "expires_at": rfc3339(expires_at)}
    return json.encode(sent)


class CommandResult(msgspec.Struct, frozen=True):
    """What a device says of a command."""

    id: str
    result: str
    answer: Any = None
    cut: bool = False
    """It said more than is kept."""


def decode_result(payload: bytes) -> CommandResult:
    """Read ``{"id": …, "result": "ok" or "failed", "answer": …}``; the answer is optional.

    Raises:
        Invalid: it is not that.
    """
    sent = json.parse(payload)
    if not isinstance(sent, dict):
        raise Invalid("not_an_object")
    id, result, answer = sent.get("id"), sent.get("result"), sent.get("answer")
    if not isinstance(id, str) or _is_id(id) is None:
        raise Invalid("bad_id")
    result = result.lower() if isinstance(result, str) else None
    if result not in ("ok", "failed"):
        raise Invalid("bad_result")
    if len(json.encode(answer)) > MAX_PAYLOAD:
        return CommandResult(id, result, cut=True)
    return CommandResult(id, result, answer)
