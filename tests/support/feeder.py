"""A device that takes commands, with paho's client: it does each once, and answers each time."""

from __future__ import annotations

import json
from typing import Any

from paho.mqtt.client import Client, MQTTMessage, MQTTMessageInfo, MQTTv5, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.support.waiting import wait_for


class Feeder:
    """With `keeps`, its session waits for it at the broker while it is away.

    As docs/devices.md has it: it subscribes, then it says that it is there. The SUBSCRIBE and the
    birth leave in that order, so the birth finds it subscribed.
    """

    def __init__(
        self, device_id: str, key: str | None, port: int, *, v5: bool = True, keeps: bool = False
    ) -> None:
        self.got: list[dict[str, Any]] = []
        """Every command that came, repetitions included."""
        self.done: list[str] = []
        """The ids of what it did."""
        self.answers: str | None = "ok"
        """None: it says nothing."""
        self._id, self._key, self._port = device_id, key, port
        self._v5, self._keeps = v5, keeps
        self._client: Client
        self._birth: MQTTMessageInfo | None = None

    def connect(self) -> None:
        """Return once its birth was acknowledged. Our listener does so when it has kept it, a
        broker at once: there the hub may hear of it later."""
        self._birth = None
        kept: dict[str, Any] = {} if self._v5 else {"clean_session": not self._keeps}
        protocol = MQTTv5 if self._v5 else MQTTv311
        client = Client(CallbackAPIVersion.VERSION2, client_id=self._id, protocol=protocol, **kept)
        if self._key is not None:
            client.username_pw_set(self._id, self._key)
        client.on_connect = self._on_connect
        client.on_message = self._on_message
        options: dict[str, Any] = {}
        if self._v5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = 3600 if self._keeps else 0
            options = {"clean_start": not self._keeps, "properties": properties}
        client.connect("127.0.0.1", self._port, **options)
        client.loop_start()
        self._client = client
        wait_for(self._is_born, "a device whose birth was acknowledged")

    def leave(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(self, client: Client, *_: Any) -> None:
        client.subscribe(f"aquabook/{self._id}/command", 1)
        birth = client.publish(f"aquabook/{self._id}/availability", "online", 1, retain=True)
        self._birth = birth

    def _is_born(self) -> bool:
        return self._birth is not None and self._birth.is_published()

    def _on_message(self, client: Client, _data: Any, message: MQTTMessage) -> None:
        command = json.loads(message.payload)
        self.got.append(command)
        if self.answers is None:
            return
        if command["id"] not in self.done:
            self.done.append(command["id"])
        said = {"id": command["id"], "result": self.answers, "answer": len(self.done)}
        client.publish(f"aquabook/{self._id}/command/result", json.dumps(said), 1)

    @property
    def ids(self) -> list[str]:
        return [command["id"] for command in self.got]
