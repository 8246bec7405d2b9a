"""Open commands on their way: who carries which, and when it is tried again.

A session of the device may keep a command for it, and then we wait for that. Where none does it
waits here, until the device is heard. So a command may come twice, and never get lost for good.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable
from typing import Any, Final

import msgspec
from sqlalchemy import Row

from cardume.apps.aquarium.commands_model import QUEUED, payload_of
from cardume.apps.aquarium.commands_store import by_number
from cardume.errors import Invalid, Unavailable
from cardume.hub.hub import Hub
from cardume.mqtt.ports import Delivery, Downlink
from cardume.storage.database import Storage

RETRY_AFTER: Final = 5.0
"""Seconds after which what reached nobody is tried again when its device says something, and which
a device that is back has to take what a session of it held."""

AT_ONCE: Final = 1.0
"""Seconds within which a device that is back again and again gets nothing twice."""

DOUBT: Final = 30.0
"""Seconds until a link that answers nothing is given up: what it took meanwhile is in doubt."""

STOP_WITHIN: Final = 5.0
"""Seconds that the database may take for what is under way when we stop."""

ARRIVED: Final = (Delivery.SENT, Delivery.ACKNOWLEDGED)

logger = logging.getLogger("cardume.aquarium")

Key = tuple[str, int]
"""Device and number of a command."""


class Nowhere:
    """Where no way leads to devices: `cardume.mqtt.ports.Downlink` that finds nobody."""

    async def publish_to(self, user: str, topic: str, payload: bytes, **_how: Any) -> Delivery:
        return Delivery.NO_SESSION


class Held(msgspec.Struct):
    """An open command. Times are monotonic seconds."""

    number: int
    status: str
    deadline: float
    tried: float = float("-inf")
    doubtful: bool = False
    """Sent just before the way to devices was lost: perhaps it never arrived."""
    carrying: asyncio.Task[None] | None = None
    under_way: bool = False
    """Whether it is with the downlink, which may take as long as it is open."""

    def let_go(self) -> None:
        """Wait no more for what the downlink says. What is being written is written."""
        if self.carrying is not None and self.under_way:
            self.carrying.cancel()
            self.carrying, self.under_way = None, False

    @property
    def waits(self) -> bool:
        """Whether it may have reached nobody, and nobody is on the way with it."""
        return (self.status == QUEUED or self.doubtful) and self.carrying is None


class Deliveries:
    """Told of commands and of their devices' life; `arrived` is told what a device has."""

    def __init__(
        self, hub: Hub, storage: Storage, prefix: str, arrived: Callable[[int], Awaitable[None]]
    ) -> None:
        self.downlink: Downlink = Nowhere()
        self._tasks = hub.tasks
        self._clock = hub.clock
        self._storage = storage
        self._prefix = prefix
        self._arrived = arrived
        self._open: dict[str, dict[int, Held]] = {}
        self._busy: set[asyncio.Task[None]] = set()
        self._patience = hub.leases(self._out_of_patience, "commands under way")

    def __bool__(self) -> bool:
        """Whether any command is open."""
        return bool(self._open)

    def __contains__(self, device_id: str) -> bool:
        """Whether a device has open commands."""
        return device_id in self._open

    def hold(self, device_id: str, number: int, status: str, seconds: float) -> None:
        """Take note of an open command, and of how long it stays one."""
        deadline = self._clock.monotonic() + seconds
        self._open.setdefault(device_id, {})[number] = Held(number, status, deadline)

    def became(self, device_id: str, number: int, status: str) -> None:
        held = self._open.get(device_id, {}).get(number)
        if held is not None:
            held.status = status

    def drop(self, device_id: str, number: int) -> None:
        """A command is not open any more."""
        held = self._open.get(device_id, {}).pop(number, None)
        if held is None:
            return
        self._patience.drop((device_id, number))
        held.let_go()
        if not self._open[device_id]:
            del self._open[device_id]

    def forget(self, device_id: str) -> None:
        """A device is no more."""
        for number in list(self._open.get(device_id, ())):
            self.drop(device_id, number)

    async def stop(self) -> None:
        """Send no more, once what is being read or written is."""
        self._patience.stop()
        for device_id in list(self._open):
            self.forget(device_id)
        if self._busy:
            await asyncio.wait(self._busy, timeout=STOP_WITHIN)

    # -- when it is sent --------------------------------------------------------------------

    def send(self, device_id: str) -> None:
        """Send what waits for a device."""
        self._spawn(self._send(device_id, again=False))

    def heard(self, device_ids: Iterable[str], back: Collection[str]) -> None:
        """Devices said something live; those in `back` were away, and may have lost anything."""
        for device_id in device_ids:
            if device_id in self._open:
                self._heard(device_id, back=device_id in back)

    def _heard(self, device_id: str, *, back: bool) -> None:
        now = self._clock.monotonic()
        again = False
        for held in self._open[device_id].values():
            ago = now - held.tried
            if back and (held.carrying is not None or ago < AT_ONCE):
                key = (device_id, held.number)
                if key not in self._patience:
                    self._patience.touch_in(key, RETRY_AFTER)
            elif back or (held.waits and ago >= RETRY_AFTER):
                held.tried, again = now, True
        if again:
            self._spawn(self._send(device_id, again=back))

    def lost(self) -> None:
        """The way to devices is lost."""
        since = self._clock.monotonic() - DOUBT
        for commands in self._open.values():
            for held in commands.values():
                held.doubtful |= held.tried >= since

    async def send_waiting(self, may_hear: Callable[[str], bool]) -> None:
        """Send what waits for devices of which that is true."""
        for device_id, held in list(self._open.items()):
            if any(command.waits for command in held.values()) and may_hear(device_id):
                await self._send(device_id, again=False)

    async def _out_of_patience(self, keys: list[Key]) -> None:
        """Their devices are back, and did not take what some session holds for them."""
        for device_id, number in keys:
            held = self._open.get(device_id, {}).get(number)
            if held is not None:
                held.let_go()
                await self._send(device_id, again=True, only=number)

    async def _send(self, device_id: str, *, again: bool, only: int | None = None) -> None:
        """Send what waits; `again`, also what had arrived and was not answered."""
        wanted = [
            held.number
            for held in self._open.get(device_id, {}).values()
            if held.carrying is None and (again or held.waits) and only in (None, held.number)
        ]
        if not wanted:
            return
        try:
            async with self._storage.read() as connection:
                rows = await by_number(connection, wanted)
        except Unavailable as error:
            logger.debug("commands to %s wait: %s", device_id, error)
            return
        for row in rows:
            held = self._open.get(device_id, {}).get(row.number)
            if held is not None and held.carrying is None:
                held.tried = self._clock.monotonic()
                held.carrying = self._spawn(self._carry(held, row))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._tasks.spawn(work, "commands to a device")
        self._busy.add(task)
        task.add_done_callback(self._busy.discard)
        return task

    async def _carry(self, held: Held, row: Row[Any]) -> None:
        """Until the device's client has it, or it is sure that it will not."""
        topic = f"{self._prefix}/{row.device_id}/command"
        payload = payload_of(row.id, row.command, row.params, row.expires_at)
        left = held.deadline - self._clock.monotonic()
        doubtful, held.doubtful = held.doubtful, False
        try:
            if left <= 0 or self._open.get(row.device_id, {}).get(row.number) is not held:
                return
            held.under_way = True
            came = await self.downlink.publish_to(
                row.device_id, topic, payload, expiry=left, patience=left
            )
            held.under_way = False
            if came not in ARRIVED:
                held.doubtful |= doubtful
            elif held.status == QUEUED:
                await self._arrived(row.number)
        except (Invalid, Unavailable) as error:
            logger.warning("a command to %s waits: %s", row.device_id, error)
        finally:
            if held.carrying is asyncio.current_task():
                held.carrying, held.under_way = None, False
