"""What request bodies have in common."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


class Body(BaseModel):
    """A request body. A member that it does not have is an error and no silent wish."""

    model_config = ConfigDict(extra="forbid")


def _without_defaults(schema: dict[str, Any]) -> None:
    for member in schema.get("properties", {}).values():
        member.pop("default", None)


class Patch(Body):
    """A body of which every member may be left out, and is then not changed.

    Its schema names no defaults: a client that filled them in would change what it did not mean.
    Read it by ``model_dump(exclude_unset=True)``.
    """

    model_config = ConfigDict(json_schema_extra=_without_defaults)


def printable(text: str) -> str:
    """The text itself, for a field that is one line."""
    if not text.isprintable():
        raise ValueError("printable characters only")
    return text


Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(printable)]
"""What people call a thing."""

Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
"""A finite number, and neither ``true`` nor ``"8"``."""
