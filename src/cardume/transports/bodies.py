"""What request bodies have in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


class Body(BaseModel):
    """A request body. A member that it does not have is an error and no silent wish."""

    model_config = ConfigDict(extra="forbid")


def printable(text: str) -> str:
    """The text itself, for a field that is one line."""
    if not text.isprintable():
        raise ValueError("printable characters only")
    return text


Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(printable)]
"""What people call a thing."""

Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
"""A finite number, and neither ``true`` nor ``"8"``."""
