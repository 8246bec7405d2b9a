"""Lists paged by cursor: `{"items": […], "next": "…"}`, `next` null on the last page."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Annotated, Generic, TypeVar

from fastapi import Query
from typing_extensions import TypedDict

from cardume.errors import Invalid
from cardume.wire import json

T = TypeVar("T")

Limit = Annotated[int, Query(ge=1, le=1000, description="how many items at most")]
Cursor = Annotated[str | None, Query(max_length=512, description="`next` of the page before")]


class Page(TypedDict, Generic[T]):
    """One page of a list."""

    items: list[T]
    next: str | None


def page(items: Sequence[T], limit: int, key: Callable[[T], object]) -> Page[T]:
    """A page out of up to `limit` + 1 items: the one too many says that there are more."""
    shown = list(items[:limit])
    more = len(items) > limit
    return {"items": shown, "next": _cursor(key(shown[-1])) if more else None}


def position(cursor: str | None, kind: type[T]) -> T | None:
    """Where the page begins: the key of the last item of the page before.

    Raises:
        Invalid: we did not write this cursor.
    """
    if cursor is None:
        return None
    try:
        value = json.parse(base64.urlsafe_b64decode(cursor.encode("ascii", "replace")))
    except (Invalid, binascii.Error):
        raise foreign_cursor() from None
    if not isinstance(value, kind) or isinstance(value, bool):
        raise foreign_cursor()
    return value


def foreign_cursor() -> Invalid:
    """What is said of a cursor that we did not write, or wrote for another list."""
    return Invalid("cursor: use `next` of the page before")


def _cursor(key: object) -> str:
    return base64.urlsafe_b64encode(json.encode(key)).decode()
