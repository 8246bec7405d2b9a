"""Runners that promised to speak again. One that falls silent past its lease is lost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from cardume.apps.executions.store import may_write
from cardume.auth.identity import Identity
from cardume.hub.hub import Hub


class _Life(msgspec.Struct, gc=False):
    created_by: str
    heard: float


class Lives:
    """The running executions. `on_lost` gets the ids of those whose runner may be lost.

    A runner is heard when its call arrives and not when it is kept: while the disk is full or
    the database locked it is us who are blind, and nobody is lost for that.
    """

    def __init__(
        self, hub: Hub, lease: float, on_lost: Callable[[list[str]], Awaitable[None]]
    ) -> None:
        self._clock = hub.clock
        self._lease = lease
        self._lives: dict[str, _Life] = {}
        self._timer = hub.leases(on_lost, "runner leases")

    def __len__(self) -> int:
        return len(self._lives)

    def begin(self, execution_id: str, created_by: str) -> None:
        """Its runner has a whole lease from now."""
        now = self._clock.monotonic()
        self._lives[execution_id] = _Life(created_by, now)
        self._timer.touch(execution_id, now + self._lease)

    def hear(self, who: Identity, execution_id: str) -> None:
        """`who` spoke about an execution: one that may write about it renews the lease."""
        life = self._lives.get(execution_id)
        if life is not None and may_write(who, life.created_by):
            self.begin(execution_id, life.created_by)

    def is_silent(self, execution_id: str) -> bool:
        """Whether its runner was not heard for a whole lease."""
        life = self._lives.get(execution_id)
        return life is not None and self._clock.monotonic() - life.heard >= self._lease

    def end(self, execution_id: str) -> None:
        if self._lives.pop(execution_id, None) is not None:
            self._timer.drop(execution_id)

    def stop(self) -> None:
        for execution_id in list(self._lives):
            self.end(execution_id)
        self._timer.stop()
