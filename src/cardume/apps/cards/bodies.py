"""What people may ask of a board and its cards, as the bodies of HTTP calls and of actions."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, AliasChoices, Field, StringConstraints

from cardume.transports.bodies import Body, printable

MAX_DESCRIPTION = 16 * 1024
"""Bytes of a description in UTF-8."""

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def _is_text(text: str) -> str:
    if _CONTROL.search(text):
        raise ValueError("no control characters but tabs and line ends")
    if len(text.encode()) > MAX_DESCRIPTION:
        raise ValueError(f"at most {MAX_DESCRIPTION} bytes")
    return text


def _merge(items: list[str]) -> list[str]:
    return list(dict.fromkeys(items))


def _differ(items: list[str]) -> list[str]:
    if len(set(items)) < len(items):
        raise ValueError("each one once")
    return items


ColumnId = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]
CardId = Annotated[str, StringConstraints(max_length=64)]
Title = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=300),
    AfterValidator(printable),
]
Description = Annotated[str, AfterValidator(_is_text)]
Label = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=64),
    AfterValidator(printable),
]
Labels = Annotated[list[Label], Field(max_length=32), AfterValidator(_merge)]
Columns = Annotated[list[ColumnId], Field(min_length=1, max_length=50), AfterValidator(_differ)]
Version = Annotated[int, Field(strict=True, ge=1)]
"""The version that the caller has seen."""


class BoardBody(Body):
    """The columns from left to right. With a `version`, only if it is the current one."""

    columns: Columns
    version: Version | None = None


class NewCard(Body):
    """A card at the end of its column; without `column_id` that is the first one."""

    title: Title
    column_id: ColumnId | None = None
    description: Description = ""
    labels: Labels = []


class CardPatch(Body):
    """Members that are sent are changed; another `column_id` puts the card at that one's end.

    What a member is that was not sent is nobody's business: factories keep it out of the schema.
    """

    version: Version
    title: Title = Field(default_factory=str)
    description: Description = Field(default_factory=str)
    labels: Labels = Field(default_factory=list)
    column_id: ColumnId = Field(default_factory=str)


class CardMove(Body):
    """Right behind `after_id`; without it, at the top of the column."""

    version: Version
    column_id: ColumnId
    after_id: CardId | None = None


class CardDeletion(Body):
    """What an address says as `?version=`."""

    version: Version


_id = Field(validation_alias=AliasChoices("card_id", "id"), max_length=64)


class UpdateAction(CardPatch):
    """As an action, which has no path to name the card; so the next two."""

    card_id: str = _id


class MoveAction(CardMove):
    card_id: str = _id


class DeleteAction(CardDeletion):
    card_id: str = _id
