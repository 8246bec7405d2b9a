"""How a time is written."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache


def rfc3339(seconds: float) -> str:
    """RFC 3339 in UTC with milliseconds: ``2026-11-20T12:00:00.123Z``."""
    second, fraction = divmod(round(seconds * 1e6), 1_000_000)
    return f"{_whole_second(second)}.{fraction // 1000:03d}Z"


def stamp(seconds: float | None) -> str | None:
    """A moment as it is shown, where there was one."""
    return None if seconds is None else rfc3339(seconds)


@lru_cache(maxsize=64)
def _whole_second(second: int) -> str:
    # Every publication is dated, and most of them now: 1.2 µs become 0.5.
    return datetime.fromtimestamp(second, UTC).isoformat()[:19]
