"""What a device and a metric may be called, wherever a name comes in. Pure."""

from __future__ import annotations

import re
from typing import Final

DEVICE_ID: Final = r"[A-Za-z0-9_\-]{1,64}"
METRIC: Final = r"[a-z0-9_.\-]{1,64}"

is_device_id = re.compile(DEVICE_ID, re.ASCII).fullmatch
is_metric = re.compile(METRIC, re.ASCII).fullmatch


def metric_name(name: str) -> str | None:
    """A metric as it is called here, whatever case and blanks a device writes; None: it is none."""
    if is_metric(name) is not None:
        return name
    name = name.strip().lower().replace(" ", "_")
    return name if is_metric(name) is not None else None
