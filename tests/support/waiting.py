"""Waiting for what will happen, with an end to it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

PATIENCE = 15.0
"""Seconds: a busy machine is no fault of ours."""
START = 45.0
"""Seconds for a process to come up: two of nothing but computing, shared with all that runs."""


async def until(condition: Callable[[], object], what: str = "") -> None:
    """Return when `condition` holds; a test that waits in vain says for what."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"in vain: {what or condition}"
        await asyncio.sleep(0.002)


async def eventually(condition: Callable[[], Awaitable[object]], what: str = "") -> None:
    """As `until`, for a condition that has to be asked for."""
    deadline = time.monotonic() + PATIENCE
    while not await condition():
        assert time.monotonic() < deadline, f"in vain: {what or condition}"
        await asyncio.sleep(0.02)


def wait_for(condition: Callable[[], object], what: str = "", within: float = PATIENCE) -> None:
    """As `until`, where no loop runs."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"in vain: {what or condition}"
        time.sleep(0.005)
