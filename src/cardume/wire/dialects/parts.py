"""What the JSON dialects read alike."""

from __future__ import annotations

from typing import Any, TypeGuard

from cardume.errors import Invalid

UNTYPED = "update"
"""The type of a publication that was published without one."""

MAX_TYPES = 64
"""Event names in one command, and characters of one."""

NO_ID = "id is an integer or a short string"


def is_id(value: Any) -> TypeGuard[int | str | None]:
    """Whether `value` may come back on a reply."""
    if isinstance(value, bool):
        return False
    return isinstance(value, int | str | None) and len(str(value)) <= 128


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
