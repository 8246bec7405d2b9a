"""What bodies and views of this app have in common."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from cardume.documents.values import as_json
from cardume.transports.bodies import Name, Number
from cardume.wire import json

MAX_VALUE = 16 * 1024
"""Bytes of a value as JSON: an event carries it to everybody who listens."""

WEEK = 7 * 86_400.0


def _small_json(value: Any) -> Any:
    checked = as_json(value)
    if len(json.encode(checked)) > MAX_VALUE:
        raise ValueError(f"at most {MAX_VALUE} bytes of JSON")
    return checked


JsonValue = Annotated[Any, AfterValidator(_small_json)]
"""Anything that is JSON, of at most `MAX_VALUE` bytes."""

JsonObject = Annotated[dict[str, Any], AfterValidator(_small_json)]
"""An object, as `JsonValue`."""

Label = Annotated[Name, Field(max_length=64)]
"""The name of a type of task, or of a capability."""

Seconds = Annotated[Number, Field(gt=0, le=WEEK)]
"""How long to wait for somebody."""
