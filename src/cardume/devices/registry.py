"""Every registered device, as ingest and status calls need it: in memory, the database behind.

Owned by one process. What changes is stored first and takes effect here on the commit.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Row, select

from cardume.auth.secrets import key_matches
from cardume.clock import Clock
from cardume.devices.liveness import DeviceState, Policy, deadline_of
from cardume.devices.names import is_device_id
from cardume.storage.database import Storage
from cardume.storage.tables import devices

STATE_COLUMNS = DeviceState.__struct_fields__

UNKNOWN_FOR = 10.0
"""Seconds until an unknown device is looked up again: it may be registered while we run."""

MAX_UNKNOWN = 10_000

CLOCK_STEP = 5.0
"""Seconds by which wall and monotonic time may drift apart before we say the clock was set."""

logger = logging.getLogger("cardume.devices")


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """A registered device."""

    device_id: str
    aquarium_id: int
    name: str | None
    key_hash: str
    expected_interval: float | None
    report: dict[str, Any] | None
    created_at: float
    state: DeviceState
    stored_seen: float | None = None
    """`last_seen_at` as the database has it; the one in `state` may be newer."""

    @classmethod
    def from_row(cls, row: Row[Any], now: float) -> Device:
        """The device as stored. What it holds from the future was written by a wrong clock."""
        columns = dict(row._mapping)
        state = msgspec.convert(
            {name: columns.pop(name) for name in STATE_COLUMNS}, DeviceState, strict=False
        )
        return cls(**columns, state=_not_after(state, now), stored_seen=state.last_seen_at)

    @property
    def interval(self) -> float | None:
        """Seconds between its messages: its owner's word, else its own."""
        promised = (self.report or {}).get("interval")
        return self.expected_interval or (promised if isinstance(promised, int | float) else None)


class Registry:
    """Devices by id; `find` also asks the database, for those that a command has added."""

    def __init__(
        self, storage: Storage, clock: Clock, *, offline_after: float, lwt_hold: float
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._offline_after = offline_after
        self._lwt_hold = lwt_hold
        self._devices: dict[str, Device] = {}
        self._unknown: dict[str, float] = {}
        self._removals = 0
        self._newest = 0.0
        self._offset = clock.now() - clock.monotonic()

    def __len__(self) -> int:
        return len(self._devices)

    async def load(self) -> None:
        """Read all devices. A status is never rewritten at a start (row 23)."""
        async with self._storage.read() as connection:
            rows = await connection.execute(select(devices))
            now = self._clock.now()
            self._devices = {row.device_id: Device.from_row(row, now) for row in rows}
        self._newest = max((device.created_at for device in self.all()), default=0.0)

    async def discover(self) -> None:
        """Learn of devices that a command has registered while we run."""
        for row in await self._read(devices.c.created_at >= self._newest):
            self._newest = max(self._newest, row.created_at)
            if row.device_id not in self._devices:
                self.put(Device.from_row(row, self._clock.now()))

    def get(self, device_id: str) -> Device | None:
        return self._devices.get(device_id)

    def all(self) -> list[Device]:
        return list(self._devices.values())

    def of(self, aquarium_id: int) -> list[Device]:
        return [device for device in self.all() if device.aquarium_id == aquarium_id]

    async def find(self, device_id: str) -> Device | None:
        """The device, from the database if it is not known here yet."""
        known = self._devices.get(device_id)
        now = self._clock.monotonic()
        if (
            known is not None
            or self._unknown.get(device_id, 0.0) > now
            or not is_device_id(device_id)
        ):
            return known
        rows = await self._read(devices.c.device_id == device_id)
        if device_id in self._devices:  # somebody else looked, too, and it may have moved on
            return self._devices[device_id]
        if not rows:
            if len(self._unknown) >= MAX_UNKNOWN:
                self._unknown.clear()
            self._unknown[device_id] = now + UNKNOWN_FOR
            return None
        self.put(Device.from_row(rows[0], self._clock.now()))
        return self._devices[device_id]

    async def _read(self, which: ColumnElement[bool]) -> Sequence[Row[Any]]:
        """Rows as they are: what is deleted while we read must not be put back."""
        while True:
            removals = self._removals
            async with self._storage.read() as connection:
                rows = (await connection.execute(select(devices).where(which))).all()
            if removals == self._removals:
                return rows

    async def authenticate(self, device_id: str, key: str) -> Device | None:
        """The device, if `key` is its own."""
        device = await self.find(device_id)
        if device is None or not key_matches(key, device.key_hash):
            return None
        return device

    def put(self, device: Device) -> None:
        self._devices[device.device_id] = device
        self._unknown.pop(device.device_id, None)

    def remove(self, device_id: str) -> None:
        self._devices.pop(device_id, None)
        self._removals += 1

    def policy(self, device: Device) -> Policy:
        """How patient to be with `device`."""
        return Policy(
            offline_after=self._offline_after,
            lwt_hold=self._lwt_hold,
            expected_interval=device.interval,
        )

    def deadline(self, device: Device, link_up_since: float) -> float | None:
        """When silence will say something about `device`, in wall seconds."""
        return deadline_of(device.state, self.policy(device), link_up_since=link_up_since)

    def follow_clock(self) -> None:
        """Where our wall clock was set, move what we dated by it along.

        An NTP step must neither expire nor revive anybody: a machine that starts in 1970 and
        then hears of the time would take every device for fifty years silent.
        """
        now = self._clock.now()
        offset = now - self._clock.monotonic()
        step, self._offset = offset - self._offset, offset
        if abs(step) <= CLOCK_STEP:
            return
        logger.warning("the wall clock was set by %+.0f s; deadlines move along", step)
        for device in self.all():
            state = _not_after(_shifted(device.state, step), now)
            self.put(msgspec.structs.replace(device, state=state))


def _shifted(state: DeviceState, seconds: float) -> DeviceState:
    moved = {
        name: value + seconds
        for name in ("last_seen_at", "hold_until")
        if (value := getattr(state, name)) is not None
    }
    return msgspec.structs.replace(state, **moved)


def _not_after(state: DeviceState, now: float) -> DeviceState:
    seen = state.last_seen_at
    return msgspec.structs.replace(
        state,
        last_seen_at=None if seen is None else min(seen, now),
        status_since=min(state.status_since, now),
    )
