"""The demo: a sample aquarium, and simulated devices that speak real MQTT to the listener."""

from __future__ import annotations

import itertools
import math
import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select, update

from cardume.apps.aquarium import Aquarium
from cardume.apps.aquarium.catalogue import rule_from
from cardume.apps.aquarium.presets import TARGETS, Kind
from cardume.auth.secrets import hash_key, new_key
from cardume.devices.store import register
from cardume.errors import ConfigurationError
from cardume.server.places import from_here
from cardume.server.visitor import USER
from cardume.storage.database import Write
from cardume.storage.tables import alert_rules, aquariums, devices, members, targets
from cardume.wire import json

SAMPLE = "Sample reef"
YOURS = "my-device"
"""Registered and never simulated: the one you play yourself."""


@dataclass(frozen=True, slots=True)
class Wave:
    """A metric that swings around a middle, with noise."""

    metric: str
    unit: str
    middle: float
    swing: float
    noise: float
    period: float = 120.0

    def at(self, seconds: float) -> float:
        tide = self.swing * math.sin(2 * math.pi * seconds / self.period)
        return round(self.middle + tide + random.gauss(0.0, self.noise), 2)


@dataclass(frozen=True, slots=True)
class Simulated:
    """A device of the demo. One with `lives` dies that many seconds after it was born."""

    device_id: str
    name: str
    waves: tuple[Wave, ...]
    every: float
    lives: float | None = None
    dead: float = 25.0


DEVICES = (
    Simulated(
        "reef-probe",
        "Display tank probe",
        (
            Wave("temperature", "C", 25.6, 1.15, 0.04),
            Wave("ph", "pH", 8.1, 0.12, 0.01, 300.0),
            Wave("salinity", "ppt", 34.2, 0.3, 0.05, 600.0),
        ),
        every=2.0,
    ),
    Simulated(
        "sump-probe",
        "Sump probe",
        (Wave("level", "cm", 21.0, 0.8, 0.1, 90.0), Wave("flow", "L/min", 38.0, 2.0, 0.5, 45.0)),
        every=3.0,
    ),
    Simulated(
        "old-dosing-pump",
        "Old dosing pump",
        (Wave("alkalinity", "dKH", 8.4, 0.3, 0.05, 200.0),),
        every=4.0,
        lives=60.0,
    ),
)

RULE = {
    "name": "Display tank too warm",
    "metric": "temperature",
    "high": 26.5,
    "high_critical": 28.0,
    "deadband": 0.2,
}


