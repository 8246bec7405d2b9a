"""Which agents have to speak again, and until when. Memory decides; the database remembers.

A deadline is monotonic and lives here. The database holds `heartbeat_at`: the first heartbeat at
once, for it says that there is a lease at all, later ones in batches and not each of them, so that
ten thousand agents do not keep the one writer busy.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import msgspec
from sqlalchemy import Row, bindparam, select, update

from cardume.apps.agents.statuses import LEASED
from cardume.hub.hub import Hub
from cardume.storage.database import Storage
from cardume.storage.tables import agents

STORE_EVERY = 5.0
"""Seconds between two writes of heartbeats."""

STORE_AFTER = 1 / 3
"""The part of a lease after which a heartbeat is worth writing again."""

BATCH = 500
"""Agents in one transaction, so that others have their turn between."""


class Held(msgspec.Struct):
    """What is known in memory of an agent."""

    created_by: str
    status: str
    seconds: float
    heartbeat_at: float | None
    """The last one, in wall seconds."""
    deadline: float | None
    """Monotonic; None while no lease runs."""
    written: float
    """Monotonic: when the database last heard of a heartbeat."""


class AgentLeases:
    """The leases of all agents. `on_lapse` gets those who did not speak in time."""

    def __init__(
        self,
        hub: Hub,
        storage: Storage,
        default: float,
        on_lapse: Callable[[list[str]], Awaitable[None]],
    ) -> None:
        self._clock = hub.clock
        self._storage = storage
        self._default = default
        self._timer = hub.leases(on_lapse, "agent leases")
        self._held: dict[str, Held] = {}
        self._lapsing: set[str] = set()
        self._unwritten: set[str] = set()

    async def load(self) -> None:
        """Begin to hear. Nobody could renew while we were away: leases are whole from now."""
        self._held.clear()
        async with self._storage.read() as connection:
            for row in await connection.execute(select(agents)):
                self.follow(row)

    def stop(self) -> None:
        self._timer.stop()

    def get(self, agent_id: str) -> Held | None:
        return self._held.get(agent_id)

    def seconds(self, row: Row[Any]) -> float:
        """How long an agent's lease is."""
        given: float | None = row.lease_seconds
        return self._default if given is None else given

    # -- speaking ---------------------------------------------------------------------------

    def renew(self, agent_id: str) -> bool:
        """A sign of life. False: it changes more than a deadline, and needs a transaction."""
        held = self._held.get(agent_id)
        if held is None or held.deadline is None or agent_id in self._lapsing:
            return False
        now = self._clock.monotonic()
        held.heartbeat_at = self._clock.now()
        held.deadline = now + held.seconds
        self._timer.touch(agent_id, held.deadline)
        if now - held.written >= held.seconds * STORE_AFTER:
            self._unwritten.add(agent_id)
        return True

    def follow(self, row: Row[Any], *, heard: bool = False) -> None:
        """Take note of an agent as it is stored now; `heard`: it just sent a heartbeat."""
        now, before = self._clock.monotonic(), self._held.get(row.agent_id)
        self._held[row.agent_id] = held = Held(
            row.created_by,
            row.status,
            self.seconds(row),
            self.heartbeat_at(row),
            self._deadline(row, heard=heard),
            now if heard or before is None else before.written,
        )
        if held.deadline is None:
            self._timer.drop(row.agent_id)
        else:
            self._timer.touch(row.agent_id, held.deadline)

    def forget(self, agent_id: str) -> None:
        """It was deleted."""
        self._held.pop(agent_id, None)
        self._timer.drop(agent_id)

    # -- what is shown ----------------------------------------------------------------------

    def heartbeat_at(self, row: Row[Any]) -> float | None:
        """When an agent last spoke: the database may know an older time than we."""
        held = self._held.get(row.agent_id)
        known = [row.heartbeat_at, held.heartbeat_at if held is not None else None]
        return max((at for at in known if at is not None), default=None)

    def expires_at(self, row: Row[Any], *, heard: bool = False) -> float | None:
        """When the lease of an agent that is stored like this ends, in wall seconds."""
        deadline = self._deadline(row, heard=heard)
        if deadline is None:
            return None
        return self._clock.now() + (deadline - self._clock.monotonic())

    def _deadline(self, row: Row[Any], *, heard: bool) -> float | None:
        if row.status not in LEASED or (row.heartbeat_at is None and not heard):
            return None
        held, seconds = self._held.get(row.agent_id), self.seconds(row)
        if heard or held is None or held.deadline is None or held.seconds != seconds:
            return self._clock.monotonic() + seconds
        return held.deadline

    # -- silence ----------------------------------------------------------------------------

    def take_due(self, agent_ids: Iterable[str]) -> list[str]:
        """Those whose deadline has passed. Until `let_go` they renew by a transaction only.

        Called inside the transaction that makes them inactive: who spoke before it stays, who
        speaks during it waits for its end and comes back.
        """
        now = self._clock.monotonic()
        due = [id for id in agent_ids if self._is_due(id, now)]
        self._lapsing.update(due)
        return due

    def let_go(self, agent_ids: Iterable[str]) -> None:
        self._lapsing.difference_update(agent_ids)

    def _is_due(self, agent_id: str, now: float) -> bool:
        held = self._held.get(agent_id)
        return held is not None and held.deadline is not None and held.deadline <= now

    # -- remembering ------------------------------------------------------------------------

    async def store(self) -> None:
        """Write the heartbeats that the database has not heard of for long enough."""
        waiting = list(self._unwritten)
        for start in range(0, len(waiting), BATCH):
            await self._store(waiting[start : start + BATCH])

    async def _store(self, agent_ids: list[str]) -> None:
        async with self._storage.write() as tx:
            known = {id: held for id in agent_ids if (held := self._held.get(id)) is not None}
            rows = [{"id": id, "at": held.heartbeat_at} for id, held in known.items()]
            if rows:
                await tx.execute(_HEARD, rows)
            tx.on_commit(lambda: self._stored(agent_ids))

    def _stored(self, agent_ids: list[str]) -> None:
        self._unwritten.difference_update(agent_ids)
        for agent_id in agent_ids:
            held = self._held.get(agent_id)
            if held is not None:
                held.written = self._clock.monotonic()


_HEARD = (
    update(agents).where(agents.c.agent_id == bindparam("id")).values(heartbeat_at=bindparam("at"))
)
