"""A device with paho's client, and a browser that writes down what it is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from paho.mqtt.client import Client, MQTTMessageInfo, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion

from tests.support.serving import Served, token
from tests.support.stages import Closed, dial
from tests.support.waiting import wait_for


class Device:
    """Keeps its session, so what was not acknowledged goes out again when it is back."""

    def __init__(self, device_id: str, key: str, port: int) -> None:
        self.topic = f"aquabook/{device_id}"
        self._heard = 0
        self._client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=device_id,
            clean_session=False,
            protocol=MQTTv311,
        )
        self._client.username_pw_set(device_id, key)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_subscribe = self._on_subscribe
        self._client.connect_async("127.0.0.1", port, keepalive=60)
        self._client.loop_start()
        wait_for(self._client.is_connected, "a connected device")

    @classmethod
    @contextmanager
    def connected(cls, device_id: str, key: str, port: int) -> Iterator[Device]:
        device = cls(device_id, key, port)
        try:
            yield device
        finally:
            device._client.disconnect()
            device._client.loop_stop()

    @property
    def is_connected(self) -> bool:
        return self._client.is_connected()

    def read(self, value: float, **more: Any) -> MQTTMessageInfo:
        """Publish a reading at QoS 1; the result says whether it was acknowledged."""
        reading = {"metric": "temperature", "value": value, **more}
        return self._client.publish(f"{self.topic}/reading", json.dumps(reading), qos=1)

    def is_heard(self) -> None:
        """Wait until the listener has read all that was sent so far: it answers in order."""
        before = self._heard
        self._client.subscribe(f"{self.topic}/command")
        wait_for(lambda: self._heard > before, "a SUBACK")

    def _on_subscribe(self, *_: Any) -> None:
        self._heard += 1


class Browser:
    """A subscriber of one aquarium's readings."""

    def __init__(self, server: Served, aquarium_id: int) -> None:
        self.readings: list[float] = []
        self.snapshot: dict[str, Any] | None = None
        self.closed: int | None = None
        self._path = f"/ws/aquarium/{aquarium_id}?types=reading&token={token()}"
        self._port = server.port
        self._thread = threading.Thread(target=self._watch, daemon=True)

    @classmethod
    @contextmanager
    def watching(cls, server: Served, aquarium_id: int) -> Iterator[Browser]:
        """It leaves when the server does, or at the latest with this test's process."""
        browser = cls(server, aquarium_id)
        browser._thread.start()
        wait_for(lambda: browser.snapshot is not None or browser.closed, "a snapshot")
        assert browser.snapshot is not None
        yield browser

    def saw(self, *values: float) -> None:
        """Wait until it saw these, which are all there were."""
        wait_for(lambda: len(self.readings) >= len(values), f"{values}, not {self.readings}")
        assert self.readings == list(values)

    def left(self) -> int:
        """The code it was closed with."""
        self._thread.join(15)
        assert self.closed is not None
        return self.closed

    def _watch(self) -> None:
        try:
            with dial(self._port, self._path) as client:
                while True:
                    frame = client.receive(None)  # it may be quiet for as long as a test likes
                    if frame["type"] == "snapshot":
                        self.snapshot = frame["data"]
                    elif frame["type"] == "reading":
                        self.readings.append(frame["data"]["value"])
        except Closed as closed:
            self.closed = closed.code
