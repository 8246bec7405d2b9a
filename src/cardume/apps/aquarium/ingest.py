"""From the bytes of devices to one commit: decode, compose, store; then it is acknowledged.

Bad bytes are counted and dropped here, so nothing a device sends can fail a batch. What fails is
the database, and then `Unavailable` leaves the batch with the listener, unacknowledged.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from cardume.apps.aquarium.catalogue import Catalogue
from cardume.apps.aquarium.changes import Changes
from cardume.apps.aquarium.commands import Commands
from cardume.apps.aquarium.commands_model import CommandResult, decode_result
from cardume.apps.aquarium.measurements import ReadingIds
from cardume.apps.aquarium.redelivery import Names, Redelivery
from cardume.clock import Clock
from cardume.devices.liveness import Announcement, Event, LiveData, Withdrawal
from cardume.devices.payloads import (
    DeviceTopic,
    Signal,
    TopicKind,
    decode_availability,
    decode_state,
    parse_topic,
)
from cardume.devices.readings import DecodedReadings, decode_readings, identity_of, reading_time
from cardume.devices.registry import Device
from cardume.errors import Invalid
from cardume.hub.rejects import Rejects
from cardume.mqtt.ports import Inbound
from cardume.storage.database import Storage, Write

logger = logging.getLogger("cardume.aquarium")

Heard = Callable[[Iterable[str], Mapping[int, float]], None]
"""Told which devices may have a new deadline, and when which alerts clear by themselves."""


class Report(msgspec.Struct, frozen=True):
    """What a `state` message holds, ready to be kept."""

    fields: dict[str, Any]


class Decoded(msgspec.Struct, frozen=True):
    """A message of a known device, understood."""

    message: Inbound
    device_id: str
    event: Event | None
    content: DecodedReadings | Report | CommandResult | None = None


class Ingest:
    """`cardume.mqtt.ports.Handler` of the aquarium app."""

    def __init__(
        self,
        storage: Storage,
        catalogue: Catalogue,
        clock: Clock,
        prefix: str,
        heard: Heard,
        commands: Commands,
        alerts_room: str | None = None,
        *,
        linked: bool = False,
    ) -> None:
        self.rejects = Rejects(logger, clock)
        self._storage = storage
        self._catalogue = catalogue
        self._clock = clock
        self._prefix = prefix
        self._heard = heard
        self._commands = commands
        self._alerts_room = alerts_room
        self._linked = linked
        self._ids = ReadingIds()
        self._redelivery = Redelivery(storage, clock)

    async def __call__(self, batch: Sequence[Inbound]) -> None:
        """Keep a batch: one transaction, then its events.

        Raises:
            Unavailable: nothing of it was kept.
        """
        decoded = [item for message in batch if (item := await self._decode(message)) is not None]
        if not decoded:
            return
        self._catalogue.devices.follow_clock()
        async with self._storage.write() as tx:
            names: Names = {}
            decoded = [await self._unless_held(tx, item, names) for item in decoded]
            changes = self.changes(tx)
            for item in decoded:
                await self._apply(changes, item)
            await changes.store()
            await self._settle_commands(tx, changes, decoded)
            await self._redelivery.remember(tx, names)
            heard = {item.device_id for item in decoded}
            tx.on_commit(lambda: self._heard(heard, changes.alarms.pending))

    def changes(self, tx: Write) -> Changes:
        """An empty set of changes in `tx`."""
        return Changes(tx, self._catalogue, self._ids, self._clock.now(), self._alerts_room)

    async def forget_abandoned(self) -> None:
        """Forget messages that were kept long ago and never came again."""
        await self._redelivery.forget_abandoned()

    # -- understanding ----------------------------------------------------------------------

    async def _decode(self, message: Inbound) -> Decoded | None:
        topic = parse_topic(self._prefix, message.topic)
        if topic is None:
            self.rejects.note("wrong_topic", f"{message.principal}: {message.topic[:160]}")
            return None
        device = await self._catalogue.devices.find(topic.device_id)
        if device is None:
            self.rejects.note("unknown_device", topic.device_id)
            return None
        try:
            return self._understand(message, topic, device)
        except Invalid as reason:
            self.rejects.note(f"bad_{topic.kind.name.lower()}", f"{device.device_id}: {reason}")
            # It spoke nonsense, but it spoke: a live message is a sign of life.
            alive = not (message.replay or message.will)
            return Decoded(message, device.device_id, LiveData()) if alive else None

    def _understand(self, message: Inbound, topic: DeviceTopic, device: Device) -> Decoded | None:
        live = None if message.replay or message.will else LiveData()
        payload, id = message.payload, device.device_id
        match topic.kind:
            case TopicKind.AVAILABILITY:
                return Decoded(message, id, self._announcement(message))
            case TopicKind.STATE:
                report = decode_state(payload)
                if report.ignored:
                    self.rejects.note("ignored_state_member", id, count=report.ignored)
                known = {n: getattr(report, n) for n in ("uptime", "rssi", "firmware", "interval")}
                fields = {n: value for n, value in known.items() if value is not None}
                return Decoded(message, id, live, Report({**report.extra, **fields}))
            case TopicKind.READING | TopicKind.SENSOR:
                readings = decode_readings(payload, metric=topic.metric)
                for reason in readings.rejected:
                    self.rejects.note("bad_reading", f"{id}: {reason}")
                return Decoded(message, id, live, readings)
            case TopicKind.COMMAND_RESULT:
                return Decoded(message, id, live, decode_result(payload))
            case _:
                return Decoded(message, id, live)

    def _announcement(self, message: Inbound) -> Announcement | Withdrawal:
        if not message.payload:  # how a retained message is deleted, by whoever tidies up
            return Withdrawal()
        said = decode_availability(message.payload)
        # A broker hands out a will as if the device had said it: only a birth is its own word.
        foreign = self._linked and said.state is not Signal.ONLINE
        return Announcement(
            signal=said.state,
            live=not message.replay,
            will=message.will or foreign,
            session=said.session,
            wake_in=said.wake_in,
        )

    # -- keeping ----------------------------------------------------------------------------

    async def _unless_held(self, tx: Write, item: Decoded, names: Names) -> Decoded:
        """A message without the readings in it that are stored already."""
        if not (_is_nameless(item) and await self._redelivery.is_held(tx, item.message, names)):
            return item
        self.rejects.counts["redelivered"] += 1
        return Decoded(item.message, item.device_id, item.event)

    async def _apply(self, changes: Changes, item: Decoded) -> None:
        if item.event is not None:
            # Not after now: our clock may have been put back while the message waited.
            at = min(item.message.received_at, self._clock.now())
            note = changes.lives.hear(item.device_id, item.event, at)
            device = changes.lives.device(item.device_id)
            if note == "availability_unreliable" and device is not None:
                self.rejects.note(note, f"{item.device_id} retains its will but not its birth")
                await changes.alarms.unreliable(device)
            elif note is not None:
                self.rejects.counts[note] += 1
        match item.content:
            case Report(fields=fields):
                changes.lives.report(item.device_id, fields)
            case DecodedReadings():
                await self._add_readings(changes, item, item.content)

    async def _add_readings(
        self, changes: Changes, item: Decoded, content: DecodedReadings
    ) -> None:
        device = changes.lives.device(item.device_id)
        if device is None:
            return
        received_at = item.message.received_at
        for raw in content.readings:
            measured_at, skewed = reading_time(raw, received_at)
            if skewed:
                self.rejects.note("clock_skew", device.device_id)
            row = await changes.measurements.add(
                aquarium_id=device.aquarium_id,
                device_id=device.device_id,
                sensor=raw.sensor or "",
                metric=raw.metric,
                value=raw.value,
                unit=raw.unit,
                measured_at=measured_at,
                received_at=received_at,
                identity=identity_of(raw, received_at),
                ts_raw=raw.ts_raw,
            )
            if row is None:
                self.rejects.note("too_many_sensors", device.device_id)

    async def _settle_commands(
        self, tx: Write, changes: Changes, decoded: Iterable[Decoded]
    ) -> None:
        """Keep results, and tell who may be given a command now."""
        for item in decoded:
            if isinstance(item.content, CommandResult):
                note = await self._commands.answered(tx, item.device_id, item.content)
                if note is not None:
                    self.rejects.note(note, item.device_id)
        waiting = [item for item in decoded if self._commands.waits_for(item.device_id)]
        if waiting:
            back = {item.device_id for item in waiting if _is_birth(item.event)}
            back |= changes.lives.came_online()
            spoke = {i.device_id for i in waiting if isinstance(i.event, LiveData)}
            tx.on_commit(lambda: self._commands.heard(spoke | back, back))


def _is_nameless(item: Decoded) -> bool:
    """Whether a reading in it would be stored again if the message came again."""
    if item.message.qos == 0 or not isinstance(item.content, DecodedReadings):
        return False
    return any(raw.id is None and raw.ts_raw is None for raw in item.content.readings)


def _is_birth(event: Event | None) -> bool:
    return isinstance(event, Announcement) and event.live and event.signal is Signal.ONLINE