class Demo:
    """What `cardume demo` adds to `cardume serve`."""

    def __init__(self) -> None:
        self.aquarium_id = 0
        self.key = new_key()
        """Of the device you play yourself; new at every start, for only its hash is stored."""
        self._keys = {device.device_id: new_key() for device in DEVICES}
        self._prefix = ""
        self._stop = threading.Event()

    async def prepare(self, app: Aquarium) -> None:
        """Create what is missing; give the devices keys that we know."""
        self._prefix = app.options.prefix
        names = [(d.device_id, d.name, d.every) for d in DEVICES] + [(YOURS, "Your device", None)]
        keys = {**self._keys, YOURS: self.key}
        async with app.storage.write() as tx:
            query = select(aquariums.c.id).where(
                aquariums.c.name == SAMPLE, aquariums.c.created_by == USER
            )
            known = (await tx.execute(query)).scalar()
            self.aquarium_id = known or await self._create_aquarium(app, tx)
            for device_id, name, every in names:
                await self._register(app, tx, device_id, name, every, keys[device_id])
        await app.catalogue.load()
        app.watch.heard([device_id for device_id, _, _ in names])

    def start(self, host: str, port: int) -> None:
        """Let the devices live, each on its own MQTT connection to the listener.

        Raises:
            ConfigurationError: paho-mqtt is not installed.
        """
        try:
            import paho.mqtt.client  # noqa: F401
        except ImportError:
            raise ConfigurationError(
                "the demo's devices need paho-mqtt: pip install 'cardume[server,mqtt]'"
            ) from None
        address = (from_here(host), port)
        for device in DEVICES:
            thread = threading.Thread(
                target=self._live, args=(device, address), name=device.device_id, daemon=True
            )
            thread.start()

    async def stop(self) -> None:
        self._stop.set()

    async def _create_aquarium(self, app: Aquarium, tx: Write) -> int:
        now = app.hub.clock.now()
        values = {"name": SAMPLE, "kind": Kind.REEF, "created_at": now, "created_by": USER}
        key = (await tx.execute(insert(aquariums).values(**values))).inserted_primary_key
        assert key is not None
        id: int = key[0]
        await tx.execute(insert(members).values(aquarium_id=id, sub=USER, role="owner"))
        shown = ("temperature", "ph", "salinity", "alkalinity", "nitrate")
        rows = [
            {"aquarium_id": id, "metric": metric, **TARGETS[Kind.REEF][metric]._asdict()}
            for metric in shown
        ]
        await tx.execute(insert(targets), rows)
        defaults = {"severity": "warning", "for_seconds": 0.0, "clear_seconds": 0.0}
        rule = {**defaults, **RULE, "aquarium_id": id, "enabled": True, "created_at": now}
        rule_from({**rule, "id": 0, "sensor_id": None})
        await tx.execute(insert(alert_rules).values(**rule))
        return id

    async def _register(
        self, app: Aquarium, tx: Write, device_id: str, name: str, every: float | None, key: str
    ) -> None:
        changed = await tx.execute(
            update(devices)
            .where(devices.c.device_id == device_id)
            .values(key_hash=hash_key(key), aquarium_id=self.aquarium_id)
        )
        if changed.rowcount == 0:
            await register(
                tx,
                device_id=device_id,
                aquarium_id=self.aquarium_id,
                key=key,
                now=app.hub.clock.now(),
                name=name,
                expected_interval=every,
            )

    # -- in a thread of its own -------------------------------------------------------------

    def _live(self, device: Simulated, address: tuple[str, int]) -> None:
        for life in itertools.count(1):
            self._one_life(device, address, life)
            if self._stop.wait(device.dead):
                return

    def _one_life(self, device: Simulated, address: tuple[str, int], life: int) -> None:
        """From birth to death, which is not announced: the will says it."""
        from paho.mqtt.client import Client, MQTTv311
        from paho.mqtt.enums import CallbackAPIVersion

        client = Client(CallbackAPIVersion.VERSION2, client_id=device.device_id, protocol=MQTTv311)
        client.username_pw_set(device.device_id, self._keys[device.device_id])
        topic = f"{self._prefix}/{device.device_id}"
        client.will_set(f"{topic}/availability", _word("offline", life), qos=1, retain=True)

        def on_connect(*_: Any) -> None:
            client.publish(f"{topic}/availability", _word("online", life), qos=1, retain=True)
            report = json.encode({"firmware": "sim-1.0", "rssi": -61, "interval": device.every})
            client.publish(f"{topic}/state", report, qos=1, retain=True)

        client.on_connect = on_connect
        client.connect_async(*address, keepalive=15)
        client.loop_start()
        for seconds in self._ticks(device):
            for wave in device.waves:
                reading = {"metric": wave.metric, "value": wave.at(seconds), "unit": wave.unit}
                client.publish(f"{topic}/reading", json.encode(reading), qos=1)
        if self._stop.is_set():
            client.disconnect()
        elif (connection := client.socket()) is not None:
            connection.close()  # as if somebody pulled the plug
        client.loop_stop()

    def _ticks(self, device: Simulated) -> Iterator[float]:
        """Seconds since birth, one every `every`, until it dies or the demo stops."""
        for count in itertools.count():
            age = count * device.every
            if device.lives is not None and age > device.lives:
                return
            yield age
            if self._stop.wait(device.every):
                return


def _word(state: str, session: int) -> bytes:
    return json.encode({"state": state, "session": session})
