"""A device as many are built: paho-mqtt, QoS 1, a session that outlives its connections."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

from paho.mqtt.client import Client, MQTTMessageInfo, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion

from tests.support.waiting import wait_for


class Probe:
    """Connected to `port` as `device_id`."""

    def __init__(self, port: int, device_id: str, key: str) -> None:
        self.device_id = device_id
        self.client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=device_id,
            clean_session=False,
            protocol=MQTTv311,
        )
        self.client.username_pw_set(device_id, key)
        self.client.reconnect_delay_set(min_delay=1, max_delay=1)
        self.refusals: list[str] = []
        self.client.on_connect_fail = lambda *_: None
        self.client.connect(  # the first time has to work
            "127.0.0.1", port, keepalive=60
        )
        self.client.loop_start()
        wait_for(self.client.is_connected, "the device's connection")

    def send(self, payload: Any, what: str = "reading") -> MQTTMessageInfo:
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        return self.client.publish(f"aquabook/{self.device_id}/{what}", body, qos=1)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@contextlib.contextmanager
def probing(port: int, device_id: str, key: str) -> Iterator[Probe]:
    probe = Probe(port, device_id, key)
    try:
        yield probe
    finally:
        probe.close()


def acknowledged(*messages: MQTTMessageInfo) -> None:
    """Wait until the server has acknowledged them."""
    wait_for(lambda: all(message.is_published() for message in messages), "PUBACK")
