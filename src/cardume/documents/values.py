"""JSON that people hand in, and that a document keeps as it is. Pure."""

from __future__ import annotations

import json as stdlib
from typing import Any

from cardume.wire import json


def as_json(value: Any) -> Any:
    """What passes the gate for bytes from outside, which FastAPI's decoder is not.

    Raises:
        ValueError: it does not.
    """
    try:
        return json.parse(stdlib.dumps(value, allow_nan=False))
    except RecursionError:
        raise ValueError(f"nested deeper than {json.MAX_DEPTH}") from None
