"""What FastAPI found wrong in a request, in our words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi.exceptions import RequestValidationError

from cardume.hub.faults import Fault, collect, path_in


def faults_of(error: RequestValidationError) -> list[Fault]:
    """The fields that are missing or wrong, each once."""

    def path_of(fault: Mapping[str, Any]) -> str:
        where, *steps = fault["loc"]
        if where == "body":
            return path_in(error.body, fault, steps)
        return str(steps[0] if steps else where)

    return collect(error.errors(), path_of)
