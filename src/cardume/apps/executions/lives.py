"""Runners that promised to speak again. One that falls silent past its lease is lost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from cardume.apps.executions.store import may_write
from cardume.apps.executions.views import channel_of
from cardume.auth.identity import Identity
from cardume.hub.hub import Hub

LINGER = 60.0
"""Seconds after the end of an execution for which a viewer that was cut off may still resume. After
that, what was said is forgotten: the log is in the database, and a snapshot has its end."""


class Runner(msgspec.Struct, frozen=True, gc=False):
    """Whose word counts about an execution: its creator's, and that of whoever holds the key."""

    created_by: str
    key_hash: str


class _Life(msgspec.Struct, gc=False):
    runner: Runner
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
        self._ended = hub.leases(self._forget, "ended executions")
        self._hub = hub

    def __len__(self) -> int:
        return len(self._lives)

    def begin(self, execution_id: str, runner: Runner) -> None:
        """Its runner has a whole lease from now."""
        now = self._clock.monotonic()
        self._lives[execution_id] = _Life(runner, now)
        self._timer.touch(execution_id, now + self._lease)

    def hear(self, who: Identity, execution_id: str) -> None:
        """`who` spoke about an execution: one that may write about it renews the lease."""
        life = self._lives.get(execution_id)
        if life is not None and may_write(who, life.runner.created_by):
            self.begin(execution_id, life.runner)

    def runner(self, execution_id: str) -> Runner | None:
        """The runner of an execution that is running."""
        life = self._lives.get(execution_id)
        return None if life is None else life.runner

    def is_silent(self, execution_id: str) -> bool:
        """Whether its runner was not heard for a whole lease."""
        life = self._lives.get(execution_id)
        return life is not None and self._clock.monotonic() - life.heard >= self._lease

    def end(self, execution_id: str) -> None:
        """It has ended, and may have been deleted."""
        if self._lives.pop(execution_id, None) is not None:
            self._timer.drop(execution_id)
        self._ended.touch_in(execution_id, LINGER)

    def stop(self) -> None:
        for execution_id in self._lives:
            self._timer.drop(execution_id)
        self._lives.clear()
        self._timer.stop()
        self._ended.stop()

    async def _forget(self, execution_ids: list[str]) -> None:
        for execution_id in execution_ids:
            await self._hub.remove_history(channel_of(execution_id))
