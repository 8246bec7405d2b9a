"""Commands to devices: asked for, answered, out of time. How they get there is in its own room."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from typing import Any, Final

from sqlalchemy import ColumnElement, Row

from cardume.apps.aquarium import commands_store as store
from cardume.apps.aquarium.catalogue import Catalogue
from cardume.apps.aquarium.commands_delivery import Deliveries, Key
from cardume.apps.aquarium.commands_model import (
    MAX_PAYLOAD,
    OPEN,
    QUEUED,
    CommandResult,
    CommandView,
    NewCommand,
    command_view,
    payload_of,
)
from cardume.auth.identity import Identity
from cardume.devices.liveness import DeviceStatus
from cardume.devices.registry import Device
from cardume.errors import Refused
from cardume.hub.hub import Hub
from cardume.hub.schedule import LeaseTimer
from cardume.mqtt.ports import Downlink
from cardume.storage.database import Storage, Write
from cardume.wire import codes

MAX_OPEN: Final = 32
"""Commands of one device that are neither answered nor expired."""

BATCH: Final = 100
"""Commands that expire in one transaction: what devices send waits for it."""

SWEEP_EVERY: Final = 30.0
"""Seconds between two looks for what waits though its device is there, while any is open."""

_SWEEP: Final = "sweep"


class Commands:
    """The commands of one database."""

    def __init__(
        self,
        hub: Hub,
        storage: Storage,
        catalogue: Catalogue,
        prefix: str,
        connected: Callable[[Device], bool],
    ) -> None:
        self.deliveries = Deliveries(hub, storage, prefix, self._arrived)
        self._hub = hub
        self._clock = hub.clock
        self._storage = storage
        self._catalogue = catalogue
        self._connected = connected
        self._deadlines = hub.leases(self._expired, "command deadlines")
        self._sweeps: LeaseTimer[str] = hub.leases(self._sweep, "waiting commands")

    def deliver_by(self, downlink: Downlink) -> None:
        """The way to devices; until it is told there is none, and commands wait."""
        self.deliveries.downlink = downlink

    async def start(self) -> None:
        """Take up what is open: what has run out meanwhile expires at once."""
        now = self._clock.now()
        async with self._storage.read() as connection:
            for row in await store.all_open(connection):
                self._hold(row, row.expires_at - now)

    async def stop(self) -> None:
        self._deadlines.stop()
        self._sweeps.stop()
        await self.deliveries.stop()

    # -- what people ask --------------------------------------------------------------------

    async def create(
        self, who: Identity, device_id: str, body: NewCommand
    ) -> tuple[CommandView, bool]:
        """Queue a command, and whether it is a new one: with a known `id` it is not.

        Raises:
            Refused: 404, 403, 409 for an `id` that means another command, 413 for too many bytes,
                429 for too many open commands.
        """
        await self._catalogue.devices.find(device_id)
        async with self._storage.write() as tx:
            device = self._catalogue.device(who, device_id)
            self._catalogue.check_writer(who, device.aquarium_id)
            known = None if body.id is None else await store.find(tx, device_id, body.id)
            if known is not None:
                if (known.command, known.params) != (body.command, body.params):
                    raise Refused(codes.CONFLICT, f"{body.id} is the id of another command")
                return command_view(known, device.aquarium_id), False
            if await store.count_open(tx, device_id) >= MAX_OPEN:
                why = f"{MAX_OPEN} commands are open: wait until one is answered or expires"
                raise Refused(codes.RATE_LIMITED, why)
            return await self._add(tx, who, device, body), True

    async def _add(self, tx: Write, who: Identity, device: Device, body: NewCommand) -> CommandView:
        now = self._clock.now()
        id, expires_at = body.id or secrets.token_hex(8), now + body.expires_in
        size = len(payload_of(id, body.command, body.params, expires_at))
        if size > MAX_PAYLOAD:
            why = f"a command holds at most {MAX_PAYLOAD} bytes, this one has {size}"
            raise Refused(codes.LIMIT_EXCEEDED, why)
        row, view = await store.add(
            tx,
            device_id=device.device_id,
            id=id,
            command=body.command,
            params=body.params,
            created_at=now,
            created_by=who.sub,
            expires_at=expires_at,
        )
        tx.on_commit(lambda: self._begin(row, body.expires_in))
        return view

    async def get(self, who: Identity, device_id: str, id: str) -> CommandView:
        """Raises `Refused`: 404."""
        device = await self._catalogue.find_device(who, device_id)
        async with self._storage.read() as connection:
            row = await store.find(connection, device_id, id)
        if row is None:
            raise Refused(codes.NOT_FOUND, f"no command {id}")
        return command_view(row, device.aquarium_id)

    async def page_of(
        self, device: Device, where: Sequence[ColumnElement[bool]], limit: int
    ) -> list[tuple[int, CommandView]]:
        """With their numbers, the newest first."""
        async with self._storage.read() as connection:
            rows = await store.page_of(connection, where, limit)
        return [(row.number, command_view(row, device.aquarium_id)) for row in rows]

    # -- what devices say -------------------------------------------------------------------

    async def answered(self, tx: Write, device_id: str, said: CommandResult) -> str | None:
        """Keep a device's result; a word to count by, if it changes nothing or was too long."""
        row = await store.find(tx, device_id, said.id)
        if row is None:
            return "unknown_command"
        if row.status not in OPEN:
            return "late_result" if row.result is None else "repeated_result"
        now = self._clock.now()
        more = {"result": said.result, "answer": said.answer}
        await store.move(tx, row, "acknowledge", said.result, now, **more)
        tx.on_commit(lambda: self._end(row.device_id, row.number))
        return "answer_too_big" if said.cut else None

    def waits_for(self, device_id: str) -> bool:
        """Whether a device has open commands."""
        return device_id in self.deliveries

    def heard(self, device_ids: Iterable[str], back: Collection[str]) -> None:
        """See `Deliveries.heard`."""
        self.deliveries.heard(device_ids, back)

    def forget(self, device_id: str) -> None:
        """A device was deleted, and its commands with it."""
        self.deliveries.forget(device_id)

    def reachable(self) -> None:
        """There is a way to devices again: send all that waits."""
        work = self.deliveries.send_waiting(lambda _device_id: True)
        self._hub.tasks.spawn(work, "waiting commands")

    def unreachable(self) -> None:
        """There is none any more: what was sent just now has perhaps not arrived."""
        self.deliveries.lost()

    async def _sweep(self, _keys: list[str]) -> None:
        """Send what waits for devices that are there, whatever was missed."""
        await self.deliveries.send_waiting(self._is_there)
        if self.deliveries:
            self._sweep_later()

    def _sweep_later(self) -> None:
        if _SWEEP not in self._sweeps:
            self._sweeps.touch_in(_SWEEP, SWEEP_EVERY)

    def _is_there(self, device_id: str) -> bool:
        device = self._catalogue.devices.get(device_id)
        return device is not None and (
            self._connected(device) or device.state.status is DeviceStatus.ONLINE
        )

    # -- steps ------------------------------------------------------------------------------

    async def _arrived(self, number: int) -> None:
        """The device's client has it, or a broker has taken it."""
        async with self._storage.write() as tx:
            for row in await store.by_number(tx, [number]):
                if row.status == QUEUED:
                    now = self._clock.now()
                    after = await store.move(tx, row, "send", "delivered", now, sent_at=now)
                    tx.on_commit(partial(self._moved, after))

    async def _expired(self, keys: list[Key]) -> None:
        for start in range(0, len(keys), BATCH):
            late = keys[start : start + BATCH]
            async with self._storage.write() as tx:
                now = self._clock.now()
                for row in await store.by_number(tx, [number for _, number in late]):
                    await store.move(tx, row, "expire", "timeout", now)
                tx.on_commit(partial(self._gone, late))

    def _moved(self, row: Row[Any]) -> None:
        self.deliveries.became(row.device_id, row.number, row.status)

    def _gone(self, keys: Iterable[Key]) -> None:
        for device_id, number in keys:
            self.deliveries.drop(device_id, number)

    def _begin(self, row: Row[Any], seconds: float) -> None:
        self._hold(row, seconds)
        self.deliveries.send(row.device_id)

    def _hold(self, row: Row[Any], seconds: float) -> None:
        self.deliveries.hold(row.device_id, row.number, row.status, seconds)
        self._deadlines.touch_in((row.device_id, row.number), seconds)
        self._sweep_later()

    def _end(self, device_id: str, number: int) -> None:
        self._deadlines.drop((device_id, number))
        self.deliveries.drop(device_id, number)
