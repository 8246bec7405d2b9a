"""One transaction of the aquarium app: what was heard becomes rows, alerts and events together.

It works on copies of what the catalogue holds; they take effect there on the commit. Everything
that changes devices, sensors or rule states runs inside `Storage.write`, one at a time.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from sqlalchemy import delete, insert

from cardume.alerts.rules import RuleState, evaluate
from cardume.apps.aquarium.alarms import Alarms
from cardume.apps.aquarium.catalogue import Catalogue
from cardume.apps.aquarium.lives import Lives
from cardume.apps.aquarium.measurements import Measurements, ReadingIds, Row
from cardume.storage.database import Write
from cardume.storage.tables import rule_states

LATE = 300.0
"""Seconds after which a reading is history: stored, but no reason for an alert."""


class Changes:
    """What one transaction is about to change: devices first, then readings, then rules."""

    def __init__(
        self,
        tx: Write,
        catalogue: Catalogue,
        ids: ReadingIds,
        now: float,
        alerts_room: str | None = None,
    ) -> None:
        self.alarms = Alarms(tx, now, alerts_room)
        self.lives = Lives(tx, catalogue.devices, self.alarms, now)
        self.measurements = Measurements(tx, catalogue, ids, now)
        self._tx = tx
        self._catalogue = catalogue

    async def store(self) -> None:
        """Write everything; the catalogue follows when the transaction is kept."""
        await self.lives.store()
        await self._judge(await self.measurements.store())

    async def _judge(self, rows: Iterable[Row]) -> None:
        states: dict[tuple[int, int], RuleState] = {}
        for row in rows:
            if row["received_at"] - row["measured_at"] > self._late(row["device_id"]):
                continue
            at = min(row["measured_at"], row["received_at"])
            for found in self._catalogue.rules_for(row["aquarium_id"], row["metric"]):
                rule, key = found.rule, (found.rule.id, row["sensor_id"])
                if not rule.applies_to(row["metric"], str(row["sensor_id"])):
                    continue
                before = states.get(key) or self._catalogue.rule_states.get(key) or RuleState()
                states[key], outcome = evaluate(rule, before, row["value"], at)
                if outcome is not None:
                    await self.alarms.threshold(found, row, outcome)
        await self._store_rule_states(states)

    def _late(self, device_id: str | None) -> float:
        device = self.lives.device(device_id) if device_id is not None else None
        return max(LATE, 2 * ((device and device.interval) or 0.0))

    async def _store_rule_states(self, states: dict[tuple[int, int], RuleState]) -> None:
        known = self._catalogue.rule_states
        for key, state in states.items():
            if not state.worth_storing(known.get(key) or RuleState()):
                continue
            where = (rule_states.c.rule_id == key[0], rule_states.c.sensor_id == key[1])
            await self._tx.execute(delete(rule_states).where(*where))
            values = {"rule_id": key[0], "sensor_id": key[1], "state": msgspec.to_builtins(state)}
            await self._tx.execute(insert(rule_states).values(**values))
        self._tx.on_commit(lambda: known.update(states))
