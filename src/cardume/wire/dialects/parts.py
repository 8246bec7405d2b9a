"""What the JSON dialects read alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias, TypeGuard

from cardume.errors import Invalid
from cardume.wire import codes, json
from cardume.wire.messages import Malformed

UNTYPED = "update"
"""The type of a publication that was published without one."""

MAX_TYPES = 64
"""Event names in one command, and characters of one."""

Id: TypeAlias = int | str | None
"""What a client calls a message of its own; it comes back on the reply."""


def open_message(text: str | bytes) -> tuple[dict[str, Any], Id] | Malformed:
    """A message of one JSON object, and its id."""
    try:
        message = json.parse(text)
    except Invalid as error:
        return Malformed(code=codes.BAD_REQUEST, message=str(error))
    if not isinstance(message, dict):
        return Malformed(code=codes.BAD_REQUEST, message="a message is a JSON object")
    id = message.get("id")
    if not _is_id(id):
        return Malformed(code=codes.BAD_REQUEST, message="id is an integer or a short string")
    return message, id


def data_of(message: Mapping[str, Any]) -> dict[str, Any]:
    """The member `data`, which may be left out.

    Raises:
        Invalid: it is no object.
    """
    data = message.get("data")
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise Invalid("data is an object")
    return data


def event_types(value: Any, member: str) -> tuple[str, ...]:
    """The event names in the list `value`, which is `member` of the message.

    Raises:
        Invalid: it is no such list, or too long.
    """
    if (
        not isinstance(value, list)
        or len(value) > MAX_TYPES
        or not all(isinstance(item, str) and 0 < len(item) <= MAX_TYPES for item in value)
    ):
        raise Invalid(f"{member} is a list of at most {MAX_TYPES} event names")
    return tuple(value)


def _is_id(value: Any) -> TypeGuard[Id]:
    if isinstance(value, bool):
        return False
    return isinstance(value, int | str | None) and len(str(value)) <= 128
