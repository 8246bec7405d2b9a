"""Snapshots from storage: who comes while one is read shares the next one with all who do.

After a restart nobody can resume and everybody comes at once. A snapshot has to hold all that was
said before its reader looked for the top of the stream, so one that was begun earlier is no good;
but the one after it is the same for all who wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException

from cardume.errors import Invalid, Unavailable
from cardume.hub.guards import refusal
from cardume.hub.namespaces import Snapshot
from cardume.hub.schedule import Tasks
from cardume.wire import json


class Snapshots:
    """The snapshots that are being read, by channel."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self._reading: dict[str, asyncio.Future[None]] = {}
        self._next: dict[str, asyncio.Future[bytes]] = {}

    async def read(self, channel: str, source: Snapshot, parameters: Mapping[str, Any]) -> bytes:
        """What `source` tells of `channel`, encoded; read from now on, or later.

        Raises:
            Refused, TypeError: as `told_by`.
            Unavailable: the hub stopped meanwhile.
        """
        before = self._reading.get(channel)
        if before is not None and channel not in self._next:
            self._read_after(before, channel, source, parameters)
        if channel in self._next:
            # Whoever leaves does not take it from the others.
            return await asyncio.shield(self._next[channel])
        return await self._read(channel, source, parameters)

    async def _read(self, channel: str, source: Snapshot, parameters: Mapping[str, Any]) -> bytes:
        over = self._reading[channel] = asyncio.get_running_loop().create_future()
        try:
            return await told_by(source, parameters)
        finally:
            del self._reading[channel]
            over.set_result(None)

    def _read_after(
        self,
        before: asyncio.Future[None],
        channel: str,
        source: Snapshot,
        parameters: Mapping[str, Any],
    ) -> None:
        shared = self._next[channel] = asyncio.get_running_loop().create_future()

        async def follow() -> None:
            await asyncio.wait([before])
            # Whoever comes from here on is too late for this one.
            del self._next[channel]
            try:
                _tell(shared, await self._read(channel, source, parameters))
            except Exception as error:
                _tell(shared, error)

        def ended(_task: object) -> None:
            if self._next.get(channel) is shared:
                del self._next[channel]
            _tell(shared, Unavailable("the hub has stopped"))

        self._tasks.spawn(follow(), "read snapshot").add_done_callback(ended)


def _tell(shared: asyncio.Future[bytes], outcome: bytes | Exception) -> None:
    """The first outcome is the one that counts."""
    if shared.done():
        return
    if isinstance(outcome, bytes):
        shared.set_result(outcome)
    else:
        shared.set_exception(outcome)
        shared.exception()  # those who waited may all have left


async def told_by(source: Snapshot, parameters: Mapping[str, Any]) -> bytes:
    """The state that a channel's `snapshot` function tells, encoded.

    Raises:
        Refused: what it says as an HTTP error.
        TypeError: what it told has no JSON form, which is no fault of whoever asked.
    """
    try:
        state = await source(**parameters)
    except HTTPException as error:
        raise refusal(error.status_code, error.detail) from error
    try:
        return json.encode(state)
    except Invalid as error:
        raise TypeError("a snapshot without a JSON form") from error
